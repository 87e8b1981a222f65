"""`find_optimum`: the minimum of a generalised model's criterion, certified."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymackay.results import Convergence
from pymackay.solve.pirls.criterion import Criterion
from pymackay.solve.pirls.hessian import exact_hessian
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.search import Arrival, Stopping, polished
from pymackay.solve.pirls.starts.lowest import has_lower_mode, lowest_arrival, onward

_AGAIN = 4  # searches, each from where the one before is no minimum
_DEAD = 1e-4  # of the noise of an effect: a column of a factor that is this small may be zero
_LEVEL = 1e-9  # criterion units by which zero may be higher: less than the criterion's digits
_UNITLESS = ("logit", "probit", "cloglog", "cauchit", "log")  # links to a predictor without a unit
_RUNAWAY = 100.0  # sd of the linear predictor of a search that has not arrived: it runs away
_CERTIFIED = 1e-8  # Newton decrement: 1e-4 standard errors
_CERTIFIED_ESTIMATE = 1e-5  # the same, far below the noise of an estimated criterion
_CURVED = 1e-6  # of the largest curvature: a direction that curves down by more is a saddle's

_JUMPS = (
    "the random effects have a lower mode than the one that the search has followed: the criterion "
    "jumps where the modes change places, and has no minimum there"
)


@dataclass(frozen=True, eq=False)
class GeneralOptimum:
    """The minimum of a criterion.

    Attributes
    ----------
    point : object
        The criterion there.
    hessian : numpy.ndarray, shape (P, P)
        Second derivatives.
    free : numpy.ndarray of bool, shape (P,)
        False for elements of a factor's columns that are zero: they have reached the boundary.
    convergence : Convergence
    """

    point: Any
    hessian: np.ndarray
    free: np.ndarray
    convergence: Convergence

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the estimates, twice the inverse of the free second derivatives, (P, P).

        Zero for elements on the boundary; nan where the second derivatives are not positive.
        """
        P = len(self.free)
        made = np.zeros((P, P))
        inner = self.hessian[np.ix_(self.free, self.free)]
        scale = 1.0 / np.sqrt(np.maximum(np.abs(inner.diagonal()), 1e-300))
        scaled = scale[:, None] * inner * scale
        try:
            np.linalg.cholesky(scaled)
            inverse = scale[:, None] * np.linalg.inv(scaled) * scale
        except np.linalg.LinAlgError:
            inverse = np.full_like(inner, np.nan)
        made[np.ix_(self.free, self.free)] = 2.0 * inverse
        return made


def find_optimum(
    criterion: Criterion,
    rows: Rows,
    starts: Iterable[np.ndarray],
    stopping: Stopping,
    first: int,
    *,
    bounded: bool,
    log_concave: bool = False,
) -> GeneralOptimum:
    """Minimise a criterion from one or more starts; finish with its exact second derivatives.

    Parameters
    ----------
    criterion : Criterion
    rows : Rows
    starts : iterable of numpy.ndarray, each (P,)
        The lowest of the minima that they lead to is taken.
    stopping : Stopping
    first : int
        Place of the factors' elements among the parameters.
    bounded : bool
        Whether some linear predictors have no mean, for messages.
    log_concave : bool
        Whether the density is log-concave, and factors have no structure: one search may be enough.

    Raises
    ------
    ConvergenceError
        If the criterion has no value at the start.
    """
    factors = slice(first, first + rows.n_theta)
    variances = first + _diagonals(rows) if log_concave else None
    arrival = lowest_arrival(criterion, starts, stopping, factors, variances)
    for _ in range(_AGAIN):
        arrival = _on_boundary(criterion, rows, arrival, first)
        optimum = _certified(criterion, rows, arrival, first, bounded)
        jumps = has_lower_mode(criterion, optimum.point)
        if optimum.point.noise or (optimum.convergence.converged and not jumps):
            return optimum
        led = onward(criterion, optimum.point, optimum.hessian, stopping, jumps=jumps)
        if led is None:
            return optimum
        arrival = replace(led, evaluations=led.evaluations + optimum.convergence.evaluations)
    if not jumps:
        return optimum
    unsure = replace(optimum.convergence, converged=False, message=_JUMPS)
    return replace(optimum, convergence=unsure)


def _diagonals(rows: Rows) -> np.ndarray:
    """Return the places of the diagonals of the factors among their elements, (count,)."""
    layouts = (term.layout for term in rows.terms)
    return np.concatenate([la.start + np.flatnonzero(la.rows == la.columns) for la in layouts])


def _on_boundary(criterion: Criterion, rows: Rows, arrival: Arrival, first: int) -> Arrival:
    """Set columns of factors to zero that are nearly so, if the criterion is no higher then."""
    psi = arrival.point.psi.copy()
    dead = _small_columns(rows, arrival, first)
    if not dead.any():
        return arrival
    psi[dead] = 0.0
    try:
        point = criterion.at(psi, arrival.point.start)
    except np.linalg.LinAlgError:
        return arrival
    if point.criterion > arrival.point.criterion + _LEVEL * (1.0 + abs(point.criterion)):
        return arrival
    return Arrival(point, arrival.evaluations + 1, arrival.decrement, arrival.arrived)


