"""`find_optima`: the minima of many responses' criteria, searched side by side and certified.

The steps are those of `pymackay.solve.search.trust_region`, with symmetric rank-one corrections of
the curvature as in `pymackay.solve.pirls.search`; the certificate is that of
`pymackay.solve.pirls.optimum`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymackay.solve.pirls.many.mode import STILL
from pymackay.solve.pirls.many.point import ManyLaplace, Measured
from pymackay.solve.search.limits import Control
from pymackay.solve.search.trust_region import Batch, Ground, Modelled, Quadratics, descend

_SMALL_PIVOT = 1e-8  # of |residual| |step|, under which a secant says nothing
_ROUNDING = 1e-14  # of 1 + |criterion|, the rounding of its sums
_ITERATIONS = 25  # of a search; one that needs more is left to the search of one response
_MODES, _ROUGH = 1e-3, 1e-10  # decrement of modes: root by the gain awaited, and at most
_MISLED = 1e3  # times as much to gain without secants as with them: then they mislead
_DEAD = 1e-4  # of the noise of an effect: a column of a factor that is this small may be zero
_LEVEL = 1e-9  # criterion units by which zero may be higher: less than the criterion's digits
_STEP = 3e-4  # of a difference of gradients, in units of a parameter's curvature
_CERTIFIED = 1e-8  # Newton decrement: 1e-4 standard errors
_CURVED = 1e-6  # of the largest curvature: a direction that curves down by more is a saddle's
_POLISHED = 1e-20  # decrement below which no digit is left to gain


@dataclass(frozen=True, eq=False)
class Points(Modelled):
    """Points of B searches.

    Attributes
    ----------
    scale, psi, gradient : numpy.ndarray, each (B, P)
        Unit of each parameter, parameters, and derivatives of the criterion by them.
    u : numpy.ndarray, shape (B, q, J)
        Modes.
    criterion : numpy.ndarray, shape (B,)
    curvature, secant : numpy.ndarray, each (B, P, P)
        Approximate second derivatives, and what secants add to them.
    slopes : numpy.ndarray, shape (B, q, P, J)
        Derivatives of the modes by the parameters.
    """

    scale: np.ndarray
    psi: np.ndarray
    gradient: np.ndarray
    u: np.ndarray
    criterion: np.ndarray
    curvature: np.ndarray
    secant: np.ndarray
    slopes: np.ndarray

    @classmethod
    def of(cls, psi: np.ndarray, at: Measured, before: Points | None = None) -> Points:
        """Return the points measured at parameters of shape (B, P), after steps from others."""
        criterion, gradient, curvature = at.criterion.copy(), at.gradient, at.curvature
        usable = np.isfinite(criterion) & np.isfinite(gradient).all(axis=1)
        usable &= np.isfinite(curvature).all(axis=(1, 2))
        criterion[~usable] = np.nan
        gradient = np.where(usable[:, None], gradient, 0.0)
        curvature = np.where(usable[:, None, None], curvature, np.eye(psi.shape[1]))
        secant = np.zeros_like(curvature)
        if before is not None:
            secant = _corrected(before, psi, gradient, curvature)
        return cls._with_model(
            psi, gradient, _first(at.mode.u), criterion, curvature, secant, _first(at.mode_slopes)
        )

    @classmethod
    def _with_model(
        cls,
        psi: np.ndarray,
        gradient: np.ndarray,
        u: np.ndarray,
        criterion: np.ndarray,
        curvature: np.ndarray,
        secant: np.ndarray,
        slopes: np.ndarray,
    ) -> Points:
        model, scale = scaled_model(gradient, curvature + secant)
        return cls(model, scale, psi, gradient, u, criterion, curvature, secant, slopes)

    def without_secants(self) -> Points:
        """Return the points with the models that the curvature alone makes."""
        model, scale = scaled_model(self.gradient, self.curvature)
        return replace(self, model=model, scale=scale, secant=np.zeros_like(self.secant))

    @property
    def modes(self) -> np.ndarray:
        """The modes, (q, J, B)."""
        return np.ascontiguousarray(np.moveaxis(self.u, 0, -1))

    def begin(self, move: np.ndarray) -> np.ndarray:
        """Return where the modes lead after moves of shape (B, P): (q, J, B)."""
        moved = np.einsum("bqpj,bp->qjb", self.slopes, move)
        return self.modes + moved


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
        scaled, scale = _scaled(inner)
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
    (q, J), B = laplace.design.levels, len(laplace)
    counts = np.ones(B, dtype=int)
    search = _Search(laplace, np.arange(B), counts)
    begin = np.zeros((q, J, B)) if u is None else u
    points = Points.of(start, laplace.at(start, begin, _ROUGH))
    control = Control(max_iterations=_ITERATIONS, spent=spent)
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


@dataclass(frozen=True, eq=False)
class _Search(Ground[Points]):
    """The ground of some searches.

    Attributes
    ----------
    laplace : ManyLaplace
        Of the responses that are searched here.
    places : numpy.ndarray of int
        Their places among all.
    evaluations : numpy.ndarray of int
        Counts for all; written to.
    """

    laplace: ManyLaplace
    places: np.ndarray
    evaluations: np.ndarray

    def take(self, which: np.ndarray) -> _Search:
        places = self.places[which]
        return _Search(self.laplace.take(which), places, self.evaluations)

    def at(self, psi: np.ndarray, u: np.ndarray, still: float | np.ndarray = STILL) -> Measured:
        """Evaluate at parameters of shape (B, P), modes searched from u, (q, J, B)."""
        self.evaluations[self.places] += 1
        return self.laplace.at(psi, u, still)

    def after(self, points: Points, steps: np.ndarray, predicted: np.ndarray) -> Points:
        move = points.scale * steps
        psi = points.psi + move
        still = np.clip((_MODES * predicted) ** 2, STILL, _ROUGH)
        return Points.of(psi, self.at(psi, points.begin(move), still), points)

    def gain(self, before: Points, after: Points) -> np.ndarray:
        return before.criterion - after.criterion

    def rounding(self, points: Points) -> np.ndarray:
        return _ROUNDING * (1.0 + np.abs(points.criterion))


def scaled_model(gradient: np.ndarray, hessian: np.ndarray) -> tuple[Quadratics, np.ndarray]:
    """Return quadratic models in units of the parameters' curvature, and the units, (B, P)."""
    scaled, scale = _scaled(hessian)
    return Quadratics.of(scale * gradient, scaled), scale


