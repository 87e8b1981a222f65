"""The content of a comparison's output, formatted: the common basis of text and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.compare.comparison import Comparison
from pymackay.compare.conditioning import ILL_CONDITIONED
from pymackay.compare.distances import rounding
from pymackay.compare.general import lag_reason
from pymackay.compare.offered import offers, unsaid
from pymackay.compare.rows import Row
from pymackay.compare.tolerances import TOLERANCES, changes
from pymackay.covariance.varcorr import VarCorr
from pymackay.results import Fit

_FEW = 6  # up to so many coefficients, each is shown with its standard error
_MANY = 12  # of more coefficients, only those with the largest distances are shown

_SHORT_UNITS = {
    "standard errors": "SE",
    "conditional standard deviations": "cond. sd",
    "residual standard deviations": "sigma",
    "of the variance": "variance",
    "of the product of the two sds": "two sds",
    "of a level's own variance": "level var",
}
_DOUBLE_BAR = "lme4.doublevert.default"  # in the message of a fit whose R has the option


@dataclass(frozen=True)
class Line:
    """One line of numbers, formatted as text.

    Attributes
    ----------
    label, ours, theirs, distance : str
    allowed : str
        The tolerance; empty if the line is not judged.
    unit : str
        Unit of distance and tolerance.
    note : str
        Why it is not judged.
    bad : bool
        Whether the distance exceeds the tolerance.
    """

    label: str
    ours: str
    theirs: str
    distance: str
    allowed: str
    unit: str
    note: str = ""
    bad: bool = False


@dataclass(frozen=True)
class Section:
    """Lines under one title."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class GapLine:
    """One line of the variance gap, formatted as text."""

    label: str
    variance: str
    predictions: str
    errors: str
    left_over: str
    hidden: str
    gamma: str


def number(value: float, digits: int = 6) -> str:
    """Return a number with so many significant digits, without an exponent if that is short."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if value == 0.0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def size(value: float) -> str:
    """Return the size of a difference with at most two significant digits."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "infinite"
    if value == 0.0:
        return "0"
    return f"{value:.2g}" if 1e-2 <= value < 100.0 else f"{value:.1e}"


def side_names(comparison: Comparison) -> tuple[str, str]:
    """Return the names of the two fits: their engines, numbered if they are the same."""
    first, second = comparison.fit.engine.name, comparison.reference.engine.name
    return (first, second) if first != second else (f"{first} (1)", f"{second} (2)")


def heads(comparison: Comparison, names: tuple[str, str] = ("ours", "theirs")) -> dict[str, str]:
    """Return the entries above the numbers: the model, the engines, and the checks.

    `names` are those of the fit and of the reference.
    """
    fit, reference = comparison.fit, comparison.reference
    counts = [f"{group}: {len(levels)} levels" for group, levels in fit.model.levels.items()]
    sides = zip(names, (fit, reference), strict=True)
    singular = [name for name, side in sides if side.singular]
    rows = [f"{fit.n_obs} rows"] if offers(fit, "n_obs") else []
    entries = {
        "formula": fit.formula,
        "model": ", ".join([_kind(fit), *rows, *counts]),
        names[0]: str(fit.engine),
        names[1]: str(reference.engine),
        "double bar": " ".join(m for m in reference.messages if _DOUBLE_BAR in m),
        "singular": " and ".join(singular),
        "checked": _checked(comparison),
        "lag": _lag(comparison),
        "rounding": _rounding(fit),
        "unsaid": unsaid((fit, reference)),
        "allowed": _chosen(comparison),
    }
    return {name: text for name, text in entries.items() if text}


def _kind(fit: Fit) -> str:
    """Return the criterion; of a generalised model family, link and approximation."""
    general = fit.general
    if general is None:
        return "REML" if fit.reml else "ML"
    how = {1: "Laplace", 0: "joint mode", "exact": "quadrature to rounding"}
    nodes = how.get(general.nagq, f"quadrature with {general.nagq} nodes")
    return f"{general.family.name} ({general.family.link}), {nodes}"


