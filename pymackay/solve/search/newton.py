"""The optimiser: trust-region Newton on the relative factors, with exact treatment of singularity.

The criterion is a smooth function of the lower-triangular factors, also where a column is zero:
there its gradient vanishes and its curvature is the score of the covariance matrix, so that
Newton's method walks onto the boundary, and off it, at the same quadratic rate as anywhere else.
Every step is taken in the principal axes of the covariance matrices it starts from.
A point is certified when the Newton decrement is spent, no free direction curves down, and the
score of every term is positive semidefinite where its covariance matrix is null (the
Karush-Kuhn-Tucker conditions on the cone of covariance matrices).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymackay.covariance.layout import is_singular
from pymackay.results import Convergence
from pymackay.solve.search.axes import Axes, in_axes
from pymackay.solve.search.further_starts import further_starts
from pymackay.solve.search.start import moment_start, noise_level
from pymackay.solve.search.trust_region import Quadratic
from pymackay.solve.solver import Evaluation, Optimum, Solver

__all__ = [
    "Control",
    "find_optimum",
    "optimise",
]

_LITTLE = 1e-12  # residual variance, response at unit length: four digits of r² are left
_SHRINKS = 6  # times that a start is made ten times smaller before it is given up


@dataclass(frozen=True)
class Control:
    """When the optimiser stops, in units of the criterion.

    Attributes
    ----------
    max_iterations : int
    spent : float
        Newton decrement under which nothing is left to gain. Far below the criterion's rounding,
        because the gradient is known much better: an error of 1e-9 standard errors remains.
    spent_average : float
        The same where only the average information is affordable: its steps gain three digits each.
    quadratic : float
        Newton decrement under which a further step must shrink it, or rounding has been reached.
    """

    max_iterations: int = 100
    spent: float = 1e-18
    spent_average: float = 1e-17
    quadratic: float = 1e-6


@dataclass(frozen=True, eq=False)
class _Point:
    """A point with the criterion's quadratic model in scaled steps along its principal axes."""

    factors: list[np.ndarray]
    axes: list[Axes]
    evaluation: Evaluation
    scale: np.ndarray
    model: Quadratic

    @property
    def criterion(self) -> float:
        return self.evaluation.criterion

    def after(self, step: np.ndarray) -> list[np.ndarray]:
        """Return the factors that a scaled step leads to."""
        moved = self.scale * step
        return [axes.factor(axes.root + axes.layout.factor(moved)) for axes in self.axes]


def optimise(solver: Solver, start: list[np.ndarray], control: Control | None = None) -> Optimum:
    """Minimise the solver's criterion from `start`, one relative factor per term."""
    control = control or Control()
    search = _Search(solver, control)
    return search.run(start)


def find_optimum(solver: Solver, control: Control | None = None) -> Optimum:
    """Minimise from a start that the data give; look further where one start may not do.

    A singular answer, one that is not certified or one that is worse than no random effects can
    be a local optimum: further starts are tried, and the lowest criterion is kept.
    """
    control = control or Control()
    gram = solver.bases
    best = first = optimise(solver, moment_start(gram, reml=solver.reml), control)
    evaluations = first.convergence.evaluations
    sure = first.convergence.converged and not is_singular(first.factors)
    criterion = first.evaluation.criterion
    for start in further_starts(gram, solver.reml, first.factors, criterion, sure=sure):
        if best is not first and best.convergence.converged and not is_singular(best.factors):
            break
        other = optimise(solver, start, control)
        evaluations += other.convergence.evaluations
        best = _better(best, other, 10.0 * _rounding(gram.n, best.evaluation))
    return replace(best, convergence=replace(best.convergence, evaluations=evaluations))


def _rounding(n: int, evaluation: Evaluation) -> float:
    """Size of the criterion's own rounding error.

    The residual sum of squares is what is left of the response's, which has length one.
    """
    left_over = max(evaluation.sigma2, np.finfo(np.float64).tiny)
    return 1e-14 * max(abs(evaluation.criterion), n, 0.1 / left_over)


def _better(first: Optimum, second: Optimum, rounding: float) -> Optimum:
    """Return the lower one; where they are level, a certified one, or the first."""
    gain = first.evaluation.criterion - second.evaluation.criterion
    if abs(gain) > rounding:
        return second if gain > 0.0 else first
    return second if second.convergence.converged > first.convergence.converged else first


