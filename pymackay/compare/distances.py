"""Computes the distances between two fits of one model, in statistical units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from pymackay.compare.offered import first_offering, offers
from pymackay.compare.rows import Row, Ruler, in_units
from pymackay.compare.tolerances import TOLERANCES, Tolerance
from pymackay.results import Fit


def criterion_row(ours: Fit, theirs: Fit, excess: float, tolerance: float) -> Row:
    """Compare the criteria of two optima; the row fails if ours is higher.

    Parameters
    ----------
    ours, theirs : Fit
    excess : float
        Our criterion minus theirs, both computed by one engine if possible; nan if an engine does
        not offer its criterion.
    tolerance : float
    """
    row = Row(
        "optimum", "criterion", "", "", ours.criterion, theirs.criterion,
        ours.criterion - theirs.criterion, abs(excess), TOLERANCES["criterion"].unit, tolerance,
        bool(excess <= tolerance),
    )  # fmt: skip
    lacking = [fit.engine.name for fit in (ours, theirs) if not offers(fit, "criterion")]
    if not lacking:
        return row
    note = f"not offered by {' and '.join(lacking)}"
    return replace(row, note=note, ok=None if math.isnan(excess) else row.ok)


def rounding(fit: Fit) -> float:
    """Return the rounding error, in statistical units, that a response of this size may cause."""
    if fit.general is not None:  # no response of any size is subtracted from another
        return 0.0
    offset = 0.0 if fit.model.offset is None else fit.model.offset
    y = fit.fitted.to_numpy() + fit.residuals.to_numpy() - offset
    if not fit.sigma > 0.0 or not np.isfinite(y).all():
        return 0.0
    unit = np.finfo(np.float64).eps * len(y) ** 1.5 * np.max(np.abs(y), initial=0.0) / fit.sigma
    return float(TOLERANCES["rounding"].value * unit)


def same_theta_rows(
    ours: Fit, theirs: Fit, table: Mapping[str, Tolerance] = TOLERANCES
) -> list[Row]:
    """Compare two fits at one theta; each quantity's row is its worst element.

    Of generalised models, only the criterion is compared.

    Parameters
    ----------
    ours, theirs : Fit
        Aligned, at the same theta.
    table : mapping of str to Tolerance
    """
    criterion = _criterion_at_theta(ours, theirs, criterion_rule(ours, table))
    if ours.general is not None:  # lme4 ends its inner iterations early: its modes are rough
        return [criterion]
    buckets: dict[tuple[str, str], list[Row]] = {}
    for row in statistics_rows(ours, theirs, "same theta", table=table):
        buckets.setdefault((row.quantity, row.term if row.ok is None else ""), []).append(row)
    return [criterion, *(_worst(rows) for rows in buckets.values())]


def criterion_rule(fit: Fit, table: Mapping[str, Tolerance]) -> Tolerance:
    """Return the tolerance of criteria at one theta: lme4 is less exact with some links."""
    general = fit.general
    exact = general is None or (general.family.is_canonical and not general.dispersion_by)
    return table["criterion_same_theta" if exact else "criterion_rough_mode"]


def _criterion_at_theta(ours: Fit, theirs: Fit, rule: Tolerance) -> Row:
    scale = max(abs(theirs.criterion), float(theirs.n_obs))
    difference = ours.criterion - theirs.criterion
    # at its minimum, a sum of squares changes by the square of a shift in standard errors
    tolerance = rule.value + _blur(ours, theirs) ** 2 / scale
    row = Row(
        "same theta", "criterion", "", "", ours.criterion, theirs.criterion, difference,
        abs(difference) / scale, rule.unit, tolerance, bool(abs(difference) <= tolerance * scale),
    )  # fmt: skip
    if offers(ours, "criterion") and offers(theirs, "criterion"):
        return row
    return replace(row, ok=None, note="an engine does not offer its criterion")


def statistics_rows(
    ours: Fit,
    theirs: Fit,
    stage: str = "optimum",
    *,
    boundary: bool = False,
    table: Mapping[str, Tolerance] = TOLERANCES,
) -> Iterator[Row]:
    """Compare all quantities except the criterion: each element, or the worst of many.

    Parameters
    ----------
    ours, theirs : Fit
        Aligned.
    stage : {"optimum", "same theta"}
        Selects the tolerances.
    boundary : bool
        Measure variances on an absolute scale instead of relative to themselves.
    table : mapping of str to Tolerance
    """
    ruler = Ruler(stage, ours, theirs, _blur(ours, theirs), table)
    yield from _beta_rows(ruler)
    yield from _sigma_rows(ruler)
    yield from _variance_rows(ruler, boundary)
    yield from _prediction_rows(ruler)
    for what in ("condvar", "pev"):
        yield from _error_variance_rows(ruler, what)
    yield _fitted_row(ruler)


def _blur(ours: Fit, theirs: Fit) -> float:
    return rounding(first_offering("response", ours, theirs) or ours)


def _worst(rows: list[Row]) -> Row:
    return rows[int(np.argmax([row.distance for row in rows]))]


def _beta_rows(ruler: Ruler) -> Iterator[Row]:
    """Yield the rows of beta and its standard errors, and at one theta of vcov, (p, p)."""
    ours, theirs = ruler.fits
    measured = first_offering("std_error", ours, theirs)
    if measured is None:
        yield ruler.empty("beta", "", "no standard errors to measure it in")
        return
    se, se_theirs = ours.std_error, theirs.std_error
    unit = measured.std_error
    for name in ours.beta.index:
        yield ruler.row("beta", "", name, ours.beta[name], theirs.beta[name], unit[name], "beta")
    lacking = ruler.lacking("std_error")
    if ruler.stage == "same theta":
        lacking = lacking or ruler.lacking("vcov at theta")
    if lacking:
        yield lacking
        return
    for name in ours.beta.index:
        yield ruler.row("std_error", "", name, se[name], se_theirs[name], se[name], "std_error")
    if ruler.stage == "same theta" and len(se):
        yield ruler.lacking("vcov") or _vcov_row(ruler)


def _vcov_row(ruler: Ruler) -> Row:
    ours, theirs = ruler.fits
    a, b, se = ours.vcov.to_numpy(), theirs.vcov.to_numpy(), ours.std_error.to_numpy()
    i, j = _worst_place(in_units(a - b, np.outer(se, se)))
    name = f"{ours.beta.index[i]}, {ours.beta.index[j]}"
    return ruler.row("vcov", "", name, a[i, j], b[i, j], se[i] * se[j], "std_error")


def _sigma_rows(ruler: Ruler) -> Iterator[Row]:
    """Yield the row of sigma, or of the shape of a negative binomial model, if it has one."""
    general = [fit.general for fit in ruler.fits if fit.general is not None]
    if len(general) == 2 and general[0].shape_estimated:
        a, b = (part.shape for part in general)
        yield ruler.row("shape", "", "", a, b, a, "shape")
    if not ruler.ours.has_residual:
        return
    a, b = (fit.sigma for fit in ruler.fits)
    yield ruler.lacking("sigma") or ruler.row("sigma", "", "", a, b, a, "sigma")


def _variance_rows(ruler: Ruler, boundary: bool) -> Iterator[Row]:
    """Yield the rows of the lower triangle of each term's covariance matrix, (q, q)."""
    prefix = "boundary_" if boundary else ""
    for term in ruler.ours.model.terms:
        lacking = ruler.lacking("variance", term.name)
        if lacking:
            yield lacking
            continue
        a, b = (f.varcorr[term.name].to_numpy(dtype=np.float64) for f in ruler.fits)
        unit = np.sqrt(np.maximum(np.diag(a), np.diag(b)))
        if boundary:
            unit = np.fmax(unit, _level_estimate_sd(ruler, term.group, term.effects))
        for i, j in zip(*np.tril_indices(len(a)), strict=True):
            kind = "variance" if i == j else "covariance"
            name = ", ".join(dict.fromkeys((term.effects[j], term.effects[i])))
            scale = unit[i] * unit[j]
            yield ruler.row(kind, term.name, name, a[i, j], b[i, j], scale, prefix + kind)


