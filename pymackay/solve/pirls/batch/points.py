"""`Points` and `Search`: searches of Laplace's criterion from many points, side by side.

The steps are those of `pymackay.solve.search.trust_region`, with symmetric rank-one corrections of
the curvature as in `pymackay.solve.pirls.search`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymackay.solve.search.limits import Control
from pymackay.solve.search.trust_region import Ground, Modelled, Quadratics, descend

STILL = 1e-20  # Newton decrement by 1 + |u|², under which u is the mode
ROUGH = 1e-10  # the same at most, where a mode need not be exact
ITERATIONS = 25  # of a search; one that needs more is left to the search of one response
_SMALL_PIVOT = 1e-8  # of |residual| |step|, under which a secant says nothing
_ROUNDING = 1e-14  # of 1 + |criterion|, the rounding of its sums
_MODES = 1e-3  # decrement of modes: root by the gain awaited


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
    def of(cls, psi: np.ndarray, at: Any, before: Points | None = None) -> Points:
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
            psi, gradient, first(at.u), criterion, curvature, secant, first(at.mode_slopes)
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
class Search(Ground[Points]):
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

    laplace: Any
    places: np.ndarray
    evaluations: np.ndarray

    def take(self, which: np.ndarray) -> Search:
        """Return the ground of some of the searches."""
        places = self.places[which]
        return Search(self.laplace.take(which), places, self.evaluations)

    def at(self, psi: np.ndarray, u: np.ndarray, still: float | np.ndarray = STILL) -> Any:
        """Evaluate at parameters of shape (B, P), modes searched from u, (q, J, B)."""
        self.evaluations[self.places] += 1
        return self.laplace.at(psi, u, still)

    def after(self, points: Points, steps: np.ndarray, predicted: np.ndarray) -> Points:
        """Return the points after scaled steps, (B, P), whose predicted gains are (B,)."""
        move = points.scale * steps
        psi = points.psi + move
        still = np.clip((_MODES * predicted) ** 2, STILL, ROUGH)
        return Points.of(psi, self.at(psi, points.begin(move), still), points)

    def gain(self, before: Points, after: Points) -> np.ndarray:
        """Return by how much the criterion falls, (B,)."""
        return before.criterion - after.criterion

    def rounding(self, points: Points) -> np.ndarray:
        """Return the size of the criterion's rounding error, (B,)."""
        return _ROUNDING * (1.0 + np.abs(points.criterion))


@np.errstate(all="ignore")
def rough_ends(
    laplace: Any, start: np.ndarray, spent: float, iterations: int = ITERATIONS
) -> Points:
    """Return where searches from parameters of shape (B, P) end, at a Newton decrement of `spent`.

    The criterion is nan where it has no value at the start.

    Parameters
    ----------
    laplace : ManyLaplace or pymackay.solve.pirls.batch.dense.DenseLaplace
    start : numpy.ndarray, shape (B, P)
    spent : float
    iterations : int
        At most.
    """
    (q, J), B = laplace.levels, len(laplace)
    search = Search(laplace, np.arange(B), np.ones(B, dtype=int))
    points = Points.of(start, laplace.at(start, np.zeros((q, J, B)), ROUGH))
    return descend(search, points, Control(max_iterations=iterations, spent=spent))[0]


def scaled_model(gradient: np.ndarray, hessian: np.ndarray) -> tuple[Quadratics, np.ndarray]:
    """Return quadratic models in units of the parameters' curvature, and the units, (B, P)."""
    scaled, scale = in_units(hessian)
    return Quadratics.of(scale * gradient, scaled), scale


def in_units(hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def first(values: np.ndarray) -> np.ndarray:
    """Move the axis of the responses from last to first."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))