class _Search:
    """One descent: holds the solver and counts what is paid."""

    def __init__(self, solver: Solver, control: Control) -> None:
        self.solver = solver
        self.layouts = solver.bases.layouts
        self.noise = [noise_level(solver.bases, k) for k in range(len(self.layouts))]
        self.control = control
        self.evaluations = 0
        self.iterations = 0

    def run(self, start: list[np.ndarray]) -> Optimum:
        point = self.descend(self.begin(start))
        for _ in range(len(point.scale) + 1):
            escape = self.escape(point)
            if escape is None:
                break
            point = self.descend(escape)
        point = self.snap(point)
        return Optimum(point.factors, point.evaluation, self.certificate(point))

    def point(self, factors: list[np.ndarray]) -> _Point:
        self.evaluations += 1
        evaluation = self.solver.evaluate(factors)
        axes = [Axes.of(f, layout) for f, layout in zip(factors, self.layouts, strict=True)]
        scale = np.concatenate(
            [
                np.sqrt(a.sizes**2 + noise)[a.layout.rows]
                for a, noise in zip(axes, self.noise, strict=True)
            ]
        )
        gradient, curvature = in_axes(evaluation, axes)
        curvature *= np.outer(scale, scale)
        model = Quadratic.of(gradient * scale, curvature)
        return _Point(factors, axes, evaluation, scale, model)

    def attempt(self, factors: list[np.ndarray]) -> _Point | None:
        """Return the point, or None where it is too far out for float64."""
        try:
            point = self.point(factors)
        except np.linalg.LinAlgError:
            return None
        return point if np.isfinite(point.criterion) else None

    def begin(self, start: list[np.ndarray]) -> _Point:
        """Return the point at `start`, or nearer to zero where float64 has digits."""
        for shrunken in range(_SHRINKS):
            point = self.attempt([0.1**shrunken * factor for factor in start])
            if point is not None:
                return point
        return self.point([np.zeros_like(factor) for factor in start])

    def rounding(self, point: _Point) -> float:
        """Size of the criterion's own rounding error."""
        return _rounding(self.solver.bases.n, point.evaluation)

    def spent(self, point: _Point) -> float:
        exact = point.evaluation.exact
        return self.control.spent if exact else self.control.spent_average

    def descend(self, point: _Point) -> _Point:
        radius = 1.0
        for _ in range(self.control.max_iterations):
            step, predicted = point.model.step(radius)
            if predicted <= self.spent(point):
                return point
            trial = self.attempt(point.after(step))
            self.iterations += 1
            if trial is None:
                radius = 0.25 * float(np.linalg.norm(step))
                continue
            if predicted < max(self.control.quadratic, 10.0 * self.rounding(point)):
                if trial.model.decrement < 0.5 * point.model.decrement:
                    point = trial
                    continue
                if predicted < 100.0 * self.rounding(point):
                    return min(point, trial, key=lambda p: p.model.decrement)
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
        for k, factor in enumerate(point.factors):
            values, vectors = np.linalg.eigh(point.evaluation.score[k])
            if values[0] * self.noise[k] > -1e-7:
                continue
            G = factor @ factor.T
            for size in (1.0, 1e-2, 1e-4):
                grown = G + size * self.noise[k] * np.outer(vectors[:, 0], vectors[:, 0])
                factors = list(point.factors)
                factors[k] = np.linalg.cholesky(
                    grown + 1e-15 * np.trace(grown) * np.eye(len(grown))
                )
                trial = self.attempt(factors)
                if trial is not None and trial.criterion < point.criterion - 10.0 * self.rounding(
                    point
                ):
                    return trial
        return None

    def snap(self, point: _Point) -> _Point:
        """Set what is zero but for rounding along its axis to zero, if the criterion agrees."""
        factors = list(point.factors)
        for k, (axes, noise) in enumerate(zip(point.axes, self.noise, strict=True)):
            dead = axes.sizes < 1e-5 * np.sqrt(noise)
            if (dead & (axes.sizes > 0.0)).any():
                factors[k] = axes.factor(np.diag(np.where(dead, 0.0, axes.sizes)))
        if all(new is old for new, old in zip(factors, point.factors, strict=True)):
            return point
        snapped = self.point(factors)
        if snapped.criterion <= point.criterion + 10.0 * self.rounding(point):
            return snapped
        return point

    def certificate(self, point: _Point) -> Convergence:
        model = point.model
        decrement, curvature = model.decrement, float(model.values[0])
        boundary = min(
            float(np.linalg.eigvalsh(score)[0]) * noise
            for score, noise in zip(point.evaluation.score, self.noise, strict=True)
        )
        problems = []
        if not decrement < 1e-8:
            problems.append(f"the Newton decrement is {decrement:.2g} criterion units")
        if curvature < -1e-6 * model.size:
            problems.append(f"a direction curves down (curvature {curvature:.2g})")
        if boundary < -1e-6:
            problems.append(f"a covariance matrix on the boundary wants to grow ({boundary:.2g})")
        if problems and point.evaluation.sigma2 < _LITTLE:
            share = np.sqrt(point.evaluation.sigma2 * self.solver.bases.n)
            problems.append(
                f"hardly anything is left over, {share:.1g} of what the fixed effects leave, and "
                f"float64 keeps few digits of that"
            )
        message = "; ".join(problems) or "optimum certified: gradient, curvature and boundary"
        return Convergence(
            converged=not problems,
            message=message,
            iterations=self.iterations,
            evaluations=self.evaluations,
            decrement=decrement,
            gradient=float(model.steepness.max()),
            curvature=curvature,
        )
