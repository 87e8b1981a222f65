"""`Iterative` evaluates crossed factors too large for a dense Schur complement; `Search` finds the
optimum by trust-region Newton steps with the average information, without the criterion.

The log determinant is expensive and has a Monte-Carlo error, so it is not computed during the
search. The change of the criterion in a step is computed from the scores at both ends by the
trapezoid rule, whose error is of third order. If the average information predicts this change
badly, the trust region shrinks.
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
from pymackay.solve.search.points import Points
from pymackay.solve.search.start import noise_level
from pymackay.solve.search.trust_region import Ground, descend
from pymackay.solve.search.values import Values
from pymackay.solve.solver import (
    Elements,
    ErrorVariance,
    Evaluation,
    by_term,
    criterion_value,
)

_NEAR = 1.0  # predicted change of the criterion below which a point is evaluated to all digits
_QUADRATIC = 1e-4  # predicted change below which the trapezoid rule has too few digits
_MEAN_TOLERANCE = 1e-8  # relative residual, float64: beta and b to seven digits
_WORKING_TOLERANCE = 1e-6  # for the average information: it affects steps and error bars only
_LOOSE = 100.0  # factor of the tolerances far from the optimum (for probes: its root)
_SLOW = 12  # iterations for the probes above which a coarse space is worth its cost
_PROBE_TOLERANCE = 1e-5  # relative residual, float32: a hundredth of the spread over the probes


@dataclass(frozen=True, eq=False)
class Estimate:
    """An evaluation with estimated traces.

    Attributes
    ----------
    evaluation : Evaluation
        The criterion is nan here.
    spread : numpy.ndarray, shape (N, m)
        Score of the elements of G in theta's order, or of the chart of a structure, probe by
        probe.
    equations : Equations
    means : Means
    iterations : tuple of int
        Conjugate gradient iterations for the means and for the probes.
    loose : bool
        Whether the solves have three digits only.
    """

    evaluation: Evaluation
    spread: np.ndarray
    equations: Equations
    means: Means
    iterations: tuple[int, int]
    loose: bool = False


class Iterative:
    """Solve models with two or more grouping factors without large dense matrices.

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
        self._constant = None if sums.structured else Elements.of(sums)
        self.probes = self._draw(self.control.probes)
        self._starts: dict[str, np.ndarray | None] = {}
        self._coarse: CoarseSpace | None = None
        self._variances: tuple[np.ndarray, ErrorVariance] | None = None

    @property
    def bases(self) -> SparseGram:
        """Of the cross-products."""
        return self.sums

    def add_probes(self, count: int) -> None:
        """Use `count` probes from now on, the present ones among them."""
        drawn = self._draw(count)
        if len(drawn.units) != len(self.probes.units):
            self._starts["probes"] = None  # these solutions belong to other columns
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

        Exact if few effects are not eliminated; otherwise estimated with as many probes as the fit
        used, at least 64. The part due to beta is exact.
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
        """Return condvar; the last result is stored, as condvar, pev and their errors need it."""
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
            Whether three digits are enough, as far from the optimum.
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
        elements = self._elements(factors)
        curvature = self._curvature(equations, means, elements, projected, sigma2, nu)
        self._starts |= {"means": means.u, "probes": traces.x}
        fixed = self._fixed_share(means)
        mean_traces = [s.mean(axis=0) - t for s, t in zip(traces.samples, fixed, strict=True)]
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
            elements.along(traces.samples),
            equations,
            means,
            (means.iterations, traces.iterations),
            loose,
        )

    def _elements(self, factors: list[np.ndarray]) -> Elements:
        """Return what the parameters are: elements of G, of a structure those of its chart."""
        return Elements.of(self.sums, factors) if self._constant is None else self._constant

    def _equations(self, factors: list[np.ndarray]) -> Equations:
        coarse = None if self._coarse is None else self._coarse.apply
        return Equations(self.sums, self.couplings, factors, coarse)

    def _fixed_share(self, means: Means) -> list[np.ndarray]:
        """Return ``Σ_j Z_j'V⁻¹Q (Q'V⁻¹Q)⁻¹ Q'V⁻¹Z_j`` of each block, (q, q), which REML subtracts.

        Zeros for maximum likelihood.
        """
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
        elements: Elements,
        projected: list[np.ndarray],
        sigma2: float,
        nu: int,
    ) -> np.ndarray:
        """Return the average information, (m, m), by the parameters of all terms, in their order.

        `projected` has a = Z'Py of each block, (J, q).
        """
        products, self._starts["working"] = quadratic_products(
            equations,
            means,
            elements.working(projected),
            self._starts.get("working"),
            _WORKING_TOLERANCE,
            self.control.max_solver_iterations,
        )
        in_theta = elements.in_theta(products)
        return elements.average_information(in_theta, projected, sigma2, nu)


class Point(Points):
    """One point (a batch of one); its criterion is not computed and set to zero."""

    @property
    def estimate(self) -> Estimate:
        """The solver's estimate at the point."""
        estimate: Estimate = self.answers[0][0]
        return estimate

    @property
    def decrement(self) -> float:
        """Decrease of the criterion that the quadratic model predicts."""
        return float(self.model.decrement[0])


class Search(Ground[Point]):
    """One search: the solver, and the numbers of steps and evaluations.

    Parameters
    ----------
    solver : Iterative
    checkpoint : Checkpoint
        File to which every accepted point is written.

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
        """Evaluate at relative factors, (1, q, q) each; `loose`: to three digits only."""
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
        """Take Newton steps until the decrement is below the limit, or no step reduces it."""
        control = self.solver.control
        while True:
            limit = Control(control.max_iterations - self.steps, control.spent, 0.0, _QUADRATIC)
            point, arrived = descend(self, point, limit)
            self._save(point)
            if not (arrived[0] and point.estimate.loose):
                return point
            point = self.point(point.factors)

    def after(self, point: Point, steps: np.ndarray, predicted: np.ndarray) -> Point:
        """Return the point after a scaled step, (1, m), and save the point before it."""
        if self.steps:
            self._save(point)
        self.steps += 1
        return self.point(point.after(steps), loose=bool(predicted[0] > _NEAR))

    def gain(self, before: Point, after: Point) -> np.ndarray:
        """Return the decrease of the criterion, (1,), by the trapezoid rule.

        Along ``Λ(t) = Λ₀ + t (Λ₁ − Λ₀)`` the derivative of the criterion is
        ``2 tr(score(t) Λ(t) (Λ₁ − Λ₀)')``.
        """
        change = np.zeros(1)
        for k, (L0, L1) in enumerate(zip(before.factors, after.factors, strict=True)):
            for point, L in ((before, L0), (after, L1)):
                change += np.einsum("nab,nbc,nac->n", point.score[k], L, L1 - L0)
        return -change

    def _save(self, point: Point) -> None:
        self.checkpoint.save([factor[0] for factor in point.factors], self.solver.probes.count)
