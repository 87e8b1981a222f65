"""Reorders a reference as another fit: terms by group and effects, columns and rows by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from pymackay.covariance.layout import columns_in_group, lower_factor
from pymackay.covariance.structures import summary_layouts
from pymackay.results import Fit, ModelSummary, TermSummary

Key = tuple[str, frozenset[str] | tuple[str, ...], str, bool, tuple[float, ...], int]

_ALIKE = 10  # digits by which two known matrices are the same


def term_key(term: TermSummary) -> Key:
    """Return the key by which terms are matched: group, effects, and structure.

    The order of the effects matters where the structure depends on it.
    """
    ordered = term.structure in ("ar1", "ou", "toep", "propto")
    effects = tuple(term.effects) if ordered else frozenset(term.effects)
    known = tuple(float(f"{value:.{_ALIKE}g}") for value in term.known)
    return term.group, effects, term.structure, term.hom, known, term.rank


def match_terms(
    ours: Sequence[TermSummary], theirs: Sequence[TermSummary]
) -> tuple[int | None, ...]:
    """Return, for each term of `ours`, the position of its match in `theirs`, or None.

    Terms that occur twice are matched in their order.
    """
    free: dict[Key, list[int]] = {}
    for position, term in enumerate(theirs):
        free.setdefault(term_key(term), []).append(position)
    return tuple(free[term_key(term)].pop(0) if free.get(term_key(term)) else None for term in ours)


def map_theta(
    theta: np.ndarray, source: Sequence[TermSummary], target: Sequence[TermSummary]
) -> np.ndarray:
    """Convert relative covariance parameters to another order of terms and effects.

    Parameters
    ----------
    theta : numpy.ndarray, shape (m,)
        Lower triangles of the relative factors of `source`, column by column.
    source, target : sequence of TermSummary
        The same terms, in any order.

    Returns
    -------
    numpy.ndarray, shape (m,)
        Parameters of the same covariances in the order of `target`. If only the order of terms
        differs, these are the same numbers. For a term whose effects are in another order, they
        are those of the factor of the permuted Λ Λᵀ with a nonnegative diagonal.
    """
    values = np.asarray(theta, dtype=np.float64)
    layouts = summary_layouts(source)
    pieces = []
    for term, position in zip(target, _matched(target, source), strict=True):
        layout = layouts[position]
        factor = layout.factor(values)
        order = _positions(source[position].effects, term.effects)
        if order != list(range(len(order))):
            factor = lower_factor(factor[order])
        pieces.append(layout.elements(factor))
    return np.concatenate(pieces) if pieces else np.zeros(0)


def align(reference: Fit, model: ModelSummary) -> Fit:
    """Return `reference` with all quantities in the order of `model`.

    It must be the same model, so that `model_diff` finds no difference.
    """
    terms = reference.model.terms
    positions = _matched(model.terms, terms)
    fixed = list(model.fixed)
    rows = _row_order(reference.model.rows, model.rows)
    columns = {g: _group_columns(g, model.terms, terms) for g in model.levels}
    levels = {g: _level_order(reference, g, model) for g in reference.ranef}
    return reference.replace(
        beta=reference.beta[fixed],
        vcov=reference.vcov.loc[fixed, fixed],
        theta=_aligned_theta(reference, model),
        varcorr={
            ours.name: reference.varcorr[terms[k].name].loc[list(ours.effects), list(ours.effects)]
            for ours, k in zip(model.terms, positions, strict=True)
            if terms[k].name in reference.varcorr
        },
        ranef={g: t.iloc[levels[g], columns[g]] for g, t in reference.ranef.items()},
        fitted=reference.fitted.iloc[rows],
        residuals=reference.residuals.iloc[rows],
        condvar_source=_aligned_source(reference, "condvar", levels, columns),
        pev_source=_aligned_source(reference, "pev", levels, columns),
        evaluate_source=_aligned_evaluate(reference, model),
        model=model,
    )


def _matched(ours: Sequence[TermSummary], theirs: Sequence[TermSummary]) -> list[int]:
    return [position for position in match_terms(ours, theirs) if position is not None]


def _positions(names: Sequence[str], order: Sequence[str]) -> list[int]:
    where = {name: position for position, name in enumerate(names)}
    return [where[name] for name in order]


def _aligned_theta(reference: Fit, model: ModelSummary) -> pd.Series:
    layouts = summary_layouts(reference.model.terms)
    if len(reference.theta) != sum(len(layout.rows) for layout in layouts):
        # a parametrisation of another engine, for which there is no mapping
        return reference.theta
    values = map_theta(reference.theta.to_numpy(), reference.model.terms, model.terms)
    return pd.Series(values, name=reference.theta.name)


def _group_columns(
    group: str, ours: Sequence[TermSummary], theirs: Sequence[TermSummary]
) -> list[int]:
    """Return the positions in `theirs` of the joined columns of our terms of a group."""
    places = columns_in_group(theirs)
    return [
        places[position].start + within
        for term, position in zip(ours, _matched(ours, theirs), strict=True)
        if term.group == group
        for within in _positions(theirs[position].effects, term.effects)
    ]


def _level_order(reference: Fit, group: str, model: ModelSummary) -> list[int]:
    return _positions([str(x) for x in reference.ranef[group].index], model.levels[group])


def _row_order(theirs: pd.Index, ours: pd.Index) -> list[int]:
    """Return positions that put `theirs` into our order; unchanged if labels repeat."""
    labels = [str(label) for label in theirs]
    if len(set(labels)) < len(labels):
        return list(range(len(labels)))
    return _positions(labels, [str(label) for label in ours])


def _aligned_source(
    reference: Fit, quantity: str, levels: Mapping[str, list[int]], columns: Mapping[str, list[int]]
) -> Callable[[], Mapping[str, np.ndarray]] | None:
    """Return a source of condvar or pev, (levels, q, q) by group, in the order of our fit."""
    if getattr(reference, f"{quantity}_source") is None:
        return None

    def source() -> dict[str, np.ndarray]:
        arrays = getattr(reference, quantity)
        return {
            g: np.asarray(a)[np.ix_(levels[g], columns[g], columns[g])] for g, a in arrays.items()
        }

    return source


def _aligned_evaluate(reference: Fit, model: ModelSummary) -> Callable[[np.ndarray], Fit] | None:
    if reference.evaluate_source is None:
        return None

    def evaluate(theta: np.ndarray) -> Fit:
        return align(
            reference.evaluate(map_theta(theta, model.terms, reference.model.terms)), model
        )

    return evaluate
