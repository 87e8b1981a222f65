"""Measures how far two fits of one model are apart, in statistical units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from pymackay.compare.tolerances import TOLERANCES
from pymackay.results import Fit

__all__ = [
    "TABLE_COLUMNS",
    "Row",
    "criterion_row",
    "rows_table",
    "same_theta_rows",
    "statistics_rows",
]


@dataclass(frozen=True)
class Row:
    """One number of either fit, and how far they are apart.

    Attributes
    ----------
    stage : str
        ``"same theta"``: ours and theirs at one theta. ``"optimum"``: each at its own.
    quantity : str
        ``"criterion"``, ``"beta"``, ``"std_error"``, ``"vcov"``, ``"sigma"``, ``"variance"``,
        ``"covariance"``, ``"b"``, ``"condvar"``, ``"pev"`` or ``"fitted"``.
    term : str
        Random-effects term or grouping factor; empty for the rest.
    name : str
        Coefficient, effect, level or row; of many, the worst.
    ours, theirs : float
    difference : float
        ours - theirs, in the quantity's own unit.
    distance : float
        Absolute difference in `unit`.
    unit : str
    tolerance : float
        Largest `distance` that counts as agreement.
    ok : bool or None
        None where there is nothing to judge; `note` says why.
    note : str
    """

    stage: str
    quantity: str
    term: str
    name: str
    ours: float
    theirs: float
    difference: float
    distance: float
    unit: str
    tolerance: float
    ok: bool | None
    note: str = ""

    def unjudged(self, note: str) -> Row:
        """Return the row without a judgement, with the reason."""
        return self if self.ok is None else replace(self, ok=None, note=note)


TABLE_COLUMNS = tuple(Row.__dataclass_fields__)


def rows_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Lay rows out as a table; `ok` is a nullable boolean."""
    table = pd.DataFrame([asdict(row) for row in rows], columns=list(TABLE_COLUMNS))
    return table.astype({"ok": "boolean"})


def criterion_row(ours: Fit, theirs: Fit, excess: float, tolerance: float) -> Row:
    """Compare the criteria of two optima: ours may be lower, never higher.

    Parameters
    ----------
    ours, theirs : Fit
    excess : float
        Our criterion minus theirs, by one engine's arithmetic where that could be had.
    tolerance : float
    """
    return Row(
        "optimum", "criterion", "", "", ours.criterion, theirs.criterion,
        ours.criterion - theirs.criterion, abs(excess), TOLERANCES["criterion"].unit, tolerance,
        bool(excess <= tolerance),
    )  # fmt: skip


def rounding(fit: Fit) -> float:
    """Return by how many statistical units the size of the response may blur any number."""
    offset = 0.0 if fit.model.offset is None else fit.model.offset
    y = fit.fitted.to_numpy() + fit.residuals.to_numpy() - offset
    if not fit.sigma > 0.0:
        return 0.0
    unit = np.finfo(np.float64).eps * len(y) ** 1.5 * np.max(np.abs(y), initial=0.0) / fit.sigma
    return float(TOLERANCES["rounding"].value * unit)


def same_theta_rows(ours: Fit, theirs: Fit) -> list[Row]:
    """Compare two answers at one theta: of each quantity the worst element.

    Parameters
    ----------
    ours, theirs : Fit
        Aligned, at the same theta.
    """
    scale = max(abs(theirs.criterion), float(theirs.n_obs))
    rule = TOLERANCES["criterion_same_theta"]
    difference = ours.criterion - theirs.criterion
    # a blur of so many standard errors moves a sum of squares at its minimum by its square
    tolerance = rule.value + rounding(ours) ** 2 / scale
    criterion = Row(
        "same theta", "criterion", "", "", ours.criterion, theirs.criterion, difference,
        abs(difference) / scale, rule.unit, tolerance, bool(abs(difference) <= tolerance * scale),
    )  # fmt: skip
    buckets: dict[tuple[str, str], list[Row]] = {}
    for row in statistics_rows(ours, theirs, "same theta"):
        buckets.setdefault((row.quantity, row.term if row.ok is None else ""), []).append(row)
    return [criterion, *(_worst(rows) for rows in buckets.values())]