def _small_columns(rows: Rows, arrival: Arrival, first: int) -> np.ndarray:
    """Return which elements of ψ, (P,), stand in a column of a factor that is nearly zero."""
    psi = arrival.point.psi
    hessian = arrival.point.curvature.hessian
    noise = 1.0 / np.sqrt(np.maximum(np.abs(hessian.diagonal()), 1e-300))
    small = np.zeros(len(psi), dtype=bool)
    columns = [column for term in rows.terms for column in term.columns]
    for members in (np.array(column) + first for column in columns):
        sizes = np.abs(psi[members])
        if (sizes < _DEAD).all() or (sizes < _DEAD * noise[members]).all():
            small[members] = True
    return small


def _certified(
    criterion: Criterion, rows: Rows, arrival: Arrival, first: int, bounded: bool
) -> GeneralOptimum:
    """Polish with exact second derivatives, and say whether they certify a minimum."""
    places = slice(first, first + rows.n_theta)
    free = np.ones(len(arrival.point.psi), dtype=bool)
    free[places] = _living(rows, arrival.point.psi[places])
    try:
        hessian = exact_hessian(criterion, arrival.point)
        if not np.isfinite(hessian).all():
            raise np.linalg.LinAlgError("second derivatives are not finite")
    except np.linalg.LinAlgError as error:
        return _without_derivatives(arrival, free, error, bounded)
    arrival = polished(arrival, criterion, hessian, free)
    scale = 1.0 / np.sqrt(np.maximum(np.abs(hessian.diagonal()), 1e-300))
    scaled = scale[:, None] * hessian * scale
    values = np.linalg.eigvalsh(scaled)
    inner = np.linalg.eigvalsh(scaled[np.ix_(free, free)]) if free.any() else values
    slope = float(np.abs(scale * arrival.point.gradient)[free].max(initial=0.0))
    minimum = bool(values.min() > -_CURVED * max(values.max(), 1.0))
    certified = arrival.decrement < _limit(arrival) and minimum
    convergence = Convergence(
        converged=bool(certified),
        message=_message(arrival, minimum, _largest_sd(arrival.point, places)),
        iterations=arrival.evaluations,
        evaluations=arrival.evaluations,
        decrement=arrival.decrement,
        gradient=slope,
        curvature=float(inner.min()),
    )
    return GeneralOptimum(arrival.point, hessian, free, convergence)


def _without_derivatives(
    arrival: Arrival, free: np.ndarray, error: Exception, bounded: bool
) -> GeneralOptimum:
    """Return an end that cannot be certified: the criterion has no second derivatives there."""
    cure = "Use another link, or a simpler random part."
    if bounded:
        cure = (
            "With this link a mean has a bound that the random effects may reach. Use a link "
            "without bounds, such as 'log' or 'logit'."
        )
    convergence = Convergence(
        converged=False,
        message=f"the search ended where the criterion has no derivatives ({error}). {cure}",
        iterations=arrival.evaluations,
        evaluations=arrival.evaluations,
        decrement=arrival.decrement,
    )
    nothing = np.full((len(free), len(free)), np.nan)
    return GeneralOptimum(arrival.point, nothing, free, convergence)


def _living(rows: Rows, parameters: np.ndarray) -> np.ndarray:
    """Return which covariance parameters are not on the boundary, or tied to one that is, (k,)."""
    return np.concatenate([term.living(parameters) for term in rows.terms])


def _limit(arrival: Arrival) -> float:
    """Return the Newton decrement under which a minimum is certified."""
    return _CERTIFIED_ESTIMATE if arrival.point.noise else _CERTIFIED


def _largest_sd(point: Any, places: slice) -> float:
    """Return the largest sd of the linear predictor by a random effect; 0 where it has a unit."""
    unitless = point.center.given.family.link in _UNITLESS
    return float(np.abs(point.psi[places]).max()) if unitless else 0.0


def _message(arrival: Arrival, minimum: bool, largest: float) -> str:
    """Say how a search ended; `largest` is the largest sd of the linear predictor by an effect."""
    done = arrival.decrement < _limit(arrival)
    if largest > _RUNAWAY and not (minimum and done):
        return (
            f"the variances grow without end (a standard deviation of the linear predictor has "
            f"reached {largest:.2g}), and the criterion nears a limit, "
            f"{arrival.point.criterion:.6g} by now: the random effects explain every row, so "
            f"take some of them out"
        )
    if not minimum:
        return "the search ended at a saddle point: the criterion still curves down"
    if done and arrival.point.noise:
        return (
            "certified within the Monte-Carlo error: gradient and second derivatives, estimated "
            "with one set of random probes, are those of a minimum"
        )
    if done:
        return "certified: gradient and exact second derivatives are those of a minimum"
    if not arrival.arrived:
        return (
            f"the search ran out of evaluations ({arrival.evaluations}); the criterion could "
            f"still fall by about {arrival.decrement:.2g}"
        )
    return f"the criterion could still fall by about {arrival.decrement:.2g}"
