"""`IterativeSolver`: the search for the optimum with estimated traces, and its Monte-Carlo error.

The Monte-Carlo error of each variance is computed from the spread of the score over the probes, by
a linear map with the average information. Compared with the exact solver
(``python -m benchmarks.crossed --calibration``), this map has two or more correct digits, and the
errors agree within 10 % for effects that are well determined (up to a factor of 1.5 for a slope
whose variance is nearly zero). Errors from N probes are themselves accurate to 1/√(2N) only, so
that deviations follow Student's distribution with N − 1 degrees of freedom, provided that no
single direction has most of a probe's variance: `pymackay.solve.iterative.traces` treats such
directions separately.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.model.sums.sparse_gram import SparseGram, sparse_cross_products
from pymackay.results import Convergence
from pymackay.solve.exact.solver import Exact
from pymackay.solve.iterative.checkpoint import open_checkpoint
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.ridge import flat_directions
from pymackay.solve.iterative.solver import Iterative, Point, Search
from pymackay.solve.iterative.variances import EXACT_SIZE, LEAST_PROBES
from pymackay.solve.search import limits
from pymackay.solve.search.points import Certificates
from pymackay.solve.search.ridge import describe_ridge, named_once
from pymackay.solve.search.start import moment_start, noise_level, start_inside
from pymackay.solve.solver import Optimum

_LIFT = 1e-4  # of the noise level, added to variances at the start so that none is zero
_DEAD = 1e-2  # sd along an axis, in noise levels, below which zero is tried
_ZERO = 1e-6  # sd along an axis, in noise levels, which is zero but for rounding
_CERTIFIED = 1e-5  # Newton decrement, criterion units, far below the noise of any probe
_GROWTH = 1e-2  # slope at a zero variance, criterion per noise level, due to the probes' noise
_RIDGE_CURVED = 1e-2  # of the largest curvature: what the probes' noise makes of a flat direction
_NO_VARIANCE = 1e-8  # relative variance, in noise levels, that counts as zero


class IterativeSolver(Iterative):
    """The solver for two or more grouping factors with iterative solves and probe vectors.

    Parameters
    ----------
    sums : SparseGram
    reml : bool
    control : IterativeControl, optional

    Raises
    ------
    ArgumentError
        If there is only one grouping factor: the exact solver then needs no large dense matrix.
    """

    def __init__(
        self, sums: SparseGram, reml: bool, control: IterativeControl | None = None
    ) -> None:
        if len(sums.blocks) < 2:
            raise ArgumentError(
                f"solver='iterative' is for two or more grouping factors, but the model has only "
                f"'{sums.blocks[0].name}'; use solver='exact', which then needs no dense matrix."
            )
        super().__init__(sums, reml, control)

    def find_optimum(
        self,
        start: list[np.ndarray] | None = None,
        control: Any = None,
        *,
        start_only: bool = False,
    ) -> Optimum:
        """Minimise the criterion (see `Solver`); probes are added until the error is small.

        `start_only` has no effect, because there is one search only. `control` replaces the
        solver's own.
        """
        if control is not None and control is not self.control:
            self._take(control)
        checkpoint = open_checkpoint(
            self.control.checkpoint, self.sums.model.formula, self.sums, reml=self.reml
        )
        search = Search(self, checkpoint)
        saved = checkpoint.load()
        if saved is None:
            factors = _start(self.sums, start)
        else:
            factors, count = saved
            self.add_probes(max(count, self.probes.count))
        point = search.descend(search.point([f[None] for f in factors], loose=saved is None))
        point, accuracy = _sharpened(search, _snapped(search, point))
        criterion, error = self.criterion(point.estimate)
        checkpoint.remove()
        left_out = {"criterion": "criterion_probes is 0, so that no log determinant was estimated"}
        factors = [factor[0] for factor in point.snapped(_ZERO)[0]]
        ridge = self._ridge(factors)
        return Optimum(
            factors,
            replace(point.estimate.evaluation, criterion=criterion),
            _convergence(search, point, accuracy, error, ridge),
            (*_notes(self, accuracy, error), *named_once(self.sums.model, ridge)),
            {} if self.control.criterion_probes else left_out,
        )

    def _ridge(self, factors: list[np.ndarray]) -> str:
        """Say which variances the data do not determine; empty if there are none.

        Parameters of structures are not examined.
        """
        if self.sums.structured:
            return ""
        directions = flat_directions(self.sums, reml=self.reml)
        flat_everywhere = [np.zeros_like(factor) for factor in factors]
        return describe_ridge(self.sums, factors, directions, flat_everywhere, lambda _: False)

    def with_response(self, response: np.ndarray) -> IterativeSolver:
        """Return the solver of the same design with another response (see `Solver`)."""
        return IterativeSolver(self.sums.with_response(response), self.reml, self.control)

    def reweighted(self, weights: np.ndarray, working_response: np.ndarray) -> IterativeSolver:
        """Return the solver with other prior weights and another response (see `Solver`)."""
        model = self.sums.model.with_response(working_response, weights)
        return IterativeSolver(sparse_cross_products(model), self.reml, self.control)

    def exact(self, largest: int) -> Exact | None:
        """Return the exact solver of the same equations, unless its matrix is too large."""
        if self.sums.n_others + self.sums.p > largest:
            return None
        return Exact(self.sums.dense_form(), self.reml)

    def recipe(self) -> dict[str, Any]:
        """Return what, besides model and criterion, an equal solver is made from."""
        return {"kind": "iterative", "control": self.control, "probes": self.probes.count}

    def _take(self, control: object) -> None:
        if not isinstance(control, IterativeControl):
            raise ArgumentError(
                f"control is of the kind {type(control).__name__}, but the iterative solver takes "
                f"an IterativeControl; leave it out, or fit with solver='exact'."
            )
        self.control = control
        self.add_probes(control.probes)


def _start(sums: SparseGram, factors: list[np.ndarray] | None) -> list[np.ndarray]:
    """Return the factors to start from, (q, q) each, with variances that are not zero."""
    if factors is None:
        return moment_start(sums)
    made = []
    for k, (factor, layout) in enumerate(zip(factors, sums.layouts, strict=True)):
        noise = noise_level(sums, k)
        lifted = factor @ factor.T + _LIFT * noise * np.eye(len(factor))
        if layout.structure is None:
            made.append(np.linalg.cholesky(lifted))
        else:
            made.append(start_inside(lifted, layout, noise))
    return made


def _snapped(search: Search, point: Point) -> Point:
    """Set variances that are nearly zero to zero, unless the score says that they would grow."""
    factors, changed = point.snapped(_DEAD)
    if not changed[0]:
        return point
    snapped = search.point(factors)
    grows = any(slope[0] < -limits.WANTS_GROWTH for slope, _ in snapped.growth())
    return point if grows else search.descend(snapped)


def _sharpened(search: Search, point: Point) -> tuple[Point, MonteCarlo]:
    """Add probes until the Monte-Carlo error reaches the tolerance, or the limit of probes."""
    solver, control = search.solver, search.solver.control
    accuracy = monte_carlo(solver, point)
    while accuracy.relative > control.tolerance and solver.probes.count < control.max_probes:
        ratio = accuracy.relative / control.tolerance
        count = int(np.ceil(1.3 * ratio**2 * solver.probes.count))
        count = max(count, 2 * solver.probes.count)
        without_units = solver.couplings.size - len(solver.probes.units)
        if 2 * count > without_units:  # unit vectors for all cost little more, and are exact
            count = without_units
        solver.add_probes(min(count, control.max_probes))
        point = search.descend(search.point(point.factors))
        accuracy = monte_carlo(solver, point)
    return point, accuracy


def _convergence(
    search: Search, point: Point, accuracy: MonteCarlo, criterion_error: float, ridge: str
) -> Convergence:
    """Return how the search ended."""
    certificate = Certificates.of(point)
    curved = _RIDGE_CURVED if ridge else limits.CURVED
    problems = certificate.problems(0, decrement=_CERTIFIED, growth=_GROWTH, curved=curved)
    success = f"optimum found; relative Monte-Carlo error {accuracy.relative:.1g} or less"
    success += f"; {ridge}" if ridge else ""
    return Convergence(
        converged=not problems,
        message="; ".join(problems) or success,
        iterations=search.steps,
        evaluations=search.evaluations,
        decrement=point.decrement,
        gradient=float(np.sqrt(2.0 * point.decrement)),
        curvature=float(certificate.curvature[0]),
        monte_carlo_error={**accuracy.errors, "criterion": criterion_error},
        probes=search.solver.probes.count,
        solver_iterations=max(point.estimate.iterations),
    )


def _notes(solver: Iterative, accuracy: MonteCarlo, criterion_error: float) -> tuple[str, ...]:
    """Return messages: which quantities are estimates, and how accurate they are."""
    notes = []
    if not solver.probes.exact:
        notes.append(
            f"variances by {solver.probes.count} probe vectors: Monte-Carlo standard error at "
            f"most {100 * accuracy.relative:.2g} % (fit.convergence.monte_carlo_error)"
        )
    if accuracy.relative > solver.control.tolerance:
        notes.append(
            f"the Monte-Carlo error asked for, {100 * solver.control.tolerance:.2g} %, was not "
            f"reached with max_probes = {solver.control.max_probes}; raise it in IterativeControl"
        )
    if criterion_error > 0.0:
        notes.append(f"criterion by stochastic quadrature: standard error {criterion_error:.2g}")
    if solver.couplings.size > EXACT_SIZE:
        count = max(LEAST_PROBES, solver.probes.count)
        notes.append(
            f"condvar and pev are estimated with {count} probe vectors when asked for; "
            f"fit.condvar_error() has their standard errors"
        )
    return tuple(notes)


@dataclass(frozen=True)
class MonteCarlo:
    """The Monte-Carlo error of the estimated variances, due to the random probes.

    Attributes
    ----------
    errors : dict of str to float
        Standard error of each variance and covariance, in the user's units: ``"user.x"``,
        ``"user.x.(Intercept)"``, ``"Residual"``. The length of the next Newton step is
        added in quadrature; it matters only if the Monte-Carlo error is less than 1e-4 of the
        variance's own standard error.
    relative : float
        Largest Monte-Carlo standard error of a variance, relative to the variance.
    """

    errors: dict[str, float]
    relative: float


def monte_carlo(solver: Iterative, point: Point) -> MonteCarlo:
    """Compute the errors of the variances from the spread of the score over the probes.

    At the estimate the score is zero. To first order, a change of the score by d changes the
    parameters by −curvature⁻¹ d. Directions on the boundary do not move.
    """
    bases = solver.bases
    moves = np.zeros((1, bases.n_theta))
    if not solver.probes.exact:
        moves = _moves(point)
    evaluation = point.estimate.evaluation
    sigma2 = evaluation.sigma2
    nu = bases.n - bases.p if solver.reml else bases.n
    pairs = zip(bases.layouts, point.factors, strict=True)
    tangents = [layout.tangents(factor[0]) for layout, factor in pairs]
    along = zip(tangents, evaluation.squares, strict=True)
    slope = np.concatenate([np.einsum("kab,ab->k", T, aa) for T, aa in along])
    noise_moves = -(moves @ slope) / nu
    unit = bases.y_scale**2
    errors: dict[str, float] = {}
    relative = [_spread(noise_moves) / sigma2]
    for k, (term, layout) in enumerate(zip(bases.model.terms, bases.layouts, strict=True)):
        U, factor = bases.transforms[k], point.factors[k][0]
        G = factor @ factor.T
        dG = np.tensordot(moves[:, layout.start : layout.stop], tangents[k], axes=1)
        d_covariance = U @ (sigma2 * dG + noise_moves[:, None, None] * G) @ U.T
        covariance = sigma2 * U @ G @ U.T
        columns, rows = np.triu_indices(layout.q)
        for i, j in zip(rows, columns, strict=True):
            name = ".".join([term.name, *dict.fromkeys((term.effects[i], term.effects[j]))])
            errors[name] = _error(d_covariance[:, i, j]) * unit
            if i == j and G[i, i] > _NO_VARIANCE / bases.n:
                relative.append(_spread(d_covariance[:, i, i]) / covariance[i, i])
    errors["Residual"] = _error(noise_moves) * unit
    return MonteCarlo(errors, max(relative))


def _spread(moves: np.ndarray) -> float:
    """Return the standard error of the mean over the probes, which are all rows but the last."""
    probes = moves[:-1]
    return float(np.std(probes, ddof=1) / np.sqrt(len(probes))) if len(probes) > 1 else 0.0


def _error(moves: np.ndarray) -> float:
    """Return the root of the summed squares of standard error and last step."""
    return float(np.hypot(_spread(moves), moves[-1]))


def _moves(point: Point) -> np.ndarray:
    """Return how far each probe alone would move the parameters, and the next Newton step.

    These are the elements of G, or the chart of a structure. Shape (N + 1, m). Row i is
    ``−J curvature⁻¹ J'd_i``, with the deviation d_i of probe i's score
    from the mean, the curvature by the search's parameters, and their Jacobian J. The last row is
    the Newton step.
    """
    spread = point.estimate.spread - point.estimate.spread.mean(axis=0)
    m = spread.shape[1]
    jacobian = np.zeros((m, m))
    for axes in point.axes:
        span = slice(axes.layout.start, axes.layout.stop)
        jacobian[span, span] = axes.jacobian()[0]
    jacobian *= point.unit
    model = point.model
    values, vectors = model.values[0], model.vectors[0]
    slopes = np.column_stack([vectors.T @ jacobian.T @ spread.T, model.along[0]])
    solved = (vectors / np.maximum(values, limits.FLOOR * model.size)) @ slopes
    return np.asarray(-(jacobian @ solved).T)
