"""`compare`: compares two fits of one model in a fixed order of checks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pymackay.compare.align import align
from pymackay.compare.comparison import Comparison
from pymackay.compare.conditioning import criterion_blur, forgive_rounding
from pymackay.compare.decision import criterion_resolution, criterion_tolerance, decide
from pymackay.compare.distances import criterion_row, rounding, same_theta_rows, statistics_rows
from pymackay.compare.gaps import gaps, no_gap
from pymackay.compare.general import at_one_point, at_their_modes, excuse, lag, obstacle
from pymackay.compare.model_diff import Difference, model_diff
from pymackay.compare.offered import completed
from pymackay.compare.regroup import regrouped
from pymackay.compare.rows import Row
from pymackay.compare.tolerances import Tolerance, adjusted
from pymackay.errors import ArgumentError
from pymackay.results import Fit, check_fit


def compare(
    fit: Fit, reference: Fit, *, tolerances: Mapping[str, float] | None = None
) -> Comparison:
    """Compare a fit with a reference, in statistical units.

    The checks are made in this order, and the first that fails determines the verdict:

    1. Is it the same model? If not, the differences are shown and no number is compared.
    2. Do both give the same numbers at one theta? One of the engines evaluates the model at the
       other's theta. If neither can, this is not checked, and not taken as agreed.
    3. Are the criteria at the two optima equal?
    4. What are the distances between the numbers?

    Parameters
    ----------
    fit : Fit
        Our fit.
    reference : Fit
        Their fit, usually from `pymackay.lme4.lmer`.
    tolerances : mapping of str to float, optional
        Largest distances that count as agreement, to replace those of
        `pymackay.compare.tolerances.TOLERANCES`, with its names and units.

    Returns
    -------
    Comparison
        Prints as a table.

    Raises
    ------
    ArgumentError
        If an argument is not a `Fit`, or a tolerance has no such name or is not positive.

    References
    ----------
    Bates, D., Mächler, M., Bolker, B., Walker, S. (2015). Fitting linear mixed-effects models
    using lme4. J. Stat. Softw. 67(1).

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> at_start = pm.evaluate("Reaction ~ Days + (Days | Subject)", sleep, [1.0, 0.0, 1.0])
    >>> pm.compare(fit, at_start).verdict
    'ours lower'
    """
    check_fit(fit, "fit: compare")
    check_fit(reference, "reference: compare")
    _refuse_residual_structures(fit, reference)
    table = adjusted(tolerances)
    reference = regrouped(reference, fit.model.terms)
    differences = model_diff(fit, reference)
    if differences:
        return _different(fit, reference, differences, table)
    fit, reference = completed(fit, reference), completed(reference, fit)
    reference = align(reference, fit.model)
    verdict, reason = obstacle(fit, reference)
    if verdict:
        return _without_numbers(fit, reference, verdict, reason, table)
    pair = _at_one_theta(fit, reference)
    theta_rows = same_theta_rows(*pair.fits, table) if pair else []
    if pair and fit.general is None and any(row.ok is False for row in theta_rows):
        theta_rows = forgive_rounding(theta_rows, *pair.fits, table)
    failed = [row for row in theta_rows if row.ok is False]
    there = at_their_modes(fit, reference) if failed else None
    if there is not None:
        there_rows = same_theta_rows(there, reference, table)
        if all(row.ok is not False for row in there_rows):
            lowest = pair.fits[0] if pair else there
            return _at_another_mode(fit, reference, lowest, there_rows, table)
    if failed:
        differences = [_as_difference(row, "at one theta") for row in failed]
        return _different(fit, reference, differences, table, theta_rows)
    return _by_numbers(fit, reference, pair, theta_rows, table)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The fits of both engines at one theta.

    Attributes
    ----------
    fits : tuple of Fit
        Our fit and theirs.
    theta : str
        Whose theta it is: ``"ours"`` or ``"theirs"``.
    """

    fits: tuple[Fit, Fit]
    theta: str

    def excess(self, fit: Fit, reference: Fit) -> float:
        """Return our criterion minus theirs, both computed by the evaluating engine."""
        ours, theirs = self.fits
        if self.theta == "theirs":
            return fit.criterion - ours.criterion
        return theirs.criterion - reference.criterion

    def at(self, theta: str) -> Fit | None:
        """Return the other engine's fit at this side's theta; None if there is none."""
        if theta != self.theta:
            return None
        return self.fits[1] if theta == "ours" else self.fits[0]


def _refuse_residual_structures(*fits: Fit) -> None:
    """Refuse models that lme4 does not have.

    Raises
    ------
    ArgumentError
    """
    for fit in fits:
        if fit.residual_covariance is not None:
            raise ArgumentError(
                f"compare is for models that lme4 has too, but residuals with the structure "
                f"{fit.residual_covariance.text!r} are not among them. Compare fit.criterion, "
                f"fit.beta and fit.residual_covariance with those of R's nlme or mmrm."
            )


