"""`HeldFactors`: Laplace's criterion over β and dispersion or shape, with the factors held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.pirls.criteria.laplace import Laplace, Point

_STEPS = 30
_STILL = 1e-19  # Newton decrement: what is left is rounding


@dataclass(frozen=True, eq=False)
class HeldFactors:
    """Laplace's criterion at given factors.

    Attributes
    ----------
    laplace : Laplace
    elements : numpy.ndarray, shape (k,)
        Of the factors.
    """

    laplace: Laplace
    elements: np.ndarray

    @property
    def size(self) -> int:
        """Number of free parameters: β, and log dispersion or log shape."""
        return self.laplace.size - len(self.elements)

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> HeldPoint:
        """Evaluate at the free parameters, (P − k,), the mode searched from u, (N,)."""
        return HeldPoint(self.laplace.at(self._whole(psi), u))

    def with_mode(self, psi: np.ndarray, u: np.ndarray) -> HeldPoint:
        """Evaluate at the free parameters, (P − k,), with u, (N,), for the mode."""
        return HeldPoint(self.laplace.with_mode(self._whole(psi), u))

    def _whole(self, psi: np.ndarray) -> np.ndarray:
        p = self.laplace.rows.p
        return np.concatenate([psi[:p], self.elements, psi[p:]])

    def settled(self, psi: np.ndarray) -> HeldPoint:
        """Return the minimum next to ψ, (P − k,), by Newton steps until rounding stops them."""
        point = self.at(psi)
        step, decrement = point.newton_step()
        for _ in range(_STEPS):
            if decrement < _STILL:
                break
            trial = self.at(point.psi + step, point.start)
            step, after = trial.newton_step()
            if not after < decrement:
                break
            point, decrement = trial, after
        return point


@dataclass(frozen=True, eq=False)
class HeldPoint:
    """The criterion at some free parameters.

    Attributes
    ----------
    center : Point
    """

    center: Point

    @property
    def noise(self) -> float:
        """Monte-Carlo standard error of the criterion."""
        return self.center.noise

    @property
    def _free(self) -> np.ndarray:
        rows = self.center.laplace.rows
        return np.r_[0 : rows.p, rows.p + rows.n_theta : len(self.center.psi)]

    @property
    def psi(self) -> np.ndarray:
        """The free parameters, (P − k,)."""
        return self.center.psi[self._free]

    @property
    def start(self) -> np.ndarray:
        """The mode, (N,)."""
        return self.center.mode.u

    @property
    def criterion(self) -> float:
        """Laplace's criterion."""
        return self.center.criterion

    @property
    def gradient(self) -> np.ndarray:
        """Derivative by the free parameters, (P − k,)."""
        return self.center.gradient[self._free]

    def newton_step(self) -> tuple[np.ndarray, float]:
        """Return the Newton step, (P − k,), and its decrement."""
        gradient = self.gradient
        step = -np.linalg.solve(self.curvature.hessian, gradient)
        return step, -0.5 * float(gradient @ step)

    @property
    def curvature(self) -> Curvature:
        """Approximate second derivatives, (P − k, P − k), and slopes of the mode, (N, P − k)."""
        whole, free = self.center.curvature, self._free
        return Curvature(whole.hessian[np.ix_(free, free)], whole.mode_slopes[:, free])

    def second_derivatives(self) -> np.ndarray | None:
        """Return those of Laplace's criterion by the free parameters, where formulas give them."""
        whole, free = self.center.second_derivatives(), self._free
        return None if whole is None else whole[np.ix_(free, free)]
