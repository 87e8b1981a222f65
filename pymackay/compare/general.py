"""What a comparison of generalised models adds: obstacles, one point for both, lme4's lag."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pymackay.compare.rows import Row
from pymackay.errors import PymackayError
from pymackay.results import Fit

_LAGGING = (
    "the reference takes them from differences of its own criterion, which lags; ask for its "
    "tight fit"
)
_GIVEN = (
    "the reference was asked at given parameters, and its standard errors are those at fixed theta"
)
_BY_MOMENTS = (
    "since version 2.1 the reference estimates the dispersion by moments, and finds the modes with "
    "it; ask for its tight fit"
)
_ROUNDED = (
    "the reference takes them from differences of its criterion over steps of 1e-4, which rounding "
    "errors exceed in this column's unit; rescale the column, or ask for its tight fit"
)
_STEP = 1e-4  # of lme4's second differences
# what contains the dispersion
_SCALED = frozenset({"std_error", "sigma", "variance", "covariance", "condvar"})


def obstacle(fit: Fit, reference: Fit) -> tuple[str, str]:
    """Return the verdict that leaves no numbers to compare, and its reason; empty if there is none.

    Parameters
    ----------
    fit, reference : Fit
        Of one model; a linear one has no such obstacle.
    """
    if fit.general is None:
        return "", ""
    for one in (fit, reference):
        reason = one._separation()
        if reason:
            return "no optimum", reason
    ways = [one.general.dispersion_by for one in (fit, reference) if one.general is not None]
    if len(set(ways)) > 1:
        sides = {"ml": "by maximum likelihood", "lme4": "by lme4's criterion"}
        ours, theirs = (sides.get(way, "unknown") for way in ways)
        return "not a likelihood", f"the dispersion is estimated {ours} here, {theirs} there"
    return "", ""


def at_one_point(fit: Fit, reference: Fit) -> tuple[Fit, Fit, str] | None:
    """Return both fits at one point, and whose it is; None if neither can be evaluated."""
    if fit.problem is not None:
        with contextlib.suppress(PymackayError):
            return fit._at_parameters_of(reference), reference, "theirs"
    if reference.evaluate_source is not None and fit.general is not None:
        shape = [fit.general.shape] if fit.general.shape_estimated else []
        point = np.concatenate([fit.theta, fit.beta, shape])
        return fit, reference.evaluate(point), "ours"
    return None


def at_their_modes(fit: Fit, reference: Fit) -> Fit | None:
    """Return our fit at the reference's parameters and modes, where lower modes exist, or None."""
    if fit.problem is None or fit.general is None:
        return None
    with contextlib.suppress(PymackayError):
        return fit._at_modes_of(reference)
    return None


def lag(reference: Fit, ours: Fit) -> float:
    """Return by how much what lme4 reports exceeds its criterion at its own modes; nan if unknown.

    Parameters
    ----------
    reference : Fit
    ours : Fit
        Says how far lme4's scale is from that of a likelihood, which only several nodes change, and
        in default fits since lme4 2.1 nothing.
    """
    theirs, mine = reference.general, ours.general
    if theirs is None or mine is None:
        return float("nan")
    scale = 0.0 if _refreshes(reference) else ours.criterion - mine.lme4_criterion
    return theirs.lme4_criterion + scale - reference.criterion


def lag_reason(reference: Fit) -> str:
    """Return why what lme4 reports is not its criterion at its own modes."""
    if not _refreshes(reference):
        return "it takes the determinant from weights one iteration old"
    if reference.general is not None and reference.general.family.has_dispersion:
        return "it finds the modes at an estimate of the dispersion, and leaves out a constant of 2"
    return "it stops its iterations for the random effects just before their modes"


def excuse(rows: Sequence[Row], reference: Fit) -> list[Row]:
    """Do not judge what lme4 computes from a criterion that lags, by moments, or within rounding.

    Second differences of a criterion c over steps h have an error of about 4 ε |c| / h². The
    curvature is 2 / se², so that the relative error of se is about ε |c| (se / h)²; it is counted
    four times.
    """
    how = _asked(reference)
    if reference.general is None or reference.engine.name != "lme4" or how == "tight":
        return list(rows)
    quantities, note = frozenset({"std_error"}), _GIVEN if how == "given" else _LAGGING
    if _refreshes(reference):
        if not reference.general.family.has_dispersion:
            return [_within_rounding(row, reference) for row in rows]
        quantities, note = _SCALED, _BY_MOMENTS
    return [
        replace(row, ok=None, note=note) if row.quantity in quantities and not row.ok else row
        for row in rows
    ]


def _within_rounding(row: Row, reference: Fit) -> Row:
    """Return a standard error unjudged if rounding of the criterion alone explains the distance."""
    relative = 4.0 * np.finfo(float).eps * abs(reference.criterion) * (row.theirs / _STEP) ** 2
    judged = row.ok is not False or row.quantity != "std_error" or not relative > row.tolerance
    return row if judged else row.unjudged(_ROUNDED)


def _refreshes(reference: Fit) -> bool:
    """Whether it is lme4's default fit of a version that takes its factor at the final modes."""
    version = re.findall(r"\d+", reference.engine.versions.get("lme4", ""))
    return _asked(reference) == "default" and tuple(map(int, version)) >= (2, 1)


def _asked(reference: Fit) -> str:
    """Return how lme4 was asked: ``"tight"``, ``"given"`` parameters or ``"default"``."""
    starts = {"bobyqa: tightened": "tight", "bobyqa: parameters were given": "given"}
    message = reference.convergence.message
    return next((how for start, how in starts.items() if message.startswith(start)), "default")