def _level_estimate_sd(ruler: Ruler, group: str, effects: Iterable[str]) -> np.ndarray:
    """Return the scale of each effect's standard deviation, shape (q,).

    It is the standard error of an estimate from one level, √J times the standard error of the fixed
    effect. An effect without a fixed counterpart is treated as an indicator, with scale sigma.
    """
    fits = ruler.fits
    se = (first_offering("std_error", *fits) or ruler.ours).std_error
    sigma = (first_offering("sigma", *fits) or ruler.ours).sigma
    levels = len(ruler.ours.model.levels[group])
    return np.array([np.sqrt(levels) * se[name] if name in se.index else sigma for name in effects])


def _prediction_rows(ruler: Ruler) -> Iterator[Row]:
    """Yield, per group and effect, the row of the level with the largest distance."""
    for group in ruler.ours.model.levels:
        lacking = ruler.not_offered("b", group, [group in f.ranef for f in ruler.fits])
        if lacking:
            yield lacking
            continue
        a, b = (f.ranef[group].to_numpy(dtype=np.float64) for f in ruler.fits)
        scale = _conditional_sd(ruler, group)
        if scale is None:
            yield ruler.empty("b", group, "no conditional variance to measure it in")
            continue
        distance = in_units(a - b, scale)
        levels, effects = ruler.ours.ranef[group].index, ruler.ours.ranef[group].columns
        for i, effect in enumerate(effects):
            j = int(np.argmax(distance[:, i]))
            name = f"{levels[j]}: {effect}"
            yield ruler.row("b", group, name, a[j, i], b[j, i], scale[j, i], "b")


