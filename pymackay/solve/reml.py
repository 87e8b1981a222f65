"""The optimiser: trust-region Newton on the relative factors, with exact treatment of singularity.

The criterion is a smooth function of the lower-triangular factors, also where a column is zero:
there its gradient vanishes and its curvature is the score of the covariance matrix, so that
Newton's method walks onto the boundary, and off it, at the same quadratic rate as anywhere else.
A point is certified when the Newton decrement is spent, no free direction curves down, and the
score of every term is positive semidefinite where its covariance matrix is null (the
Karush-Kuhn-Tucker conditions on the cone of covariance matrices).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.covariance import TermLayout
from pymackay.results import Convergence
from pymackay.solve.pls import Evaluation, Solver
from pymackay.solve.start import noise_level

__all__ = ["Control", "Optimum", "in_theta", "optimise", "trust_region_step"]


@dataclass(frozen=True)
class Control:
    """When the optimiser stops, in units of the criterion.

    Attributes
    ----------
    max_iterations : int
    spent : float
        Newton decrement under which nothing is left to gain.
    quadratic : float
        Newton decrement under which a further step must shrink it, or rounding has been reached.
    starts : int
        Starts that may be tried when the first answer is on the boundary or not certified.
    """

    max_iterations: int = 100
    spent: float = 1e-14
    quadratic: float = 1e-6
    starts: int = 3


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the optimiser ended.

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
        Relative factors, whitened bases.
    evaluation : Evaluation
    convergence : Convergence
    """

    factors: list[np.ndarray]
    evaluation: Evaluation
    convergence: Convergence


@dataclass(frozen=True, eq=False)
class _Point:
    """A point with the criterion's quadratic model in scaled steps of theta."""

    theta: np.ndarray
    evaluation: Evaluation
    scale: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray

    @property
    def criterion(self) -> float:
        return self.evaluation.criterion


def optimise(solver: Solver, start: list[np.ndarray], control: Control | None = None) -> Optimum:
    """Minimise the solver's criterion from `start`, one relative factor per term."""
    control = control or Control()
    search = _Search(solver, control)
    return search.run(start)


class _Search:
    """One descent: holds the solver and counts what is paid."""

    def __init__(self, solver: Solver, control: Control) -> None:
        self.solver = solver
        self.layouts = solver.gram.layouts
        self.noise = [noise_level(solver.gram, k) for k in range(len(self.layouts))]
        self.control = control
        self.evaluations = 0
        self.iterations = 0

    def run(self, start: list[np.ndarray]) -> Optimum:
        point = self.point(np.concatenate(self.elements(start)))
        point = self.descend(point)
        for _ in range(len(point.theta) + 1):
            escape = self.escape(point)
            if escape is None:
                break
            point = self.descend(escape)
        point = self.snap(point)
        return Optimum(self.factors(point.theta), point.evaluation, self.certificate(point))

    def elements(self, factors: list[np.ndarray]) -> list[np.ndarray]:
        return [
            layout.elements(factor) for layout, factor in zip(self.layouts, factors, strict=True)
        ]

    def factors(self, theta: np.ndarray) -> list[np.ndarray]:
        return [layout.factor(theta) for layout in self.layouts]

    def point(self, theta: np.ndarray) -> _Point:
        self.evaluations += 1
        factors = self.factors(theta)
        evaluation = self.solver.evaluate(factors)
        scale = np.concatenate(
            [
                np.sqrt(np.einsum("ab,ab->a", f, f) + noise)[layout.rows]
                for f, noise, layout in zip(factors, self.noise, self.layouts, strict=True)
            ]
        )
        gradient, curvature = in_theta(evaluation, factors, self.layouts)
        return _Point(
            theta, evaluation, scale, gradient * scale, curvature * np.outer(scale, scale)
        )

    def rounding(self, point: _Point) -> float:
        """Size of the criterion's own rounding error."""
        return 1e-14 * max(abs(point.criterion), self.solver.gram.n)

    def descend(self, point: _Point) -> _Point:
        radius = 1.0
        for _ in range(self.control.max_iterations):
            step, predicted = trust_region_step(point.gradient, point.curvature, radius)
            if predicted <= self.control.spent:
                return point
            trial = self.point(point.theta + point.scale * step)
            self.iterations += 1
            if not np.isfinite(trial.criterion):
                radius = 0.25 * float(np.linalg.norm(step))
                continue
            if predicted < max(self.control.quadratic, 10.0 * self.rounding(point)):
                if _decrement(trial) >= 0.5 * _decrement(point):
                    return min(point, trial, key=_decrement)
                point = trial
                continue
            ratio = (point.criterion - trial.criterion) / predicted
            length = float(np.linalg.norm(step))
            if ratio < 0.25:
                radius = 0.25 * length
            elif ratio > 0.75 and length > 0.8 * radius:
                radius = min(3.0 * radius, 8.0)
            if ratio > 0.05:
                point = trial
        return point

    def escape(self, point: _Point) -> _Point | None:
        """Return a lower point off the boundary, if the score says that there is one."""
        for k, factor in enumerate(self.factors(point.theta)):
            values, vectors = np.linalg.eigh(point.evaluation.score[k])
            if values[0] * self.noise[k] > -1e-7:
                continue
            G = factor @ factor.T
            for size in (1.0, 1e-2, 1e-4):
                grown = G + size * self.noise[k] * np.outer(vectors[:, 0], vectors[:, 0])
                theta = point.theta.copy()
                theta[self.layouts[k].start : self.layouts[k].stop] = self.layouts[k].elements(
                    np.linalg.cholesky(grown + 1e-15 * np.trace(grown) * np.eye(len(grown)))
                )
                trial = self.point(theta)
                if trial.criterion < point.criterion - 10.0 * self.rounding(point):
                    return trial
        return None

    def snap(self, point: _Point) -> _Point:
        """Set columns that are zero but for rounding to zero, if the criterion agrees."""
        factors = self.factors(point.theta)
        for k, factor in enumerate(factors):
            size = np.sqrt(np.einsum("ab,ab->b", factor, factor))
            factor[:, size < 1e-5 * np.sqrt(self.noise[k])] = 0.0
        theta = np.concatenate(self.elements(factors))
        if np.array_equal(theta, point.theta):
            return point
        snapped = self.point(theta)
        if snapped.criterion <= point.criterion + 10.0 * self.rounding(point):
            return snapped
        return point

    def certificate(self, point: _Point) -> Convergence:
        values, vectors = np.linalg.eigh(point.curvature)
        along = vectors.T @ point.gradient
        floor = 1e-10 * max(float(np.abs(values).max()), 1.0)
        decrement = _decrement(point)
        curvature = float(values[0])
        boundary = min(
            float(np.linalg.eigvalsh(score)[0]) * noise
            for score, noise in zip(point.evaluation.score, self.noise, strict=True)
        )
        gradient = float(np.abs(along / np.sqrt(np.maximum(np.abs(values), floor))).max())
        problems = []
        if not decrement < 1e-8:
            problems.append(f"the Newton decrement is {decrement:.2g} criterion units")
        if curvature < -1e-6 * max(float(np.abs(values).max()), 1.0):
            problems.append(f"a direction curves down (curvature {curvature:.2g})")
        if boundary < -1e-6:
            problems.append(f"a covariance matrix on the boundary wants to grow ({boundary:.2g})")
        message = "; ".join(problems) or "optimum certified: gradient, curvature and boundary"
        return Convergence(
            converged=not problems,
            message=message,
            iterations=self.iterations,
            evaluations=self.evaluations,
            decrement=decrement,
            gradient=gradient,
            curvature=curvature,
        )