def _lag(comparison: Comparison) -> str:
    """Return how far the number that lme4 reports is from its criterion; empty if it is not."""
    if not abs(comparison.lag) > 0.0:
        return ""
    where = "above" if comparison.lag > 0.0 else "below"
    return (
        f"{comparison.reference.engine.name} reports a criterion {size(abs(comparison.lag))} "
        f"{where} its own at these estimates, because {lag_reason(comparison.reference)}; the "
        f"numbers below are refreshed"
    )


def sections(comparison: Comparison) -> list[Section]:
    """Return the numbers at the two optima in sections with titles."""
    rows = [row for row in comparison.rows if row.stage == "optimum"]
    return [
        Section("criterion", tuple(_criterion_lines(comparison.fit, rows))),
        Section("fixed effects", tuple(_beta_lines(rows))),
        Section("random effects", tuple(_spread_lines(comparison, rows))),
        Section("furthest apart", tuple(_worst_lines(rows))),
    ]


def theta_lines(comparison: Comparison) -> list[Line]:
    """Return the lines of the numbers at one theta, the worst element of each quantity."""
    return [
        _line(row, row.label(), number(row.ours, 9), number(row.theirs, 9))
        for row in comparison.rows
        if row.stage == "same theta"
    ]


def gap_lines(gap: pd.DataFrame, side: str) -> list[GapLine]:
    """Return the lines of one fit's variance gap; the residue is relative to the variance."""
    return [
        GapLine(
            label=f"{entry.term} {entry.effect}",
            variance=number(entry.variance),
            predictions=number(entry.prediction_variance),
            errors=number(entry.error_variance),
            left_over=size(abs(entry.residue) / entry.variance if entry.variance > 0 else 0.0),
            hidden=f"{100.0 * entry.hidden_share:.1f}%",
            gamma=f"{entry.gamma:.2f} of {entry.levels}",
        )
        for entry in gap[gap["fit"] == side].itertuples()
    ]


def _checked(comparison: Comparison) -> str:
    """Return a summary of the numbers at one theta: whether they agree, and their distances."""
    rows = [row for row in comparison.rows if row.stage == "same theta"]
    if not comparison.rows:
        return "no numbers, because the models differ"
    if comparison.reason:
        return "no numbers are judged"
    if not rows:
        return "NOT at one theta: neither fit can be evaluated at the other's"
    criterion, others = rows[0], [row.distance for row in rows[1:] if row.ok is not None]
    point = "one theta" if comparison.fit.general is None else "the same parameters"
    words = {"agreed": f"at {point}", "differs": f"at {point} they DIFFER"}
    word = words.get(comparison.same_theta, f"NOT at {point}, where rounding hides all")
    apart = (
        "" if math.isnan(criterion.distance) else f"criterion {size(criterion.distance)} relative, "
    )
    ill = [row.tolerance for row in rows if row.note == ILL_CONDITIONED]
    blur = (
        f"; the model is ill-conditioned, rounding may move them by {size(max(ill))}" if ill else ""
    )
    if not others:
        return f"{word}: {apart.removesuffix(', ')}{blur}"
    worst = size(float(np.max(others, initial=0.0)))
    return f"{word}: {apart}numbers {worst} statistical units apart{blur}"


def _rounding(fit: Fit) -> str:
    blur = rounding(fit)
    if not blur > TOLERANCES["beta"].value:
        return ""
    return (
        f"the response is so large beside sigma that an engine which does not centre it may be "
        f"off by {size(blur)} statistical units"
    )


def _chosen(comparison: Comparison) -> str:
    chosen = changes(comparison.tolerances).items()
    return ", ".join(f"{name} {value:g} instead of {was:g}" for name, (value, was) in chosen)


def _line(row: Row, label: str, ours: str, theirs: str) -> Line:
    allowed = "" if row.ok is None else f"{row.tolerance:.0e}"
    unit = _SHORT_UNITS.get(row.unit, row.unit)
    return Line(label, ours, theirs, size(row.distance), allowed, unit, row.note, row.ok is False)


