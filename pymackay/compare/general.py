"""What a comparison of generalised models adds: obstacles, one point for both, lme4's lag."""

from __future__ import annotations

import contextlib
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
        Says how far lme4's scale is from that of a likelihood, which only several nodes change.
    """
    theirs, mine = reference.general, ours.general
    if theirs is None or mine is None:
        return float("nan")
    scale = ours.criterion - mine.lme4_criterion
    return theirs.lme4_criterion + scale - reference.criterion


def excuse_lag(rows: Sequence[Row], reference: Fit) -> list[Row]:
    """Do not judge standard errors of lme4 that come from a criterion that lags."""
    tight = reference.convergence.message.startswith("bobyqa: tightened")
    if reference.general is None or reference.engine.name != "lme4" or tight:
        return list(rows)
    return [
        replace(row, ok=None, note=_LAGGING) if row.quantity == "std_error" and not row.ok else row
        for row in rows
    ]
