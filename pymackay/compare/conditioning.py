"""Allowance for rounding error in the numbers of an ill-conditioned model at one theta."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from math import inf

from pymackay.compare.distances import same_theta_rows
from pymackay.compare.rows import Row
from pymackay.compare.tolerances import Tolerance
from pymackay.errors import PymackayError
from pymackay.results import Fit

ILL_CONDITIONED = "the model is ill-conditioned: rounding error may be this large"


def forgive_rounding(
    rows: list[Row], ours: Fit, theirs: Fit, table: Mapping[str, Tolerance]
) -> list[Row]:
    """Add the effect of rounding on this model's numbers to the tolerances of rows at one theta.

    Different models differ by more than that. The effect is measured by refitting with perturbed
    sums; if neither fit supports this, the rows are returned unchanged.

    Parameters
    ----------
    rows : list of Row
        The rows from `same_theta_rows`.
    ours, theirs : Fit
        The two fits, at one theta.
    table : mapping of str to Tolerance
    """
    blur = _blur(ours, theirs, table)
    return [_widened(row, blur[row.quantity]) for row in rows]


def criterion_blur(ours: Fit, theirs: Fit, table: Mapping[str, Tolerance]) -> float:
    """Return the possible effect of rounding on the criterion at one theta, absolute."""
    scale = max(abs(theirs.criterion), float(theirs.n_obs))
    return scale * _blur(ours, theirs, table)["criterion"]


def _blur(ours: Fit, theirs: Fit, table: Mapping[str, Tolerance]) -> defaultdict[str, float]:
    """Return the possible effect of rounding on each quantity, in the quantity's unit."""
    blur: defaultdict[str, float] = defaultdict(float)
    fit = ours if ours.problem is not None else theirs
    if fit.problem is None:
        return blur
    rule = table["conditioning"].value
    try:
        plain, *others = tuple(fit._shaken()) or (fit,)
        for other in others:
            for row in same_theta_rows(other, plain, table):
                if row.ok is not None:
                    blur[row.quantity] = max(blur[row.quantity], rule * row.distance)
    except PymackayError:  # rounding leaves no correct digit
        return defaultdict(lambda: inf)
    return blur


def _widened(row: Row, blur: float) -> Row:
    if row.ok is not False or not blur > 0.0:
        return row
    tolerance = row.tolerance + blur
    agrees = row.distance <= tolerance
    return replace(row, tolerance=tolerance, ok=agrees, note=ILL_CONDITIONED if agrees else "")