def statistics_rows(
    ours: Fit, theirs: Fit, stage: str = "optimum", *, boundary: bool = False
) -> Iterator[Row]:
    """Compare everything but the criterion, element by element or the worst of many.

    Parameters
    ----------
    ours, theirs : Fit
        Aligned.
    stage : {"optimum", "same theta"}
        Which tolerances apply.
    boundary : bool
        Measure variances on an absolute scale instead of relative to themselves.
    """
    ruler = _Ruler(stage, ours.engine.name, theirs.engine.name, rounding(ours))
    yield from _beta_rows(ours, theirs, ruler)
    yield from _sigma_rows(ours, theirs, ruler)
    yield from _variance_rows(ours, theirs, ruler, boundary)
    yield from _prediction_rows(ours, theirs, ruler)
    for what in ("condvar", "pev"):
        yield from _error_variance_rows(ours, theirs, ruler, what)
    yield _fitted_row(ours, theirs, ruler)


@dataclass(frozen=True)
class _Ruler:
    """Makes rows of one stage, with names of the engines and the blur of their numbers."""

    stage: str
    ours: str
    theirs: str
    blur: float

    def row(
        self, quantity: str, term: str, name: str, a: float, b: float, scale: float, rule: str
    ) -> Row:
        """Judge one pair of numbers; `scale` is one statistical unit."""
        at_theta = self.stage == "same theta"
        tolerance = TOLERANCES["number_same_theta" if at_theta else rule].value + self.blur
        distance = float(_in_units(a - b, scale))
        return Row(
            self.stage, quantity, term, name, float(a), float(b), float(a - b), distance,
            TOLERANCES[rule].unit, tolerance, bool(distance <= tolerance),
        )  # fmt: skip

    def not_offered(self, quantity: str, term: str, offers: Iterable[bool]) -> Row:
        """Return the row of a quantity that ours, theirs or both do not have."""
        names = (self.ours, self.theirs)
        lacking = dict.fromkeys(n for n, has in zip(names, offers, strict=True) if not has)
        return self.empty(quantity, term, f"not offered by {' and '.join(lacking)}")

    def empty(self, quantity: str, term: str, note: str) -> Row:
        """Return a row without numbers, and say why."""
        nan = float("nan")
        return Row(self.stage, quantity, term, "", nan, nan, nan, nan, "", nan, None, note)


