"""Terms without correlations that one fit writes as ``diag(x | g)`` and another as ``(x || g)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pymackay.compare.align import Key, match_terms, term_key
from pymackay.covariance.structures import summary_layouts
from pymackay.results import Fit, TermSummary

_MESSAGE = "its random part is written in another way: the same model, with or without diag()"


def regrouped(reference: Fit, terms: Sequence[TermSummary]) -> Fit:
    """Return `reference` with effects that do not correlate in terms as `terms` has them.

    ``diag(x | g)`` and ``(x || g)`` of a number x are the same model in one term and in two. Where
    the fits differ in something else too, or in nothing, the reference is returned as it is.

    Parameters
    ----------
    reference : Fit
    terms : sequence of TermSummary
        Of the fit that it is compared with.
    """
    former = reference.model.terms
    if None not in match_terms(terms, former) and len(terms) == len(former):
        return reference
    ours, theirs = _parts(terms), _parts(former)
    repeated = len(set(theirs)) < len(theirs) or len(set(ours)) < len(ours)
    if repeated or set(ours) != set(theirs) or not _is_whole(reference):
        return reference
    model = replace(reference.model, terms=tuple(terms))
    columns = {g: _columns(g, former, terms) for g in reference.ranef}
    return reference.replace(
        model=model,
        theta=_moved(reference.theta.to_numpy(), former, terms, reference.theta.name),
        varcorr={term.name: _covariance(term, reference) for term in terms},
        ranef={g: table.iloc[:, columns[g]] for g, table in reference.ranef.items()},
        condvar_source=_source(reference, "condvar", columns),
        pev_source=_source(reference, "pev", columns),
        evaluate_source=_evaluate(reference, terms),
        messages=(*reference.messages, _MESSAGE),
    )


def _is_whole(fit: Fit) -> bool:
    """Whether a fit has theta in lme4's parameters, and all covariances."""
    elements = sum(len(layout.rows) for layout in summary_layouts(fit.model.terms))
    return len(fit.theta) == elements and all(t.name in fit.varcorr for t in fit.model.terms)


def _is_free(term: TermSummary) -> bool:
    """Whether each effect of a term has a variance of its own and no correlation."""
    single = len(term.effects) == 1 and term.structure != "propto"
    return single or (term.structure == "diag" and not term.hom)


def _parts(terms: Sequence[TermSummary]) -> list[Key]:
    """Return the keys of the terms, each effect without correlations by itself."""
    return [
        key
        for term in terms
        for key in (
            [(term.group, frozenset([effect]), "", False, (), 0) for effect in term.effects]
            if _is_free(term)
            else [term_key(term)]
        )
    ]


def _places(terms: Sequence[TermSummary], sizes: Sequence[int]) -> dict[Key, slice]:
    """Return where each of `_parts` stands among numbers of which each term has so many."""
    places, start = {}, 0
    for term, size in zip(terms, sizes, strict=True):
        parts = _parts([term])
        each = size // len(parts)
        for k, part in enumerate(parts):
            places[part] = slice(start + k * each, start + (k + 1) * each)
        start += size
    return places


def _moved(
    theta: np.ndarray, former: Sequence[TermSummary], terms: Sequence[TermSummary], name: object
) -> pd.Series:
    """Return theta in the order of `terms`; within a term that both have it keeps its order."""
    places = _places(former, [len(layout.rows) for layout in summary_layouts(former)])
    return pd.Series(np.concatenate([theta[places[part]] for part in _parts(terms)]), name=name)


def _covariance(term: TermSummary, reference: Fit) -> pd.DataFrame:
    """Return the covariance of a term's effects."""
    former = reference.model.terms
    if not _is_free(term):
        (position,) = match_terms([term], former)
        assert position is not None
        return reference.varcorr[former[position].name]
    variances = {
        (other.group, effect): reference.varcorr[other.name].loc[effect, effect]
        for other in former
        if _is_free(other)
        for effect in other.effects
    }
    diagonal = np.diag([float(variances[term.group, effect]) for effect in term.effects])
    return pd.DataFrame(diagonal, index=list(term.effects), columns=list(term.effects))


def _columns(group: str, former: Sequence[TermSummary], terms: Sequence[TermSummary]) -> list[int]:
    """Return the former positions of the joined columns of a group's terms."""
    members = [term for term in former if term.group == group]
    starts = _places(members, [len(term.effects) for term in members])
    parts = _parts([term for term in terms if term.group == group])
    return [k for part in parts for k in range(starts[part].start, starts[part].stop)]


def _source(
    reference: Fit, quantity: str, columns: dict[str, list[int]]
) -> Callable[[], dict[str, np.ndarray]] | None:
    """Return a source of condvar or pev, (levels, q, q) by group, in the order of the columns."""
    if getattr(reference, f"{quantity}_source") is None:
        return None

    def source() -> dict[str, np.ndarray]:
        arrays = getattr(reference, quantity)
        return {g: np.asarray(a)[:, columns[g]][:, :, columns[g]] for g, a in arrays.items()}

    return source


def _evaluate(reference: Fit, terms: Sequence[TermSummary]) -> Callable[[np.ndarray], Fit] | None:
    if reference.evaluate_source is None:
        return None
    former = reference.model.terms

    def evaluate(theta: np.ndarray) -> Fit:
        back = _moved(np.asarray(theta), terms, former, None)
        return regrouped(reference.evaluate(back.to_numpy()), terms)

    return evaluate
