"""`fit_general`: a generalised model's estimates, and the `Fit` there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError, SeparationError
from pymackay.family.family import Family
from pymackay.results import Convergence, Fit
from pymackay.solve.pirls.assemble import NOT_ML, assemble_general, elements_of
from pymackay.solve.pirls.criteria.exact import ExactCriterion
from pymackay.solve.pirls.criteria.joint import JointCriterion
from pymackay.solve.pirls.criteria.laplace import Laplace, Point
from pymackay.solve.pirls.criteria.nodes import Nodes
from pymackay.solve.pirls.criteria.quadrature import Quadrature
from pymackay.solve.pirls.large.fit import find_large, not_offered
from pymackay.solve.pirls.mode import step_from
from pymackay.solve.pirls.optimum import find_optimum
from pymackay.solve.pirls.passes.separated import separation_of
from pymackay.solve.pirls.passes.source import sample_of
from pymackay.solve.pirls.problem import GeneralProblem
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.search import GeneralControl, Stopping, minimise
from pymackay.solve.pirls.starts.axes import other_axes
from pymackay.solve.pirls.starts.first import start_of
from pymackay.solve.pirls.starts.further import further_starts

_NEAR = 1e-3  # Newton decrement of Laplace's criterion from which quadrature takes over
_MOST_EFFECTS = 3  # of a level, for a product rule
_MOST_CELLS = 50_000_000  # rows times nodes, each of them eight bytes three times
_LARGEST_SHAPE = 1e5  # of a negative binomial: beyond, it cannot be told from Poisson's
_POISSON_SHAPE = 1e9
_LARGEST = 6000  # effects of all blocks but the leading one: a dense matrix of 288 MB


def fit_general(
    laplace: Laplace,
    nagq: int | str,
    *,
    start: np.ndarray | None = None,
    begin: np.ndarray | None = None,
    control: GeneralControl | None = None,
    messages: tuple[str, ...] = (),
) -> Fit:
    """Return the `Fit` at the minimum of a criterion.

    Parameters
    ----------
    laplace : Laplace
    nagq : int or str
        0 for the joint mode, 1 for Laplace's approximation, or nodes of adaptive quadrature, or
        "exact".
    start : numpy.ndarray, shape (m,), optional
        Theta to start from, user's units.
    begin : numpy.ndarray, shape (P,), optional
        All parameters to start from, in the bases computed in: the estimates of a similar response.
    control : GeneralControl, optional
    messages : tuple of str
        What the fit should say besides.

    Raises
    ------
    SeparationError
        If the likelihood has no maximum.
    ArgumentError
        If `start` cannot be used, or there are too many effects.
    """
    rows = laplace.rows
    check_size(rows)
    refuse_separation(rows, laplace.family)
    if rows.probing is not None:
        return _fit_large(laplace, start, begin, control or GeneralControl(), messages)
    fit = _fit(laplace, nagq, start, control or GeneralControl(), begin)
    if laplace.extra == "shape" and fit.general.shape > _LARGEST_SHAPE:
        return _without_overdispersion(laplace, nagq, start, control or GeneralControl())
    return fit


def _begun(laplace: Laplace, elements: np.ndarray | None) -> tuple[Laplace, np.ndarray]:
    """Return the criterion with first effects, and ψ to start from, (P,).

    They are those of a sample of the rows where the rows are not kept.
    """
    start = start_of(replace(laplace, rows=sample_of(laplace.rows)), elements)
    return replace(laplace, effects=start.effects), start.psi


def _without_overdispersion(
    laplace: Laplace, nagq: int | str, start: np.ndarray | None, control: GeneralControl
) -> Fit:
    """Return the fit at so large a shape that the family is Poisson's to rounding, and say so."""
    held = replace(laplace, family=laplace.family.with_shape(_POISSON_SHAPE))  # type: ignore[attr-defined]
    fit = _fit(held, nagq, start, control)
    message = (
        f"the counts are not more dispersed than Poisson's: the likelihood rises with the shape "
        f"without end, and the shape stands at {_POISSON_SHAPE:g}, where nothing changes any more. "
        f"Use the family 'poisson'."
    )
    general = replace(fit.general, shape_estimated=True)
    return fit.replace(general=general, messages=(*fit.messages, message))