def _criterion_lines(fit: Fit, rows: list[Row]) -> Iterator[Line]:
    label = "REML criterion" if fit.reml else "-2 log likelihood"
    for row in rows:
        if row.quantity == "criterion":
            yield _line(row, label, _fixed(row.ours, 4), _fixed(row.theirs, 4))


def _fixed(value: float, decimals: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def _beta_lines(rows: list[Row]) -> Iterator[Line]:
    """Yield coefficients, rounded to digits that matter beside their standard errors.

    Up to six, each is followed by its standard error. Of more than twelve, only those with the
    largest distances are shown, and of the standard errors only the worst.
    """
    beta = [row for row in rows if row.quantity == "beta"]
    errors = {row.name: row for row in rows if row.quantity == "std_error"}
    shown = sorted(beta, key=_concern, reverse=True)[:_MANY]
    for row in (row for row in beta if row in shown):
        se = errors.get(row.name)
        yield _line(row, row.name or "beta", *_estimates(row, se))
        if se is not None and len(beta) <= _FEW:
            yield _line(se, "  se", number(se.ours, 5), number(se.theirs, 5))
    if len(beta) > _MANY:
        yield Line(f"and {len(beta) - _MANY} more, all closer", "", "", "", "", "")
    if "" in errors:
        yield _line(errors[""], "standard errors", "-", "-")
    elif errors and len(beta) > _FEW:
        se = max(errors.values(), key=_concern)
        yield _line(se, f"furthest se: {se.name}", number(se.ours, 5), number(se.theirs, 5))


def _concern(row: Row) -> tuple[bool, float]:
    """Return the sort key of a row: whether it disagrees, then the distance."""
    return row.ok is False, math.inf if math.isnan(row.distance) else row.distance


def _estimates(row: Row, se: Row | None) -> tuple[str, str]:
    if se is None:
        return number(row.ours), number(row.theirs)
    return _estimate(row.ours, se.ours), _estimate(row.theirs, se.theirs)


def _estimate(value: float, se: float) -> str:
    if not (1e-6 < se < math.inf) or abs(value) > 1e9:
        return number(value)
    return f"{value:.{max(3 - math.floor(math.log10(se)), 0)}f}"


def _spread_lines(comparison: Comparison, rows: list[Row]) -> Iterator[Line]:
    """Yield standard deviations and correlations, with the distances of the (co)variances."""
    for term in comparison.fit.model.terms:
        of_term = [
            r for r in rows if r.term == term.name and r.quantity in ("variance", "covariance")
        ]
        if not all(row.name for row in of_term):
            yield _line(of_term[0], f"sd   {term.name}", "-", "-")
            continue
        places = np.column_stack(np.tril_indices(len(term.effects))).tolist()
        for row, (i, j) in zip(of_term, places, strict=True):
            label = f"sd   {term.name} {term.effects[i]}"
            if i != j:
                label = f"corr {term.name} {term.effects[j]}, {term.effects[i]}"
            ours, theirs = (
                _sd_or_correlation(fit, term.name, i, j)
                for fit in (comparison.fit, comparison.reference)
            )
            yield _line(row, label, ours, theirs)
    for row in rows:
        if row.quantity in ("sigma", "shape"):
            label = {"sigma": "sd   residual", "shape": "shape"}[row.quantity]
            yield _line(row, label, number(row.ours), number(row.theirs))


def _sd_or_correlation(fit: Fit, term: str, i: int, j: int) -> str:
    value = float(VarCorr.of(fit.varcorr[term]).sdcor[i, j])
    return number(value) if i == j else _fixed(value, 4)


def _worst_lines(rows: list[Row]) -> Iterator[Line]:
    """Yield the worst predictions, variances of predictions, and fitted values."""
    for quantity, label in (
        ("b", "b"),
        ("condvar", "var(b|y)"),
        ("pev", "var(b^-b)"),
        ("fitted", "fitted"),
    ):
        for row in (r for r in rows if r.quantity == quantity):
            name = " ".join(part for part in (label, row.term, row.name) if part)
            yield _line(row, name, number(row.ours), number(row.theirs))