def _conditional_sd(ruler: Ruler, group: str) -> np.ndarray | None:
    """Return the larger of the two conditional standard deviations, shape (levels, q).

    The larger is taken so that the unit is positive if only one of the variances is zero.
    """
    sds = []
    for fit in ruler.fits:
        for what in ("condvar", "pev"):
            if offers(fit, what) and group in getattr(fit, what):
                diagonal = np.diagonal(getattr(fit, what)[group], axis1=1, axis2=2)
                sds.append(np.sqrt(np.maximum(diagonal, 0.0)))
                break
    return np.maximum.reduce(sds) if sds else None


def _error_variance_rows(ruler: Ruler, what: str) -> Iterator[Row]:
    """Yield, per group, the row of the worst element of condvar or pev."""
    for group in ruler.ours.model.levels:
        has = [offers(fit, what) and group in getattr(fit, what) for fit in ruler.fits]
        lacking = ruler.not_offered(what, group, has)
        if lacking:
            yield lacking
            continue
        whole = [offers(fit, f"{what} covariances") for fit in ruler.fits]
        yield _error_variance_row(ruler, what, group, all(whole))
        partly = ruler.not_offered(what, f"{group}, covariances", whole)
        if partly:
            yield partly


def _error_variance_row(ruler: Ruler, what: str, group: str, whole: bool) -> Row:
    """Return the worst element of one group's condvar or pev, shape (levels, q, q)."""
    a, b = (getattr(fit, what)[group] for fit in ruler.fits)
    sd = np.sqrt(np.maximum(*(np.diagonal(x, axis1=1, axis2=2) for x in (a, b))))
    scale = sd[:, :, None] * sd[:, None, :]
    distance = in_units(a - b, scale)
    if not whole:  # an engine offers only the variances
        distance = np.where(np.eye(a.shape[-1], dtype=bool), distance, 0.0)
    place = _worst_place(distance)
    level, i, j = place
    effects = [e for t in ruler.ours.model.terms if t.group == group for e in t.effects]
    name = f"{ruler.ours.model.levels[group][level]}: {effects[i]}"
    name += f", {effects[j]}" if i != j else ""
    return ruler.row(what, group, name, a[place], b[place], scale[place], what)


def _fitted_row(ruler: Ruler) -> Row:
    lacking = ruler.lacking("fitted")
    if lacking:
        return lacking
    a, b = (fit.fitted.to_numpy() for fit in ruler.fits)
    unit = np.broadcast_to(_response_sd(ruler), a.shape)
    worst = int(np.argmax(in_units(a - b, unit)))
    label = str(ruler.ours.model.rows[worst])
    return ruler.row("fitted", "", f"row {label}", a[worst], b[worst], unit[worst], "fitted")


def _response_sd(ruler: Ruler) -> np.ndarray:
    """Return the standard deviation of a response at prior weight one, () or (n,)."""
    general = ruler.ours.general
    if general is None:
        return np.asarray((first_offering("sigma", *ruler.fits) or ruler.ours).sigma)
    variance = general.family.variance(ruler.ours.fitted.to_numpy())
    return np.asarray(np.sqrt(general.dispersion * variance))


def _worst_place(distance: np.ndarray) -> tuple[int, ...]:
    place = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return tuple(int(i) for i in place)
