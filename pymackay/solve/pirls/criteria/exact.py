"""`ExactCriterion`: the likelihood of one scalar term by the trapezoid rule, exact to rounding.

The integrand of each level is summed on equal steps between the points where it has fallen by
``e^46`` from its largest value. Of a smooth integrand that has vanished at both ends the rule's
error falls exponentially with the number of points (Trefethen & Weideman 2014, SIAM Rev. 56), so
that nodes may be held in the derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.criteria.nodes import AtNodes
from pymackay.solve.pirls.criteria.quadrature import Centered, Held
from pymackay.solve.pirls.mode import NoMode

_FEWEST, _MOST = 80, 1200  # points of a level
_STEP, _STEP_OF_SD = 0.15, 0.25  # of u where η moves by one, and of its conditional sd
_DROP = 46.0  # e^-46 = 1e-20
_HALVINGS = 24  # of the interval in which an end is searched


@dataclass(frozen=True, eq=False)
class ExactCriterion:
    """The likelihood of a model with one scalar term.

    Attributes
    ----------
    laplace : Laplace
    """

    laplace: Laplace

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> ExactPoint:
        """Evaluate at ψ, (P,), the mode searched from u, (J,)."""
        return ExactPoint(self.laplace.at(psi, u))

    def with_mode(self, psi: np.ndarray, u: np.ndarray) -> ExactPoint:
        """Evaluate at ψ, (P,), with u, (J,), for the mode."""
        return ExactPoint(self.laplace.with_mode(psi, u))


@dataclass(frozen=True, eq=False)
class ExactPoint(Centered):
    """The criterion at some parameters."""

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each level's integrand has vanished, below and above its mode, (J,) each."""
        mode = self.center.mode.u
        least = self._penalised(mode)
        # h exceeds its penalty, so that it is large enough where the penalty alone is
        reach = np.sqrt(2.0 * (least + _DROP)) + 1.0
        ends = []
        for side in (-1.0, 1.0):
            inside, outside = mode.copy(), np.where(side * mode > reach, mode, 0.0) + side * reach
            for _ in range(_HALVINGS):
                middle = 0.5 * (inside + outside)
                far = self._penalised(middle) - least > _DROP
                outside, inside = np.where(far, middle, outside), np.where(far, inside, middle)
            ends.append(outside)
        return ends[0], ends[1]

    def _penalised(self, u: np.ndarray) -> np.ndarray:
        """Return h of each level, (J,), at u, (J,)."""
        return AtNodes.of(self.center.given, u[None, None, :]).penalised[0]

    @cached_property
    def _points(self) -> int:
        """Number of points: steps small beside the scale on which the densities of rows change."""
        low, high = self._ends
        columns = self.center.laplace.rows.blocks[0].columns
        slope = max(1.0, float(np.abs(self.center.given.factors[0] * columns).max()))
        steps = np.minimum(_STEP / slope, _STEP_OF_SD * self.center.determinant.root[0, 0])
        return int(np.clip(np.ceil(((high - low) / steps).max()), _FEWEST, _MOST))

    @cached_property
    def _step(self) -> np.ndarray:
        low, high = self._ends
        return (high - low) / (self._points - 1)

    @cached_property
    def _at(self) -> AtNodes:
        nodes = self._ends[0] + np.arange(self._points)[:, None] * self._step
        return AtNodes.of(self.center.given, nodes[:, None, :])

    @cached_property
    def _logs(self) -> tuple[np.ndarray, np.ndarray]:
        """Logs of the integrals by level, (J,), and the shares of the nodes in them, (K, J)."""
        terms = -self._at.penalised
        largest = terms.max(axis=0)
        if not np.isfinite(largest).all():
            raise NoMode("a level has no mean that the family can have")
        parts = np.exp(terms - largest)
        total = parts.sum(axis=0)
        return largest + np.log(total * self._step / np.sqrt(2.0 * np.pi)), parts / total

    @cached_property
    def criterion(self) -> float:
        """−2 log likelihood, all constants included."""
        given = self.center.given
        constant = given.family.constant(given.rows.observed, given.phi).value
        return constant - 2.0 * float(self._logs[0].sum())

    @cached_property
    def gradient(self) -> np.ndarray:
        """Derivative by ψ, (P,)."""
        rows, given = self.center.laplace.rows, self.center.given
        held = Held.of(self.center, self._at, self._logs[1])
        made = [rows.basis.Q.T @ held.by_row, rows.slopes(self.psi[rows.p :], [held.by_factor])]
        if self.center.laplace.extra == "dispersion":
            slope = given.family.constant(rows.observed, given.phi).slope
            made.append(np.array([held.by_extra + slope]))
        elif self.center.laplace.extra:
            made.append(np.array([held.by_extra]))
        return np.concatenate(made)