def _scaled(hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return second derivatives, (B, P, P), in units of shape (B, P), and the units."""
    diagonal = np.abs(np.diagonal(hessian, axis1=1, axis2=2))
    least = np.maximum(1e-8 * diagonal.max(axis=1, keepdims=True), 1e-300)
    scale = 1.0 / np.sqrt(np.maximum(diagonal, least))
    return scale[:, :, None] * hessian * scale[:, None, :], scale


def _corrected(
    before: Points, psi: np.ndarray, gradient: np.ndarray, curvature: np.ndarray
) -> np.ndarray:
    """Return secant corrections, (B, P, P), that explain the changes of the gradients too."""
    step = psi - before.psi
    between = 0.5 * (before.curvature + curvature) + before.secant
    residual = gradient - before.gradient - (between @ step[:, :, None])[:, :, 0]
    pivot = (residual * step).sum(axis=1)
    sizes = np.linalg.norm(residual, axis=1) * np.linalg.norm(step, axis=1)
    telling = np.abs(pivot) >= _SMALL_PIVOT * sizes
    added = (
        residual[:, :, None] * residual[:, None, :] / np.where(telling, pivot, 1.0)[:, None, None]
    )
    return before.secant + np.where((telling & (sizes > 0.0))[:, None, None], added, 0.0)


def _to_boundary(search: _Search, points: Points) -> None:
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


def _certified(search: _Search, points: Points, arrived: np.ndarray) -> Optima:
    """Polish with exact second derivatives, and say which of them certify a minimum."""
    hessian = _exact_hessian(search.laplace, points)
    free = np.ones(points.psi.shape, dtype=bool)
    for members in (np.array(c) + search.laplace.design.rows.p for c in _columns(search.laplace)):
        free[:, members] = (points.psi[:, members] != 0.0).any(axis=1)[:, None]
    usable = arrived & np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(points.criterion)
    hessian = np.where(usable[:, None, None], hessian, np.eye(hessian.shape[1]))
    points, decrement = _polished(search, points, hessian, free)
    values = np.linalg.eigvalsh(_scaled(hessian)[0])
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
    search: _Search, points: Points, hessian: np.ndarray, free: np.ndarray
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
        points.u[best] = _first(at.mode.u)[better]
        decrement[best] = after[better]
    return points, decrement


def _first(values: np.ndarray) -> np.ndarray:
    """Move the axis of the responses from last to first."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))