def _in_units(difference: float | np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Return |difference| / scale, with 0 / 0 = 0: equal is equal, whatever the unit."""
    size = np.abs(difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size == 0.0, 0.0, size / scale)


def _worst(rows: list[Row]) -> Row:
    return rows[int(np.argmax([row.distance for row in rows]))]


def _beta_rows(ours: Fit, theirs: Fit, ruler: _Ruler) -> Iterator[Row]:
    se, se_theirs = ours.std_error, theirs.std_error
    for name in ours.beta.index:
        yield ruler.row("beta", "", name, ours.beta[name], theirs.beta[name], se[name], "beta")
    for name in ours.beta.index:
        yield ruler.row("std_error", "", name, se[name], se_theirs[name], se[name], "std_error")
    if ruler.stage == "same theta" and len(se):
        yield _vcov_row(ours, theirs, ruler)


def _vcov_row(ours: Fit, theirs: Fit, ruler: _Ruler) -> Row:
    a, b, se = ours.vcov.to_numpy(), theirs.vcov.to_numpy(), ours.std_error.to_numpy()
    i, j = _worst_place(_in_units(a - b, np.outer(se, se)))
    name = f"{ours.beta.index[i]}, {ours.beta.index[j]}"
    return ruler.row("vcov", "", name, a[i, j], b[i, j], se[i] * se[j], "std_error")


def _sigma_rows(ours: Fit, theirs: Fit, ruler: _Ruler) -> Iterator[Row]:
    yield ruler.row("sigma", "", "", ours.sigma, theirs.sigma, ours.sigma, "sigma")


def _variance_rows(ours: Fit, theirs: Fit, ruler: _Ruler, boundary: bool) -> Iterator[Row]:
    prefix = "boundary_" if boundary else ""
    for term in ours.model.terms:
        a, b = (f.varcorr[term.name].to_numpy(dtype=np.float64) for f in (ours, theirs))
        unit = np.sqrt(np.maximum(np.diag(a), np.diag(b)))
        if boundary:
            unit = np.maximum(unit, _level_estimate_sd(ours, term.group, term.effects))
        for i, j in zip(*np.tril_indices(len(a)), strict=True):
            kind = "variance" if i == j else "covariance"
            name = ", ".join(dict.fromkeys((term.effects[j], term.effects[i])))
            scale = unit[i] * unit[j]
            yield ruler.row(kind, term.name, name, a[i, j], b[i, j], scale, prefix + kind)


def _level_estimate_sd(fit: Fit, group: str, effects: Iterable[str]) -> np.ndarray:
    """Return the scale on which an effect's standard deviation matters.

    The variance of a fixed effect is about 1/J of the variance that one level's own estimate of it
    has; an effect without a fixed counterpart is taken for an indicator, whose scale is sigma.
    """
    levels, se = len(fit.model.levels[group]), fit.std_error
    return np.array(
        [np.sqrt(levels) * se[name] if name in se.index else fit.sigma for name in effects]
    )


def _prediction_rows(ours: Fit, theirs: Fit, ruler: _Ruler) -> Iterator[Row]:
    """Per group and effect the level whose predictions are furthest apart."""
    for group in ours.model.levels:
        offers = [group in f.ranef for f in (ours, theirs)]
        if not all(offers):
            yield ruler.not_offered("b", group, offers)
            continue
        a, b = (f.ranef[group].to_numpy(dtype=np.float64) for f in (ours, theirs))
        scale = _conditional_sd(ours, theirs, group)
        if scale is None:
            yield ruler.empty("b", group, "no conditional variance to measure it in")
            continue
        distance = _in_units(a - b, scale)
        levels, effects = ours.ranef[group].index, ours.ranef[group].columns
        for i, effect in enumerate(effects):
            j = int(np.argmax(distance[:, i]))
            name = f"{levels[j]}: {effect}"
            yield ruler.row("b", group, name, a[j, i], b[j, i], scale[j, i], "b")


def _conditional_sd(ours: Fit, theirs: Fit, group: str) -> np.ndarray | None:
    """Return the larger of the two conditional standard deviations, shape (levels, q).

    The larger, so that a variance that is zero on one side alone still has a unit.
    """
    found = []
    for fit in (ours, theirs):
        for what in ("condvar", "pev"):
            if getattr(fit, f"{what}_source") is not None:
                diagonal = np.diagonal(getattr(fit, what)[group], axis1=1, axis2=2)
                found.append(np.sqrt(np.maximum(diagonal, 0.0)))
                break
    return np.maximum.reduce(found) if found else None


def _error_variance_rows(ours: Fit, theirs: Fit, ruler: _Ruler, what: str) -> Iterator[Row]:
    """Per group the worst element of condvar or pev."""
    offers = [getattr(f, f"{what}_source") is not None for f in (ours, theirs)]
    for group in ours.model.levels:
        if not all(offers):
            yield ruler.not_offered(what, group, offers)
            continue
        a, b = getattr(ours, what)[group], getattr(theirs, what)[group]
        sd = np.sqrt(np.maximum(*(np.diagonal(x, axis1=1, axis2=2) for x in (a, b))))
        scale = sd[:, :, None] * sd[:, None, :]
        level, i, j = _worst_place(_in_units(a - b, scale))
        effects = ours.ranef[group].columns
        name = f"{ours.model.levels[group][level]}: {effects[i]}"
        name += f", {effects[j]}" if i != j else ""
        place = (level, i, j)
        yield ruler.row(what, group, name, a[place], b[place], scale[place], what)


def _fitted_row(ours: Fit, theirs: Fit, ruler: _Ruler) -> Row:
    a, b = ours.fitted.to_numpy(), theirs.fitted.to_numpy()
    worst = int(np.argmax(np.abs(a - b)))
    label = str(ours.model.rows[worst])
    return ruler.row("fitted", "", f"row {label}", a[worst], b[worst], ours.sigma, "fitted")


def _worst_place(distance: np.ndarray) -> tuple[int, ...]:
    place = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return tuple(int(i) for i in place)