def _at_one_theta(fit: Fit, reference: Fit) -> _Pair | None:
    """Return the fits at one theta: ours at theirs if possible, else theirs at ours."""
    if fit.general is not None:
        point = at_one_point(fit, reference)
        return None if point is None else _Pair(point[:2], point[2])
    same_shape = len(fit.theta) == len(reference.theta)
    if not same_shape or not np.isfinite([*fit.theta, *reference.theta]).all():
        return None
    if fit.evaluate_source is not None:
        with contextlib.suppress(ArgumentError):  # their theta may be too extreme for float64
            return _Pair((fit.evaluate(reference.theta), reference), "theirs")
    if reference.evaluate_source is not None:
        return _Pair((fit, reference.evaluate(fit.theta)), "ours")
    return None


def _as_difference(row: Row, aspect: str) -> Difference:
    return Difference(aspect, row.label(", "), f"{row.ours:.12g}", f"{row.theirs:.12g}")


def _different(
    fit: Fit,
    reference: Fit,
    differences: list[Difference],
    table: Mapping[str, Tolerance],
    rows: list[Row] | None = None,
) -> Comparison:
    """Return the comparison of two fits whose models, or numbers at one theta, differ."""
    return Comparison(
        verdict="different model",
        ok=False,
        rows=tuple(rows or ()),
        differences=tuple(differences),
        variance_gap=no_gap(),
        same_theta="differs" if rows else "not checked",
        excess=float("nan"),
        fit=fit,
        reference=reference,
        tolerances=table,
    )


def _without_numbers(
    fit: Fit, reference: Fit, verdict: str, reason: str, table: Mapping[str, Tolerance]
) -> Comparison:
    """Return the comparison of two fits whose numbers are shown but cannot be judged."""
    rows = [row.unjudged(verdict) for row in statistics_rows(fit, reference, table=table)]
    return Comparison(
        verdict=verdict,
        ok=False,
        rows=tuple(rows),
        differences=(),
        variance_gap=no_gap(),
        same_theta="not checked",
        excess=float("nan"),
        fit=fit,
        reference=reference,
        tolerances=table,
        reason=reason,
    )


def _at_another_mode(
    fit: Fit,
    reference: Fit,
    lowest: Fit,
    rows: list[Row],
    table: Mapping[str, Tolerance],
) -> Comparison:
    """Return the comparison of two fits whose random effects are at different modes.

    Parameters
    ----------
    fit, reference : Fit
    lowest : Fit
        Ours at the reference's parameters and its lowest modes.
    rows : list of Row
        The numbers at the reference's parameters and modes.
    table : mapping of str to Tolerance
    """
    reason = (
        f"at their parameters the criterion is {reference.criterion:.6g} at their random effects, "
        f"and {lowest.criterion:.6g} at the lowest mode of the random effects"
    )
    made = _without_numbers(fit, reference, "another mode", reason, table)
    return replace(made, ok=True, rows=(*rows, *made.rows), same_theta="agreed")


def _by_numbers(
    fit: Fit,
    reference: Fit,
    pair: _Pair | None,
    theta_rows: list[Row],
    table: Mapping[str, Tolerance],
) -> Comparison:
    """Return the comparison of two fits of the same model, judged at their optima."""
    excess = pair.excess(fit, reference) if pair else fit.criterion - reference.criterion
    # a rounding error of more than a standard error makes the check meaningless
    blurred = max([rounding(fit), *(row.tolerance for row in theta_rows if row.ok)])
    checked = pair is not None and blurred < 1.0
    tolerance = criterion_tolerance(reference.criterion, pair is not None, table)
    if pair is not None and excess > tolerance and fit.general is None:
        tolerance += criterion_blur(*pair.fits, table)
    singular = fit.singular or reference.singular
    lagging = lag(reference, fit)
    rows = [
        criterion_row(fit, reference, excess, tolerance),
        *excuse([*statistics_rows(fit, reference, boundary=singular, table=table)], reference),
    ]
    by_theta_alone = checked and pair is not None and pair.theta == "theirs"
    decision = decide(
        rows,
        excess,
        tolerance,
        checked=checked,
        singular=singular,
        resolution=criterion_resolution(reference, table) if by_theta_alone else np.inf,
        # lme4's are from differences of its criterion
        apart=frozenset() if fit.general is None else frozenset({"std_error"}),
    )
    contradictions = [row for row in rows if row.ok is False] if decision.contradicts else []
    where = "numbers" if np.isnan(excess) else "at equal variances"
    return Comparison(
        verdict=decision.verdict,
        ok=decision.ok,
        rows=(*theta_rows, *decision.rows),
        differences=tuple(_as_difference(row, where) for row in contradictions),
        variance_gap=gaps(
            (fit, pair.at("ours") if pair else None),
            (reference, pair.at("theirs") if pair else None),
        ),
        same_theta="agreed" if checked else "not checked",
        excess=excess,
        fit=fit,
        reference=reference,
        tolerances=table,
        lag=lagging,
    )
