"""The search: trust-region Newton steps by average information, without the criterion.

The log determinant is the one thing that is dear and noisy here, so no step asks for it. By how
much a step lowered the criterion is read off the scores at both ends (the trapezoid rule along
the step, of third order); where the average information misleads, the radius shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.iterative.checkpoint import Checkpoint
from pymackay.solve.iterative.solver import Estimate, Iterative
from pymackay.solve.search.axes import Axes, in_axes
from pymackay.solve.search.start import noise_level
from pymackay.solve.search.trust_region import trust_region_step

__all__ = ["Point", "Search"]

_NEAR = 1.0  # what a step is to gain, criterion units, under which its end is worth all digits


@dataclass(frozen=True, eq=False)
class Point:
    """A point with the criterion's quadratic model in scaled steps along its principal axes.

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
        Relative factors, whitened bases.
    axes : list of Axes
    estimate : Estimate
    scale, gradient : numpy.ndarray, shape (m,)
    curvature : numpy.ndarray, shape (m, m)
    """

    factors: list[np.ndarray]
    axes: list[Axes]
    estimate: Estimate
    scale: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray

    def after(self, step: np.ndarray) -> list[np.ndarray]:
        """Return the factors that a scaled step leads to, in the term's own columns."""
        moved = self.scale * step
        return [axes.factor(axes.root + axes.layout.factor(moved)) for axes in self.axes]

    @property
    def decrement(self) -> float:
        """By how much the quadratic model says the criterion could still fall."""
        values, vectors = np.linalg.eigh(self.curvature)
        along = vectors.T @ self.gradient
        floor = 1e-10 * max(float(np.abs(values).max()), 1.0)
        return float(0.5 * np.sum(along**2 / np.maximum(np.abs(values), floor)))


class Search:
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
        self.layouts = solver.bases.layouts
        self.noise = [noise_level(solver.bases, k) for k in range(len(solver.bases.layouts))]
        self.steps = 0
        self.evaluations = 0

    def point(self, factors: list[np.ndarray], *, loose: bool = False) -> Point:
        """Evaluate at these relative factors; `loose`: to three digits only."""
        self.evaluations += 1
        estimate = self.solver.estimate(factors, loose=loose)
        axes = [Axes.of(f, layout) for f, layout in zip(factors, self.layouts, strict=True)]
        scale = np.concatenate(
            [
                np.sqrt(a.sizes**2 + noise)[a.layout.rows]
                for a, noise in zip(axes, self.noise, strict=True)
            ]
        )
        gradient, curvature = in_axes(estimate.evaluation, axes)
        curvature *= np.outer(scale, scale)
        return Point(factors, axes, estimate, scale, gradient * scale, curvature)

    def descend(self, point: Point) -> Point:
        """Go on until the decrement is spent, or no step shrinks it any more."""
        control = self.solver.control
        radius = 1.0
        while self.steps < control.max_iterations:
            step, predicted = trust_region_step(point.gradient, point.curvature, radius)
            if predicted <= control.spent or radius < 1e-8:
                if not point.estimate.loose:
                    return point
                point = self.point(point.factors)
                continue
            self.steps += 1
            trial = self.point(point.after(step), loose=predicted > _NEAR)
            gained = -self._change(point, trial)
            ratio = gained / predicted if np.isfinite(gained) else -1.0
            length = float(np.linalg.norm(step))
            if ratio < 0.25:
                radius = 0.25 * length
            elif ratio > 0.75 and length > 0.8 * radius:
                radius = min(3.0 * radius, 8.0)
            if ratio > 0.05 or (predicted < 1e-4 and trial.decrement < point.decrement):
                point = trial
                self.checkpoint.save(point.factors, self.solver.probes.count)
        return point

    def _change(self, first: Point, second: Point) -> float:
        """Return the criterion's change from `first` to `second`, by the trapezoid rule.

        Along ``L(t) = L₀ + t (L₁ − L₀)`` the criterion's slope is
        ``2 tr(S(t) L(t) (L₁ − L₀)')``.
        """
        total = 0.0
        for k, (L0, L1) in enumerate(zip(first.factors, second.factors, strict=True)):
            for point, L in ((first, L0), (second, L1)):
                score = point.estimate.evaluation.score[k]
                total += float(np.einsum("ab,bc,ac->", score, L, L1 - L0))
        return total
