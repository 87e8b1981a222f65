"""`find_optima`: the minima of many responses' criteria, searched side by side and certified.

The steps are those of `pymackay.solve.pirls.batch.points`, the certificate is that of
`pymackay.solve.pirls.optimum`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.pirls.batch.points import (
    ITERATIONS,
    ROUGH,
    Points,
    Search,
    first,
    in_units,
    scaled_model,
)
from pymackay.solve.pirls.many.point import ManyLaplace
from pymackay.solve.search.limits import Control
from pymackay.solve.search.trust_region import Batch, descend

_MISLED = 1e3  # times as much to gain without secants as with them: then they mislead
_DEAD = 1e-4  # of the noise of an effect: a column of a factor that is this small may be zero
_LEVEL = 1e-9  # criterion units by which zero may be higher: less than the criterion's digits
_STEP = 3e-4  # of a difference of gradients, in units of a parameter's curvature
_CERTIFIED = 1e-8  # Newton decrement: 1e-4 standard errors
_CURVED = 1e-6  # of the largest curvature: a direction that curves down by more is a saddle's
_POLISHED = 1e-20  # decrement below which no digit is left to gain


@dataclass(frozen=True, eq=False)
class Optima(Batch):
    """Where B searches ended.

    Attributes
    ----------
    psi : numpy.ndarray, shape (B, P)
    criterion : numpy.ndarray, shape (B,)
    hessian : numpy.ndarray, shape (B, P, P)
        Second derivatives.
    free : numpy.ndarray of bool, shape (B, P)
        False for the elements of a factor's columns that are zero.
    certified : numpy.ndarray of bool, shape (B,)
    evaluations : numpy.ndarray of int, shape (B,)
    """

    psi: np.ndarray
    criterion: np.ndarray
    hessian: np.ndarray
    free: np.ndarray
    certified: np.ndarray
    evaluations: np.ndarray

    def covariance(self) -> np.ndarray:
        """Return the covariances of the estimates, (B, P, P): zero for elements that are zero."""
        free = self.free[:, :, None] & self.free[:, None, :]
        inner = np.where(free, self.hessian, np.eye(self.psi.shape[1]))
        scaled, scale = in_units(inner)
        positive = np.linalg.eigvalsh(scaled)[:, 0] > 0.0
        inverse = np.full_like(scaled, np.nan)
        inverse[positive] = np.linalg.inv(scaled[positive])
        return np.where(free, 2.0 * scale[:, :, None] * inverse * scale[:, None, :], 0.0)


@np.errstate(all="ignore")
def find_optima(
    laplace: ManyLaplace, start: np.ndarray, spent: float, u: np.ndarray | None = None
) -> Optima:
    """Minimise the criteria of B responses from parameters of shape (B, P) and modes (q, J, B).

    `spent` is the Newton decrement at which Newton steps with the exact second derivatives follow.
    Responses whose search fails are not certified.
    """
    (q, J), B = laplace.levels, len(laplace)
    counts = np.ones(B, dtype=int)
    search = Search(laplace, np.arange(B), counts)
    begin = np.zeros((q, J, B)) if u is None else u
    points = Points.of(start, laplace.at(start, begin, ROUGH))
    control = Control(max_iterations=ITERATIONS, spent=spent)
    points, arrived = descend(search, points, control)
    arrived &= np.isfinite(points.criterion)
    plain = scaled_model(points.gradient, points.curvature)[0].decrement
    misled = np.flatnonzero(arrived & (plain > _MISLED * spent))
    if len(misled):
        again = points.take(misled).without_secants()
        again, arrived[misled] = descend(search.take(misled), again, control)
        points.put(misled, again)
    _to_boundary(search, points)
    return _certified(search, points, arrived)


def _to_boundary(search: Search, points: Points) -> None:
    """Set columns of factors to zero that are nearly so, if the criterion is no higher then."""
    psi = points.psi.copy()
    p = search.laplace.design.rows.p
    diagonal = np.abs(np.diagonal(points.curvature, axis1=1, axis2=2))
    noise = 1.0 / np.sqrt(np.maximum(diagonal, 1e-300))
    for members in (np.array(column) + p for column in _columns(search.laplace)):
        sizes = np.abs(psi[:, members])
        dead = (sizes < _DEAD).all(axis=1) | (sizes < _DEAD * noise[:, members]).all(axis=1)
        psi[np.ix_(dead, members)] = 0.0
    moved = np.flatnonzero((psi != points.psi).any(axis=1))
    if not len(moved):
        return
    here = search.take(moved)
    at = Points.of(psi[moved], here.at(psi[moved], points.take(moved).modes))
    level = points.criterion[moved] + _LEVEL * (1.0 + np.abs(at.criterion))
    kept = at.criterion <= level
    points.put(moved[kept], at.take(kept))


def _columns(laplace: ManyLaplace) -> list[list[int]]:
    """Places of the elements, grouped by the column of a factor that they stand in."""
    return [column for term in laplace.design.rows.terms for column in term.columns]


def _certified(search: Search, points: Points, arrived: np.ndarray) -> Optima:
    """Polish with exact second derivatives, and say which of them certify a minimum."""
    hessian = _exact_hessian(search.laplace, points)
    free = np.ones(points.psi.shape, dtype=bool)
    for members in (np.array(c) + search.laplace.design.rows.p for c in _columns(search.laplace)):
        free[:, members] = (points.psi[:, members] != 0.0).any(axis=1)[:, None]
    usable = arrived & np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(points.criterion)
    hessian = np.where(usable[:, None, None], hessian, np.eye(hessian.shape[1]))
    points, decrement = _polished(search, points, hessian, free)
    values = np.linalg.eigvalsh(in_units(hessian)[0])
    minimum = values[:, 0] > -_CURVED * np.maximum(values[:, -1], 1.0)
    certified = usable & minimum & (decrement < _CERTIFIED)
    counts = search.evaluations[search.places]
    return Optima(points.psi, points.criterion, hessian, free, certified, counts)


def _exact_hessian(laplace: ManyLaplace, points: Points) -> np.ndarray:
    """Return second derivatives, (B, P, P), by differences of exact gradients."""
    diagonal = np.abs(np.diagonal(points.curvature, axis1=1, axis2=2))
    least = 1e-8 * diagonal.max(axis=1, keepdims=True)
    steps = _STEP / np.sqrt(np.maximum(diagonal, least))
    made = np.empty_like(points.curvature)
    for i in range(steps.shape[1]):
        move = np.zeros_like(steps)
        move[:, i] = steps[:, i]
        above, below = (
            laplace.with_modes(points.psi + way, points.begin(way)).gradient
            for way in (move, -move)
        )
        made[:, :, i] = (above - below) / (2.0 * steps[:, i, None])
    return 0.5 * (made + made.swapaxes(1, 2))


def _polished(
    search: Search, points: Points, hessian: np.ndarray, free: np.ndarray
) -> tuple[Points, np.ndarray]:
    """Take Newton steps with exact second derivatives; return the points and their decrements.

    Two at most, each only where it lowers the decrement; elements that are not free stay zero.
    """
    model, scale = scaled_model(points.gradient, hessian)
    decrement = model.decrement.copy()
    for _ in range(2):
        todo = np.flatnonzero(decrement > _POLISHED)
        if not len(todo):
            break
        model, scale = scaled_model(points.gradient[todo], hessian[todo])
        move = np.where(free[todo], scale * model.steps(np.ones(len(todo)))[0], 0.0)
        psi = points.psi[todo] + move
        here = search.take(todo)
        at = here.at(psi, points.take(todo).modes)
        after = scaled_model(np.nan_to_num(at.gradient), hessian[todo])[0].decrement
        better = np.isfinite(at.criterion) & (after < decrement[todo])
        best = todo[better]
        points.psi[best], points.criterion[best] = psi[better], at.criterion[better]
        points.gradient[best] = at.gradient[better]
        points.u[best] = first(at.u)[better]
        decrement[best] = after[better]
    return points, decrement