def _decrement(point: _Point) -> float:
    """By how much the quadratic model says the criterion could still fall."""
    values, vectors = np.linalg.eigh(point.curvature)
    along = vectors.T @ point.gradient
    floor = 1e-10 * max(float(np.abs(values).max()), 1.0)
    return float(0.5 * np.sum(along**2 / np.maximum(np.abs(values), floor)))


def in_theta(
    evaluation: Evaluation, factors: list[np.ndarray], layouts: tuple[TermLayout, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Carry score and curvature from G to theta by the chain rule."""
    m = layouts[-1].stop
    gradient = np.empty(m)
    jacobian = np.zeros((m, m))
    bending = np.zeros((m, m))
    for score, factor, layout in zip(evaluation.score, factors, layouts, strict=True):
        span = slice(layout.start, layout.stop)
        rows, columns = layout.rows, layout.columns
        gradient[span] = 2.0 * (score @ factor)[rows, columns]
        # G_rc = sum_b L_rb L_cb: the derivative by L_ab is [r = a] L_cb + [c = a] L_rb
        same_row = rows[:, None] == rows[None, :]
        same_column = columns[:, None] == rows[None, :]
        jacobian[span, span] = (
            same_row * factor[columns[:, None], columns[None, :]]
            + same_column * factor[rows[:, None], columns[None, :]]
        )
        same = columns[:, None] == columns[None, :]
        bending[span, span] = 2.0 * same * score[rows[:, None], rows[None, :]]
    return gradient, jacobian.T @ evaluation.curvature @ jacobian + bending


def trust_region_step(
    gradient: np.ndarray, curvature: np.ndarray, radius: float
) -> tuple[np.ndarray, float]:
    """Minimise the quadratic model in a ball (Moré & Sorensen 1983, SIAM J. Sci. Stat. Comput. 4).

    Returns
    -------
    step : numpy.ndarray, shape (m,)
    predicted : float
        Decrease of the model, positive.
    """
    values, vectors = np.linalg.eigh(curvature)
    along = vectors.T @ gradient
    floor = 1e-12 * max(float(np.abs(values).max()), 1.0)
    step = np.where(np.abs(values) > floor, -along / np.where(values == 0, 1.0, values), 0.0)
    if values[0] < -floor or np.linalg.norm(step) > radius:
        step = _on_sphere(values, along, radius, floor)
    predicted = -float(along @ step + 0.5 * values @ step**2)
    return vectors @ step, predicted


def _on_sphere(values: np.ndarray, along: np.ndarray, radius: float, floor: float) -> np.ndarray:
    """Solve ``(values + shift) step = -along`` with a shift that puts the step on the sphere."""
    low = max(0.0, -float(values[0]))
    tiny = floor + 1e-12 * low
    step = -along / (values + low + tiny)
    if np.linalg.norm(step) < radius:  # hard case: no slope along the direction that curves down
        step[0] = np.copysign(
            np.sqrt(max(radius**2 - float(step[1:] @ step[1:]), 0.0)), -along[0] or 1.0
        )
        return step
    high = low + float(np.linalg.norm(along)) / radius + tiny
    for _ in range(100):
        shift = 0.5 * (low + high)
        step = -along / (values + shift + tiny)
        length = float(np.linalg.norm(step))
        if abs(length - radius) < 1e-3 * radius:
            break
        low, high = (shift, high) if length > radius else (low, shift)
    return step