def _fit_large(
    laplace: Laplace,
    start: np.ndarray | None,
    begin: np.ndarray | None,
    control: GeneralControl,
    messages: tuple[str, ...],
) -> Fit:
    """Return the fit at the minimum by iterative solves."""
    elements = None if start is None else elements_of(laplace.rows, start)
    laplace, psi = _begun(laplace, elements) if begin is None else (laplace, begin)
    found = find_large(laplace, psi, control)
    point = found.optimum.point
    fit = assemble_general(
        GeneralProblem.at(point, 1),
        point.criterion,
        found.optimum.covariance,
        found.convergence,
        (*messages, *found.messages, *not_a_likelihood(laplace)),
    )
    lacking = {**fit.not_offered, **not_offered()}
    return fit.replace(condvar_source=None, pev_source=None, not_offered=lacking)


def _fit(
    laplace: Laplace,
    nagq: int | str,
    start: np.ndarray | None,
    control: GeneralControl,
    begin: np.ndarray | None = None,
) -> Fit:
    """Return the fit at the minimum; arguments as of `fit_general`."""
    rows = laplace.rows
    elements = None if start is None else elements_of(rows, start)
    stopping = Stopping.of(control, rows.n)
    laplace, psi = _begun(laplace, elements) if begin is None else (laplace, begin)
    criterion, first = criterion_of(laplace, nagq, psi[: rows.p]), 0 if nagq == 0 else rows.p
    near = nagq not in (0, 1) and begin is None
    starts = _starts(laplace, psi, near=near, further=start is None, anew=begin is None)
    optimum = find_optimum(
        criterion,
        rows,
        (each[rows.p - first :] for each in starts),
        stopping,
        first,
        bounded=laplace.family.is_bounded,
        log_concave=laplace.family.is_log_concave and not rows.structured,
    )
    center = optimum.point.center
    covariance = joint_covariance(center) if nagq == 0 else optimum.covariance
    return assemble_general(
        GeneralProblem.at(center, nagq),
        optimum.point.criterion,
        covariance,
        optimum.convergence,
        not_a_likelihood(laplace),
    )


def _starts(
    laplace: Laplace, psi: np.ndarray, *, near: bool, further: bool, anew: bool
) -> Iterator[np.ndarray]:
    """Yield parameters to start from, each (P,), the first at ψ.

    Parameters
    ----------
    laplace : Laplace
    psi : numpy.ndarray, shape (P,)
    near : bool
        Whether the first start is the minimum of Laplace's criterion instead.
    further : bool
        Whether there are others.
    anew : bool
        Whether ψ was computed from the data, and not taken from another fit.
    """
    yield _near_optimum(laplace, psi) if near else psi
    if further and (anew or laplace.is_lme4s):
        yield from further_starts(laplace, psi)
        if laplace.rows.source is None:
            yield from other_axes(laplace, psi)


def criterion_of(laplace: Laplace, nagq: int | str, beta: np.ndarray) -> Any:
    """Return the criterion that `nagq` names; `beta`, (p,), is where a joint mode is begun.

    Raises
    ------
    ArgumentError
        If the model does not allow it.
    """
    if nagq == 1:
        return laplace
    if nagq == 0:
        return JointCriterion(laplace, beta)
    _check_quadrature(laplace, nagq)
    if nagq == "exact":
        return ExactCriterion(laplace)
    return Quadrature(laplace, Nodes.hermite(int(nagq), laplace.rows.blocks[0].q))


