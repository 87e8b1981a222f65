"""`fit_iterative`: the steps of an iterative fit, from cross-products to a `Fit`."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.model.model import Model
from pymackay.model.sums.sparse_gram import SparseGram
from pymackay.results import Convergence, Fit
from pymackay.solve.assemble import Problem, assemble, factors_from_theta
from pymackay.solve.iterative.checkpoint import open_checkpoint
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.errors import MonteCarlo, monte_carlo
from pymackay.solve.iterative.search import Point, Search
from pymackay.solve.iterative.solver import Iterative
from pymackay.solve.iterative.variances import EXACT_SIZE, LEAST_PROBES
from pymackay.solve.search import limits
from pymackay.solve.search.points import Certificates
from pymackay.solve.search.start import moment_start, noise_level
from pymackay.solve.solver import Solver

__all__ = ["fit_iterative", "without_rows"]

_LIFT = 1e-4  # of the noise level: what a start on the boundary is moved off it by
_DEAD = 1e-2  # sd along an axis, in noise levels, under which zero is tried
_ZERO = 1e-6  # the same, that is rounding of steps which leave a zero alone
_CERTIFIED = 1e-5  # Newton decrement, criterion units, that is far below any probe's noise
_GROWTH = 1e-2  # slope into the cone, criterion by noise level, that probes may feign


def fit_iterative(
    model: Model,
    gram: SparseGram,
    *,
    reml: bool,
    start: np.ndarray | None = None,
    control: IterativeControl | None = None,
    messages: tuple[str, ...] = (),
) -> Fit:
    """Fit a model with two or more grouping factors by iterative solves and probe vectors.

    Parameters
    ----------
    model : Model
    gram : SparseGram
        Its cross-products.
    reml : bool
    start : numpy.ndarray, shape (m,), optional
        Theta to start from, in the user's units.
    control : IterativeControl, optional
    messages : tuple of str
        What the fit should say besides.

    Raises
    ------
    ArgumentError
        If there is one grouping factor only: then nothing is dense, and the exact solver serves.
    """
    need_crossed(gram)
    solver = Iterative(gram, reml, control)
    checkpoint = open_checkpoint(solver.control.checkpoint, model.formula, gram, reml=reml)
    search = Search(solver, checkpoint)
    place = checkpoint.load()
    if place is not None:
        solver.add_probes(max(place.probes, solver.probes.count))
    factors = _start(gram, start) if place is None else place.factors
    point = search.descend(search.point([f[None] for f in factors], loose=place is None))
    point = _snapped(search, point)
    point, known = _sharpened(search, point, model)
    criterion, error = solver.criterion(point.estimate)
    evaluation = replace(point.estimate.evaluation, criterion=criterion)
    convergence = _convergence(search, point, known, error)
    problem = Problem(model, cast(Solver, solver))
    notes = (*messages, *_notes(solver, known, error))
    checkpoint.remove()
    factors = [f[0] for f in point.snapped(_ZERO)[0]]
    fit = assemble(problem, factors, evaluation, convergence, messages=notes)
    if solver.control.criterion_probes:
        return fit
    left_out = {"criterion": "criterion_probes is 0, so that no log determinant was estimated"}
    return fit.replace(not_offered={**fit.not_offered, **left_out})


def need_crossed(gram: SparseGram) -> None:
    """Refuse a model with one grouping factor: nothing is dense, and the exact solver serves."""
    if len(gram.blocks) < 2:
        raise ArgumentError(
            f"solver='iterative' is for two or more grouping factors, but the model has only "
            f"'{gram.blocks[0].name}'; use solver='exact', which then needs no dense matrix."
        )


_BY_ROW = ("fitted", "residuals", "rows", "weights", "offset")


def without_rows(fit: Fit, n: int) -> Fit:
    """Return the fit of a model whose `n` rows were summed up and let go."""
    reason = "the rows came in partitions and were not kept"
    rows = pd.RangeIndex(n)
    nothing = np.broadcast_to(np.float64("nan"), n)
    return fit.replace(
        fitted=pd.Series(nothing, index=rows, name="fitted", copy=False),
        residuals=pd.Series(nothing, index=rows, name="residuals", copy=False),
        model=replace(fit.model, rows=rows),
        not_offered={**fit.not_offered, **dict.fromkeys(_BY_ROW, reason)},
        evaluate_source=lambda theta: without_rows(fit.evaluate(theta), n),
    )


def _start(gram: SparseGram, theta: np.ndarray | None) -> list[np.ndarray]:
    """Return the factors to start from, each a little off the boundary."""
    if theta is None:
        return moment_start(gram)
    factors = factors_from_theta(gram.as_gram(), theta)
    lifts = [np.sqrt(_LIFT * noise_level(gram, k)) for k in range(len(factors))]
    return [
        np.linalg.cholesky(factor @ factor.T + lift**2 * np.eye(len(factor)))
        for factor, lift in zip(factors, lifts, strict=True)
    ]


def _snapped(search: Search, point: Point) -> Point:
    """Set axes without variance to exactly zero, where the score there says that they stay."""
    factors, changed = point.snapped(_DEAD)
    if not changed[0]:
        return point
    snapped = search.point(factors)
    grows = any(slope[0] < -limits.WANTS_GROWTH for slope, _ in snapped.growth())
    return point if grows else search.descend(snapped)


def _sharpened(search: Search, point: Point, model: Model) -> tuple[Point, MonteCarlo]:
    """Add probes until the Monte-Carlo error is what was asked for, or no more are allowed."""
    solver, control = search.solver, search.solver.control
    known = monte_carlo(model, solver, point)
    while known.relative > control.tolerance and solver.probes.count < control.max_probes:
        ratio = known.relative / control.tolerance
        wanted = int(np.ceil(1.3 * ratio**2 * solver.probes.count))
        wanted = max(wanted, 2 * solver.probes.count)
        left = solver.couplings.size - len(solver.probes.units)
        if 2 * wanted > left:  # unit vectors cost little more, and are exact
            wanted = left
        solver.add_probes(min(wanted, control.max_probes))
        point = search.descend(search.point(point.factors))
        known = monte_carlo(model, solver, point)
    return point, known


def _convergence(
    search: Search, point: Point, known: MonteCarlo, criterion_error: float
) -> Convergence:
    """Say how the search ended."""
    certificate = Certificates.of(point)
    problems = certificate.problems(0, decrement=_CERTIFIED, growth=_GROWTH)
    good = f"optimum found; relative Monte-Carlo error {known.relative:.1g} or less"
    return Convergence(
        converged=not problems,
        message="; ".join(problems) or good,
        iterations=search.steps,
        evaluations=search.evaluations,
        decrement=point.decrement,
        gradient=float(np.sqrt(2.0 * point.decrement)),
        curvature=float(certificate.curvature[0]),
        monte_carlo_error={**known.errors, "criterion": criterion_error},
        probes=search.solver.probes.count,
        solver_iterations=max(point.estimate.iterations),
    )


def _notes(solver: Iterative, known: MonteCarlo, criterion_error: float) -> tuple[str, ...]:
    """Say what was estimated, and how well."""
    found = []
    if not solver.probes.exact:
        found.append(
            f"variances by {solver.probes.count} probe vectors: Monte-Carlo standard error at "
            f"most {100 * known.relative:.2g} % (fit.convergence.monte_carlo_error)"
        )
    if known.relative > solver.control.tolerance:
        found.append(
            f"the Monte-Carlo error asked for, {100 * solver.control.tolerance:.2g} %, was not "
            f"reached with max_probes = {solver.control.max_probes}; raise it in IterativeControl"
        )
    if criterion_error > 0.0:
        found.append(f"criterion by stochastic quadrature: standard error {criterion_error:.2g}")
    if solver.couplings.size > EXACT_SIZE:
        count = max(LEAST_PROBES, solver.probes.count)
        found.append(
            f"condvar and pev are estimated with {count} probe vectors when asked for; "
            f"fit.condvar_error() has their standard errors"
        )
    return tuple(found)
