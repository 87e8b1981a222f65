"""Finds the differences between two models, before their numbers are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from pymackay.compare.align import match_terms
from pymackay.compare.offered import both_offer, offers
from pymackay.compare.tolerances import TOLERANCES
from pymackay.results import Fit, TermSummary

_SHOWN = 5
_EPS = 1e-12  # weights and offsets are rounded by a conversion to text and a division at most


@dataclass(frozen=True)
class Difference:
    """One difference between two models.

    Attributes
    ----------
    aspect : str
        ``"rows"``, ``"fixed effects"``, ``"levels"``, ...
    item : str
        The factor or the column; empty if the aspect has no parts.
    ours, theirs : str
        Description of what each side has.
    """

    aspect: str
    item: str
    ours: str
    theirs: str

    @property
    def label(self) -> str:
        """Aspect and, if there is one, item."""
        return ", ".join(part for part in (self.aspect, self.item) if part)


def diff_table(differences: Iterable[Difference]) -> pd.DataFrame:
    """Return differences as a table with the columns aspect, item, ours, theirs."""
    return pd.DataFrame(
        [asdict(difference) for difference in differences],
        columns=["aspect", "item", "ours", "theirs"],
    )


def model_diff(fit: Fit, reference: Fit) -> list[Difference]:
    """Return the differences between two models; an empty list if they are the same model.

    Terms are matched by group and effects, columns and rows by name. Order matters only for
    levels, because the meaning of contrasts depends on it.
    """
    return [
        *_kind(fit, reference),
        *_criterion(fit, reference),
        *_dropped(fit, reference),
        *_names("fixed effects", fit.model.fixed, reference.model.fixed),
        *_contrasts(fit, reference),
        *_terms(fit, reference),
        *_levels(fit, reference),
        *_rows(fit, reference),
    ]


def _criterion(fit: Fit, reference: Fit) -> Iterator[Difference]:
    if fit.reml != reference.reml:
        yield Difference("criterion", "", *("REML" if f.reml else "ML" for f in (fit, reference)))
    for side, one in (("ours", fit), ("theirs", reference)):
        if offers(one, "criterion") and not np.isfinite(one.criterion):
            yield Difference(
                "criterion", f"{side} is no number", f"{fit.criterion}", f"{reference.criterion}"
            )


def _kind(fit: Fit, reference: Fit) -> Iterator[Difference]:
    """Yield the differences in family, link, quadrature and determinant."""
    if (fit.general is None) != (reference.general is None):
        kinds = ("linear" if f.general is None else "generalised" for f in (fit, reference))
        yield Difference("kind of model", "", *kinds)
        return
    ours, theirs = _described(fit), _described(reference)
    different = [aspect for aspect in ours if ours[aspect] != theirs[aspect]]
    if different[:1] in (["family"], ["link"]):
        different = [aspect for aspect in different if aspect != "determinant"]
    for aspect in different:
        yield Difference(aspect, "", ours[aspect], theirs[aspect])


def _described(fit: Fit) -> dict[str, str]:
    """Return what makes two generalised models the same, in words; empty for a linear one."""
    general = fit.general
    if general is None:
        return {}
    family = general.family
    shape = "estimated" if general.shape_estimated else f"{general.shape:.12g}"
    may_differ = not family.is_canonical and not family.has_dispersion
    return {
        "family": family.name,
        "link": family.link,
        "shape": shape,
        "quadrature nodes": str(general.nagq),
        "determinant": f"{general.determinant} weights" if may_differ else "",
    }


def _dropped(fit: Fit, reference: Fit) -> Iterator[Difference]:
    if both_offer("dropped", fit, reference):
        yield from _names("dropped columns", fit.dropped, reference.dropped)


def _names(
    aspect: str, ours: Sequence[str], theirs: Sequence[str], item: str = ""
) -> Iterator[Difference]:
    """Compare names as sets; the difference shows what each side has in addition."""
    only_ours = [name for name in ours if name not in set(theirs)]
    only_theirs = [name for name in theirs if name not in set(ours)]
    if only_ours or only_theirs:
        yield Difference(aspect, item, _only(only_ours), _only(only_theirs))


def _contrasts(fit: Fit, reference: Fit) -> Iterator[Difference]:
    ours, theirs = fit.model.contrasts, reference.model.contrasts
    if not ours or not theirs:  # not known; then the names of the columns are compared
        return
    for factor in dict.fromkeys([*ours, *theirs]):
        if ours.get(factor) != theirs.get(factor):
            yield Difference(
                "contrasts", factor, ours.get(factor, "none"), theirs.get(factor, "none")
            )


def _terms(fit: Fit, reference: Fit) -> Iterator[Difference]:
    if not both_offer("terms", fit, reference):
        return
    ours, theirs = fit.model.terms, reference.model.terms
    only_ours = [t for t, k in zip(ours, match_terms(ours, theirs), strict=True) if k is None]
    only_theirs = [t for t, k in zip(theirs, match_terms(theirs, ours), strict=True) if k is None]
    for group in dict.fromkeys(t.group for t in [*only_ours, *only_theirs]):
        yield Difference(
            "random effects", group, _written(group, only_ours), _written(group, only_theirs)
        )


def _written(group: str, terms: Sequence[TermSummary]) -> str:
    texts = [
        f"{t.structure}({', '.join(t.effects)} | {t.group}{_options(t)})"
        for t in terms
        if t.group == group
    ]
    return " + ".join(texts) or "none"


def _options(term: TermSummary) -> str:
    rank = f", d = {term.rank}" if term.rank else ""
    return rank + (", hom = TRUE" if term.hom else "")


def _levels(fit: Fit, reference: Fit) -> Iterator[Difference]:
    theirs = reference.model.levels
    for group, levels in fit.model.levels.items():
        if group not in theirs or tuple(levels) == tuple(theirs[group]):
            continue
        if set(levels) == set(theirs[group]) and len(levels) == len(theirs[group]):
            yield Difference("order of levels", group, *_first_apart(levels, theirs[group]))
        else:
            yield from _names("levels", levels, theirs[group], group)


def _first_apart(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, str]:
    place = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return _from(ours, place), _from(theirs, place)


def _from(levels: Sequence[str], place: int) -> str:
    before = "... " if place else ""
    after = " ..." if place + 3 < len(levels) else ""
    return before + ", ".join(levels[place : place + 3]) + after


def _rows(fit: Fit, reference: Fit) -> Iterator[Difference]:
    """Compare the rows that were used, and if they are the same, their values.

    If an engine does not offer its rows, they are assumed to be in the order of the data.
    """
    if not both_offer("n_obs", fit, reference):
        return
    ours, theirs = (f.model.rows.map(str) for f in (fit, reference))
    known = both_offer("rows", fit, reference)
    if len(ours) != len(theirs) or (known and set(ours) != set(theirs)):
        yield Difference("rows", "number", str(len(ours)), str(len(theirs)))
        if known:
            yield from _names("rows", list(ours), list(theirs), "labels")
        return
    order = ours if known and ours.is_unique else None
    if both_offer("response", fit, reference):
        size = float(
            np.max(np.abs(fit.fitted.to_numpy()), initial=0.0)
        )  # offsets may be larger than y
        responses = (_response(fit, order), _response(reference, order))
        yield from _values("response", *responses, ours, size)
    for what, absent in (("weights", 1.0), ("offset", 0.0)):
        if both_offer(what, fit, reference):
            a, b = (_column(f, what, absent, order) for f in (fit, reference))
            yield from _values(what, a, b, ours)


def _response(fit: Fit, order: pd.Index | None) -> np.ndarray:
    if fit.general is not None and fit.general.observed is not None:
        return _in_order(fit.general.observed.y, fit, order)
    return _in_order(fit.fitted.to_numpy() + fit.residuals.to_numpy(), fit, order)


def _column(fit: Fit, what: str, absent: float, order: pd.Index | None) -> np.ndarray:
    values = getattr(fit.model, what)
    filled = np.full(fit.n_obs, absent) if values is None else np.asarray(values, dtype=np.float64)
    return _in_order(filled, fit, order)


def _in_order(values: np.ndarray, fit: Fit, order: pd.Index | None) -> np.ndarray:
    return values if order is None else values[fit.model.rows.map(str).get_indexer(order)]


def _values(
    what: str, ours: np.ndarray, theirs: np.ndarray, labels: pd.Index, size: float = 0.0
) -> Iterator[Difference]:
    """Compare the values of a column, shape (n,); the first row that differs is shown."""
    relative = TOLERANCES["response"].value if what == "response" else _EPS
    scale = float(np.max(np.abs(ours), initial=size))
    different = np.flatnonzero(~(np.abs(ours - theirs) <= relative * scale))
    if len(different):
        first = different[0]
        where = f"{len(different)} of {len(ours)} rows, first {labels[first]}"
        yield Difference(what, where, f"{ours[first]:.12g}", f"{theirs[first]:.12g}")


def _only(names: Sequence[str]) -> str:
    """Return names as text, at most the first few."""
    if not names:
        return "nothing more"
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