def _check_quadrature(laplace: Laplace, nagq: int | str) -> None:
    """Refuse quadrature where effects of different levels depend on each other given the data."""
    rows = laplace.rows
    if rows.source is not None:
        raise ArgumentError(
            f"nagq={nagq!r} is not offered where the rows come in partitions; use nagq=1, or read "
            f"them into one data frame."
        )
    if len(rows.blocks) > 1:
        raise ArgumentError(
            f"nagq={nagq!r} needs one grouping factor, but the model has {len(rows.blocks)} "
            f"({', '.join(block.name for block in rows.blocks)}); use nagq=1."
        )
    q, most = rows.blocks[0].q, 1 if nagq == "exact" else _MOST_EFFECTS
    if q > most:
        raise ArgumentError(
            f"nagq={nagq!r} takes {most} random effect{'s' * (most > 1)} for each level at most, "
            f"but the model has {q}; use "
            + ("a number of nodes such as nagq=15." if q <= _MOST_EFFECTS else "nagq=1.")
        )
    if laplace.family.has_dispersion and laplace.dispersion == "lme4":
        raise ArgumentError(
            f"nagq={nagq!r} computes a likelihood, which dispersion='lme4' is none of; use "
            f"dispersion='ml', or nagq=1."
        )
    if nagq != "exact" and int(nagq) ** q * rows.n > _MOST_CELLS:
        raise ArgumentError(
            f"nagq={nagq!r} has {int(nagq) ** q:,} nodes for each of {rows.n:,} rows, but "
            f"{_MOST_CELLS:,} in all are the most; use fewer nodes."
        )


def _near_optimum(laplace: Laplace, psi: np.ndarray) -> np.ndarray:
    """Return parameters near the minimum of Laplace's criterion, from which quadrature starts."""
    try:
        return minimise(laplace, psi, Stopping(_NEAR)).point.psi
    except np.linalg.LinAlgError:
        return psi


def joint_covariance(center: Point) -> np.ndarray:
    """Return the covariance of the joint mode's β at known θ, all else zero, (P, P)."""
    p = center.laplace.rows.p
    made = np.zeros((len(center.psi), len(center.psi)))
    made[:p, :p] = 2.0 * np.linalg.inv(center.curvature.hessian[:p, :p])
    return made


def evaluate_general(
    laplace: Laplace, nagq: int | str, psi: np.ndarray, eta: np.ndarray | None = None
) -> Fit:
    """Return the `Fit` at given parameters ψ, (P,), without a search and standard errors.

    With ``nagq=0`` β is that of the joint mode. The mode is the lowest, or that near a linear
    predictor `eta`, (n,).
    """
    p = laplace.rows.p
    criterion = criterion_of(laplace, nagq, psi[:p])
    u = None if eta is None else step_from(laplace.given(psi), eta)
    if nagq == 0:
        point = criterion.at(psi[p:], None if u is None else np.append(psi[:p], u))
    else:
        point = criterion.at(psi, u)
    as_asked = Convergence(True, "evaluated at the parameters given", evaluations=1)
    nothing = np.full((len(psi), len(psi)), np.nan)
    problem = GeneralProblem.at(point.center, nagq)
    return assemble_general(problem, point.criterion, nothing, as_asked, not_a_likelihood(laplace))


def not_a_likelihood(laplace: Laplace) -> tuple[str, ...]:
    """Return the message that lme4's criterion of a family with a dispersion asks for."""
    return (NOT_ML.format(laplace.family.name),) if laplace.is_lme4s else ()


def check_size(rows: Rows) -> None:
    """Refuse models whose dense matrix would be too large.

    Raises
    ------
    ArgumentError
    """
    others = rows.n_effects - rows.lead
    if others > _LARGEST and rows.probing is None:
        raise ArgumentError(
            f"the grouping factors besides the largest have {others:,} random effects, for which "
            f"the exact solver would need a dense matrix of as many rows; it takes {_LARGEST:,} at "
            f"most. Use solver='iterative', leave a term out, or fit a part of the data."
        )


def refuse_separation(rows: Rows, family: Family) -> None:
    """Raise an error if the likelihood rises for ever along a direction of the fixed effects.

    Raises
    ------
    SeparationError
    """
    separation = separation_of(rows, family)
    if separation is not None:
        raise SeparationError(separation.message, separation.direction.to_dict())
