"""`JointCriterion`: Laplace's criterion at the joint mode of β and the effects, nAGQ = 0 of lme4.

β is no parameter of the search: at each θ it minimises the penalised deviance together with u. Of
Laplace's gradient g and the second derivatives M of the penalised deviance, whose rows of β are
those of `Curvature`, the total derivative by θ is ``g_θ − M_θβ M_ββ⁻¹ g_β``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.pirls.criteria.laplace import Laplace, Point
from pymackay.solve.pirls.mode import NoMode

_ROUNDS = 100
_STILL = 1e-20  # Newton decrement under which β is the mode


@dataclass(frozen=True, eq=False)
class JointCriterion:
    """Laplace's criterion with β at the joint mode; its parameters are factors and dispersion.

    Attributes
    ----------
    laplace : Laplace
    beta : numpy.ndarray, shape (p,)
        Where the search for β begins.
    """

    laplace: Laplace
    beta: np.ndarray

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> JointPoint:
        """Evaluate at ψ, (P − p,), the joint mode searched from (β, u), (p + N,).

        Raises
        ------
        numpy.linalg.LinAlgError
            If there is none.
        """
        p = self.laplace.rows.p
        beta, start = (self.beta, None) if u is None else (u[:p], u[p:])
        point = self.laplace.at(np.append(beta, psi), start)
        for _ in range(_ROUNDS):
            slope = self._slope(point)
            step = -np.linalg.solve(point.curvature.hessian[:p, :p], slope) if p else slope
            if not p or -float(step @ slope) < _STILL * (1.0 + abs(point.deviance)):
                return JointPoint(point)
            point = self._moved(point, step)
        raise NoMode(f"the joint mode is not reached in {_ROUNDS} steps")

    def with_mode(self, psi: np.ndarray, u: np.ndarray) -> JointPoint:
        """Evaluate at ψ, (P − p,), with (β, u), (p + N,), for the joint mode."""
        p = self.laplace.rows.p
        return JointPoint(self.laplace.with_mode(np.append(u[:p], psi), u[p:]))

    def _slope(self, point: Point) -> np.ndarray:
        """Return the derivative of the penalised deviance by β, ``2 X'D'/φ``, (p,)."""
        slopes = point.total(lambda here: here.given.rows.basis.Q.T @ here.at.d1)
        return np.asarray(2.0 * slopes / point.given.phi)

    def _moved(self, point: Point, step: np.ndarray) -> Point:
        """Return the point after a step in β that is halved until the penalised deviance falls."""
        p, length = self.laplace.rows.p, 1.0
        before = point.given.penalised(point.mode.value, point.mode.u)
        while length > 1e-12:
            psi = point.psi.copy()
            psi[:p] += length * step
            start = point.mode.u + length * (point.curvature.mode_slopes[:, :p] @ step)
            try:
                trial = self.laplace.at(psi, start)
            except np.linalg.LinAlgError:
                length *= 0.5
                continue
            after = trial.given.penalised(trial.mode.value, trial.mode.u)
            if after <= before + 1e-13 * (1.0 + abs(before)):
                return trial
            length *= 0.5
        raise NoMode("no step in the fixed effects lowers the penalised deviance")


@dataclass(frozen=True, eq=False)
class JointPoint:
    """The criterion at some factors.

    Attributes
    ----------
    center : Point
        Laplace's criterion at the joint mode.
    """

    center: Point

    @property
    def _p(self) -> int:
        return self.center.laplace.rows.p

    @property
    def psi(self) -> np.ndarray:
        """The parameters without β, (P − p,)."""
        return self.center.psi[self._p :]

    @property
    def start(self) -> np.ndarray:
        """The joint mode (β, u), (p + N,)."""
        return np.append(self.center.psi[: self._p], self.center.mode.u)

    @property
    def criterion(self) -> float:
        """Laplace's criterion."""
        return self.center.criterion

    @property
    def noise(self) -> float:
        """Monte-Carlo standard error of the criterion."""
        return self.center.noise

    @cached_property
    def _beta_slopes(self) -> np.ndarray:
        """Derivative of β by the other parameters, (p, P − p)."""
        hessian, p = self.center.curvature.hessian, self._p
        return -np.linalg.solve(hessian[:p, :p], hessian[:p, p:])

    @cached_property
    def gradient(self) -> np.ndarray:
        """Total derivative by the parameters, (P − p,)."""
        gradient, p = self.center.gradient, self._p
        return gradient[p:] + self._beta_slopes.T @ gradient[:p]

    @cached_property
    def curvature(self) -> Curvature:
        """Approximate second derivatives, (P − p, P − p), and slopes of (β, u)."""
        inner, p, slopes = self.center.curvature, self._p, self._beta_slopes
        hessian = inner.hessian[p:, p:] + inner.hessian[p:, :p] @ slopes
        moved = inner.mode_slopes[:, p:] + inner.mode_slopes[:, :p] @ slopes
        return Curvature(0.5 * (hessian + hessian.T), np.concatenate([slopes, moved]))

    def second_derivatives(self) -> np.ndarray | None:
        """There are no formulas for them."""
        return None
