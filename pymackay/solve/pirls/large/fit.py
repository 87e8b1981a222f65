"""`fit_large`: the fit of a large crossed model, with probes added until its error is small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymackay.arguments import one_of
from pymackay.errors import ArgumentError
from pymackay.model.memory import free_memory
from pymackay.results import Convergence
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.large.accuracy import Accuracy
from pymackay.solve.pirls.large.system import Probing
from pymackay.solve.pirls.optimum import GeneralOptimum, find_optimum
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.search import GeneralControl, Stopping

SOLVERS = ("auto", "exact", "iterative")

_SYSTEMS = 30  # dense factors that the exact search takes as a rule
_RATE = 1e10  # multiply-adds a second of dense products
_PATIENCE = 60.0  # seconds that exactness may cost before the iterative solver is chosen
_COPIES = 6  # square matrices that the exact solver holds at once
_LITTLE = 2.0**26  # bytes that are there without a look: reading the limits takes a millisecond
_SHARE = 0.5  # of the memory that is free, at most
_SPENT = 1e-6  # Newton decrement that ends the search: 1e-3 standard errors
_MARGIN = 1.3  # by which more probes are taken than the error asks for


@dataclass(frozen=True)
class GeneralChoice:
    """Which solver a model gets, and why.

    Attributes
    ----------
    iterative : bool
    message : str
        What the fit should say; empty where there is nothing to say.
    """

    iterative: bool
    message: str = ""


def choose_general(rows: Rows, solver: str, nagq: int | str) -> GeneralChoice:
    """Choose between the exact and the iterative solver, before anything large is allocated.

    Parameters
    ----------
    rows : Rows
    solver : {"auto", "exact", "iterative"}
    nagq : int or str

    Raises
    ------
    ArgumentError
        If the solver that is asked for cannot fit the model.
    """
    one_of("solver", solver, SOLVERS)
    if solver == "iterative":
        _check_iterative(rows, nagq)
        return GeneralChoice(True)
    others = rows.n_effects - rows.lead
    memory = 8.0 * (_COPIES * others**2 + others * rows.lead)
    seconds = _SYSTEMS * 3.0 * others**3 / _RATE
    free = free_memory() if memory > _LITTLE else np.inf
    if memory <= _SHARE * free and (seconds <= _PATIENCE or solver == "exact"):
        return GeneralChoice(False)
    needs = f"{memory / 2**30:.3g} GiB of the {free / 2**30:.3g} GiB that are free"
    needs = needs if memory > _SHARE * free else f"{seconds:.0f} s"
    if solver == "exact":
        raise ArgumentError(
            f"solver='exact' would need about {needs} for dense matrices of {others:,} rows, the "
            f"random effects of the grouping factors besides the largest; use solver='iterative', "
            f"or leave a term out."
        )
    _check_iterative(rows, nagq)
    return GeneralChoice(
        True,
        f"fitted by the iterative solver: the exact one would need about {needs} for a dense "
        f"matrix of {others:,} rows (solver='exact' insists)",
    )


def _check_iterative(rows: Rows, nagq: int | str) -> None:
    """Refuse what the iterative solver cannot do."""
    if len(rows.blocks) < 2:
        raise ArgumentError(
            f"solver='iterative' is for two or more grouping factors, but the model has only "
            f"'{rows.blocks[0].name}'; use solver='exact', which then needs no dense matrix."
        )
    if nagq != 1:
        raise ArgumentError(
            f"nagq={nagq!r} is not offered by the iterative solver, which a model of this size "
            f"needs; use nagq=1, or solver='exact' for a smaller model."
        )


@dataclass(frozen=True, eq=False)
class LargeOptimum:
    """The minimum of a large model's criterion, with its Monte-Carlo error.

    Attributes
    ----------
    optimum : GeneralOptimum
    convergence : Convergence
    messages : tuple of str
        What the fit should say.
    """

    optimum: GeneralOptimum
    convergence: Convergence
    messages: tuple[str, ...]


def find_large(laplace: Laplace, start: np.ndarray, control: GeneralControl) -> LargeOptimum:
    """Minimise the criterion; add probes until the variances are as exact as asked for.

    Parameters
    ----------
    laplace : Laplace
        Its rows have probes.
    start : numpy.ndarray, shape (P,)
    control : GeneralControl
    """
    evaluations = 0
    while True:
        optimum = _minimum(laplace, start, control)
        evaluations += optimum.convergence.evaluations
        accuracy = Accuracy.of(optimum.point, optimum.hessian)
        probing = laplace.rows.probing
        count = probing.signs.shape[1]
        if accuracy.relative <= control.tolerance or count >= control.max_probes:
            break
        needed = _MARGIN * count * (accuracy.relative / control.tolerance) ** 2
        more = probing.with_count(min(int(np.ceil(needed)), control.max_probes), control.seed)
        laplace, start = (
            replace(laplace, rows=replace(laplace.rows, probing=more)),
            optimum.point.psi,
        )
    system = optimum.point.determinant
    errors = {**accuracy.errors, "criterion": system.logdet_error}
    convergence = replace(
        optimum.convergence,
        evaluations=evaluations,
        monte_carlo_error=errors,
        probes=count,
        solver_iterations=max(system.iterations, optimum.point.mode.system.iterations),
    )
    return LargeOptimum(optimum, convergence, _notes(accuracy, count, system, control))


def with_probes(laplace: Laplace, control: GeneralControl) -> Laplace:
    """Return the criterion of the same model by iterative solves."""
    probing = Probing.of(laplace.rows, control.probes, control.seed)
    return replace(laplace, rows=replace(laplace.rows, probing=probing))


def _minimum(laplace: Laplace, start: np.ndarray, control: GeneralControl) -> GeneralOptimum:
    rows, bounded = laplace.rows, laplace.family.is_bounded
    stopping = Stopping.of(replace(control, spent=max(control.spent, _SPENT)), rows.n)
    return find_optimum(laplace, rows, [start], stopping, rows.p, bounded=bounded)


def _notes(accuracy: Accuracy, count: int, system: Any, control: GeneralControl) -> tuple[str, ...]:
    """Return what the fit should say of its Monte-Carlo error."""
    notes = [
        f"variances by {count} probe vectors: Monte-Carlo standard error at most "
        f"{100 * accuracy.relative:.2g} % (fit.convergence.monte_carlo_error)",
        f"criterion by stochastic quadrature: standard error {system.logdet_error:.2g}",
    ]
    if accuracy.relative > control.tolerance:
        notes.append(
            f"the Monte-Carlo error asked for, {100 * control.tolerance:.2g} %, was not reached "
            f"with max_probes = {control.max_probes}; raise it in GeneralControl"
        )
    return tuple(notes)


def not_offered() -> Mapping[str, str]:
    """Return what a fit by the iterative solver does not have, and why."""
    reason = "the iterative solver of generalised models does not compute it; use solver='exact'"
    return {"condvar": reason, "pev": reason}
