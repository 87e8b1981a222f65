"""`Iterative` evaluates crossed factors too large for a dense Schur complement; `Search` finds the
optimum by trust-region Newton steps with the average information, without the criterion.

The log determinant is expensive and known with a Monte-Carlo error only, so no step computes it. By
how much a step lowered the criterion follows from the scores at both ends (the trapezoid rule along
the step, of third order); where the average information misleads, the radius shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pymackay.model.sums.sparse_gram import SparseGram
from pymackay.solve.iterative.checkpoint import Checkpoint
from pymackay.solve.iterative.coarse import CoarseSpace
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.equations import Couplings, Equations
from pymackay.solve.iterative.logdet import estimate_logdet
from pymackay.solve.iterative.means import Means, quadratic_products, solve_means
from pymackay.solve.iterative.probes import Probes, draw_probes, draw_signs
from pymackay.solve.iterative.traces import estimate_traces
from pymackay.solve.iterative.variances import conditional_variances
from pymackay.solve.search.limits import Control
from pymackay.solve.search.points import Points, Values
from pymackay.solve.search.start import noise_level
from pymackay.solve.search.trust_region import Ground, descend
from pymackay.solve.solver import (
    Elements,
    ErrorVariance,
    Evaluation,
    by_term,
    criterion_value,
)

_NEAR = 1.0  # what a step is to gain, criterion units, under which its end is worth all digits
_QUADRATIC = 1e-4  # the same, under which the decrement judges: the scores' rule has no more digits
_MEAN_TOLERANCE = 1e-8  # of the residual, in float64: beta and b to seven digits
_WORKING_TOLERANCE = 1e-6  # the average information steers the search, and scales error bars
_LOOSE = 100.0  # what tolerances are multiplied by far from the optimum (probes: its root)
_SLOW = 12  # iterations for the probes above which a coarse space pays for itself
_PROBE_TOLERANCE = 1e-5  # in float32; what is left is a hundredth of a probe's own spread


@dataclass(frozen=True, eq=False)
class Estimate:
    """An evaluation, and how well its traces are known.

    Attributes
    ----------
    evaluation : Evaluation
        The criterion is nan here.
    spread : numpy.ndarray, shape (N, m)
        Score of the elements of G, in theta's order, probe by probe.
    equations : Equations
    means : Means
    iterations : tuple of int
        Conjugate gradient iterations for the means and for the probes.
    loose : bool
        Whether solves were stopped at three digits.
    """

    evaluation: Evaluation
    spread: np.ndarray
    equations: Equations
    means: Means
    iterations: tuple[int, int]
    loose: bool = False


class Iterative:
    """Solve models with two or more grouping factors without forming what is dense.

    Parameters
    ----------
    sums : SparseGram
    reml : bool
    control : IterativeControl, optional
    """

    precision = 1e-6

    def __init__(
        self, sums: SparseGram, reml: bool, control: IterativeControl | None = None
    ) -> None:
        self.sums = sums
        self.reml = reml
        self.control = control or IterativeControl()
        self.couplings = Couplings(sums)
        self._elements = Elements.of(sums)
        self.probes = self._draw(self.control.probes)
        self._starts: dict[str, np.ndarray | None] = {}
        self._coarse: CoarseSpace | None = None
        self._variances: tuple[np.ndarray, ErrorVariance] | None = None

    @property
    def bases(self) -> SparseGram:
        """Of the cross-products."""
        return self.sums

    def add_probes(self, count: int) -> None:
        """Go on with `count` probes; those there are stay the same."""
        drawn = self._draw(count)
        if len(drawn.units) != len(self.probes.units):
            self._starts["probes"] = None  # other columns stand where these solutions stood
        self.probes = drawn

    def _draw(self, count: int) -> Probes:
        return draw_probes(self.couplings.slices, count, self.control.seed)

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate everything, the criterion included, at these relative factors."""
        estimate = self.estimate(factors)
        value, _ = self.criterion(estimate)
        return replace(estimate.evaluation, criterion=value)

    def criterion(self, estimate: Estimate) -> tuple[float, float]:
        """Return the criterion at an estimate, and its Monte-Carlo standard error."""
        count = self.control.criterion_probes
        if count == 0:
            return float("nan"), float("nan")
        probes = draw_signs(self.couplings.size, count, self.control.seed)
        logdet = estimate_logdet(estimate.equations, probes)
        value = criterion_value(
            self.sums,
            reml=self.reml,
            logdet_v=estimate.equations.logdet_lead + logdet.value,
            logdet_x=estimate.means.logdet_x,
            r2=estimate.means.r2,
        )
        return value, logdet.error

    def error_variance(self, factors: list[np.ndarray], *, with_beta: bool) -> ErrorVariance:
        """Return Var(b̂ − b) / sigma²; `with_beta`: pev, else condvar.

        Exact where the effects that are not eliminated are few; else estimated with as many
        probes as the fit took, 64 at least. What beta adds is exact.
        """
        equations = self._equations(factors)
        conditional = self._conditional(equations)
        p = self.sums.p
        if not with_beta or not p:
            return conditional
        means = solve_means(equations, None, _MEAN_TOLERANCE, self.control.max_solver_iterations)
        values = []
        for k, block in enumerate(self.sums.blocks):
            columns = means.columns[k][:, :p].reshape(-1, block.q, p)
            weighted = columns @ means.precision_inverse
            values.append(conditional.values[k] + weighted @ columns.swapaxes(1, 2))
        return replace(conditional, values=tuple(values))

    def _conditional(self, equations: Equations) -> ErrorVariance:
        """Return condvar; kept, since condvar, pev and their errors ask for the same."""
        key = np.concatenate([[self.probes.count], *(f.ravel() for f in equations.factors)])
        if self._variances is None or not np.allclose(self._variances[0], key, 1e-12, 0.0):
            transforms = [
                self.sums.joined(block, self.sums.transforms) for block in self.sums.blocks
            ]
            variances = conditional_variances(equations, self.probes, self.control, transforms)
            self._variances = key, variances
        return self._variances[1]

    def estimate(self, factors: list[np.ndarray], *, loose: bool = False) -> Estimate:
        """Evaluate all but the criterion at these relative factors, one per term.

        Parameters
        ----------
        factors : list of numpy.ndarray, each (q, q)
        loose : bool
            Whether three digits will do, far from the optimum.
        """
        most = self.control.max_solver_iterations
        slack = _LOOSE if loose else 1.0
        equations = self._equations(factors)
        means = solve_means(equations, self._starts.get("means"), slack * _MEAN_TOLERANCE, most)
        traces = estimate_traces(
            equations,
            self.probes,
            self._starts.get("probes"),
            np.sqrt(slack) * _PROBE_TOLERANCE,
            most,
        )
        if self._coarse is None and traces.iterations > _SLOW:
            coupled = [(block.n_levels, block.q) for block in self.sums.blocks[1:]]
            self._coarse = CoarseSpace(
                coupled, equations.schur, equations.jacobi, self.control.seed
            )
        nu = self.sums.n - self.sums.p if self.reml else self.sums.n
        sigma2 = means.r2 / nu
        blocks = self.sums.blocks
        projected = [means.projected(k, block.q) for k, block in enumerate(blocks)]
        curvature = self._curvature(equations, means, projected, sigma2, nu)
        self._starts |= {"means": means.u, "probes": traces.x}
        taken = self._fixed_share(means)
        mean_traces = [s.mean(axis=0) - t for s, t in zip(traces.samples, taken, strict=True)]
        evaluation = Evaluation(
            criterion=float("nan"),
            sigma2=sigma2,
            beta=means.beta,
            precision_inverse=means.precision_inverse,
            b=tuple(means.effects(k, block.q) for k, block in enumerate(blocks)),
            traces=by_term(self.sums, mean_traces),
            squares=by_term(self.sums, [a.T @ a for a in projected]),
            curvature=curvature,
            exact=False,
        )
        return Estimate(
            evaluation,
            self._elements.along(traces.samples),
            equations,
            means,
            (means.iterations, traces.iterations),
            loose,
        )

    def _equations(self, factors: list[np.ndarray]) -> Equations:
        coarse = None if self._coarse is None else self._coarse.apply
        return Equations(self.sums, self.couplings, factors, coarse)

    def _fixed_share(self, means: Means) -> list[np.ndarray]:
        """Return what REML takes off each block's trace: beta's part, exact."""
        shares = []
        for k, block in enumerate(self.sums.blocks):
            if not self.reml or self.sums.p == 0:
                shares.append(np.zeros((block.q, block.q)))
                continue
            images = means.images[k][:, : self.sums.p].reshape(-1, block.q, self.sums.p)
            weighted = images @ means.precision_inverse
            shares.append(np.einsum("jap,jbp->ab", weighted, images, optimize=True))
        return shares

    def _curvature(
        self,
        equations: Equations,
        means: Means,
        projected: list[np.ndarray],
        sigma2: float,
        nu: int,
    ) -> np.ndarray:
        """Return the average information."""
        products, self._starts["working"] = quadratic_products(
            equations,
            means,
            self._elements.working(projected),
            self._starts.get("working"),
            _WORKING_TOLERANCE,
            self.control.max_solver_iterations,
        )
        in_theta = self._elements.in_theta(products)
        return self._elements.average_information(in_theta, projected, sigma2, nu)


class Point(Points):
    """One point (a batch of one); its criterion is not computed, and is set to zero."""

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
        self.layouts = solver.bases.layouts
        self.noise = tuple(noise_level(solver.bases, k) for k in range(len(self.layouts)))
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
