"""The search: trust-region Newton steps by average information, without the criterion.

The log determinant is the one thing that is dear and noisy here, so no step asks for it. By how
much a step lowered the criterion is read off the scores at both ends (the trapezoid rule along
the step, of third order); where the average information misleads, the radius shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pymackay.solve.iterative.checkpoint import Checkpoint
from pymackay.solve.iterative.solver import Estimate, Iterative
from pymackay.solve.search.limits import Control
from pymackay.solve.search.points import Points, Values
from pymackay.solve.search.start import noise_level
from pymackay.solve.search.trust_region import Ground, descend

__all__ = ["Point", "Search"]

_NEAR = 1.0  # what a step is to gain, criterion units, under which its end is worth all digits
_QUADRATIC = 1e-4  # the same, under which the decrement judges: the scores' rule has no more digits


class Point(Points):
    """One point (a batch of one); its criterion is not known, and said to be zero."""

    @property
    def estimate(self) -> Estimate:
        """What the solver knows there."""
        estimate: Estimate = self.answers[0][0]
        return estimate

    @property
    def decrement(self) -> float:
        """By how much the quadratic model says the criterion could still fall."""
        return float(self.model.decrement[0])


class Search(Ground[Point]):
    """One search: holds the solver and counts what is paid.

    Parameters
    ----------
    solver : Iterative
    checkpoint : Checkpoint
        Where every accepted point is noted.

    Attributes
    ----------
    steps, evaluations : int
    """

    def __init__(self, solver: Iterative, checkpoint: Checkpoint) -> None:
        self.solver = solver
        self.checkpoint = checkpoint
        self.layouts = solver.gram.layouts
        self.noise = tuple(noise_level(solver.gram, k) for k in range(len(self.layouts)))
        self.steps = 0
        self.evaluations = 0

    def point(self, factors: Sequence[np.ndarray], *, loose: bool = False) -> Point:
        """Evaluate at relative factors, each (1, q, q); `loose`: to three digits only."""
        self.evaluations += 1
        answer = np.empty(1, dtype=object)
        answer[0] = estimate = self.solver.estimate([f[0] for f in factors], loose=loose)
        values = Values(
            criterion=np.zeros(1),
            sigma2=np.array([estimate.evaluation.sigma2]),
            rounding=np.zeros(1),
            score=tuple(score[None] for score in estimate.evaluation.score),
            curvature=estimate.evaluation.curvature[None],
            answers=(answer,),
            exact=False,
        )
        return Point.of(tuple(factors), values, self.layouts, self.noise)

    def descend(self, point: Point) -> Point:
        """Go on until the decrement is spent, or no step shrinks it any more."""
        control = self.solver.control
        while True:
            limit = Control(control.max_iterations - self.steps, control.spent, 0.0, _QUADRATIC)
            point, arrived = descend(self, point, limit)
            self._note(point)
            if not (arrived[0] and point.estimate.loose):
                return point
            point = self.point(point.factors)

    def after(self, point: Point, steps: np.ndarray, predicted: np.ndarray) -> Point:
        """Return the point that a scaled step, (1, m), leads to; note the one it starts from."""
        if self.steps:
            self._note(point)
        self.steps += 1
        return self.point(point.after(steps), loose=bool(predicted[0] > _NEAR))

    def gain(self, before: Point, after: Point) -> np.ndarray:
        """Return by how much the criterion falls, (1,), by the trapezoid rule.

        Along ``L(t) = L₀ + t (L₁ − L₀)`` the criterion's slope is
        ``2 tr(S(t) L(t) (L₁ − L₀)')``.
        """
        change = np.zeros(1)
        for k, (L0, L1) in enumerate(zip(before.factors, after.factors, strict=True)):
            for point, L in ((before, L0), (after, L1)):
                change += np.einsum("nab,nbc,nac->n", point.score[k], L, L1 - L0)
        return -change

    def _note(self, point: Point) -> None:
        self.checkpoint.save([factor[0] for factor in point.factors], self.solver.probes.count)
