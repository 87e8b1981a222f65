"""Which solver a model gets, predicted from its sizes, and a model's fit by it: `fit_model`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.arguments import one_of
from pymackay.errors import ArgumentError, RecordingError
from pymackay.model.memory import free_memory
from pymackay.model.model import Model
from pymackay.model.sums.gram import cross_products
from pymackay.model.sums.sparse_gram import SparseGram, sparse_cross_products
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, fit_problem
from pymackay.solve.exact.solver import Exact
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.fit import IterativeSolver
from pymackay.solve.search.limits import Control
from pymackay.solve.solver import Solver

__all__ = [
    "SOLVERS",
    "Choice",
    "choose",
    "fit_model",
    "free_memory",
    "make_problem",
    "remake_solver",
]

SOLVERS = ("auto", "exact", "iterative")

_EVALUATIONS = 8  # what the exact search takes as a rule
_RATE = 2.5e10  # multiply-adds a second of dense products on two cores
_PATIENCE = 60.0  # seconds that exactness may cost before the iterative solver is chosen
_SHARE = 0.5  # of the memory that is free, at most
_LITTLE = 2.0**26  # bytes that are there without a look: reading the limits takes a millisecond
_COPIES = 5  # square matrices that the exact solver holds at once


@dataclass(frozen=True)
class Choice:
    """A solver, why, and its tolerances.

    Attributes
    ----------
    iterative : bool
    message : str
        What the fit should say; empty where there is nothing to say.
    control : Control, IterativeControl or None
        Of the solver's own kind.
    """

    iterative: bool
    message: str = ""
    control: Any = None

    @property
    def messages(self) -> tuple[str, ...]:
        """The message, if there is one."""
        return (self.message,) if self.message else ()


def fit_model(
    model: Model,
    choice: Choice | None = None,
    *,
    reml: bool,
    start: np.ndarray | None = None,
    sums: SparseGram | None = None,
) -> Fit:
    """Fit a model: its solver, the optimum, and the `Fit` there.

    Parameters
    ----------
    model : Model
    choice : Choice, optional
        By default the exact solver.
    reml : bool
        REML or maximum likelihood.
    start : numpy.ndarray, shape (m,), optional
        Theta to start from, in the user's units; by default the data tell.
    sums : SparseGram, optional
        The cross-products, where they were made partition by partition.

    Raises
    ------
    ArgumentError
        If the iterative solver was asked for and there is one grouping factor only, or `start`
        has another length than theta.
    """
    choice = choice or Choice(False)
    problem = make_problem(model, choice, reml=reml, sums=sums)
    return fit_problem(
        problem, start=start, control=choice.control, start_only=True, messages=choice.messages
    )


def make_problem(
    model: Model, choice: Choice | None = None, *, reml: bool, sums: SparseGram | None = None
) -> Problem:
    """Return a model with its solver (see `fit_model`)."""
    if choice is None or not choice.iterative:
        gram = cross_products(model) if sums is None else sums.dense_form()
        return Problem(model, Exact(gram, reml))
    sparse = sparse_cross_products(model) if sums is None else sums
    return Problem(model, IterativeSolver(sparse, reml, choice.control))


def remake_solver(
    model: Model, recipe: Mapping[str, Any], *, reml: bool, sums: Any = None
) -> Solver:
    """Return the solver of a model whose `Solver.recipe` was kept; of `sums`, if these were too.

    Raises
    ------
    RecordingError
        If the recipe is of an unknown kind.
    """
    if recipe["kind"] == "exact":
        return Exact(cross_products(model) if sums is None else sums, reml)
    if recipe["kind"] != "iterative":
        raise RecordingError(f"it was made by the unknown solver {recipe['kind']!r}")
    sums = sparse_cross_products(model) if sums is None else sums
    solver = IterativeSolver(sums, reml, recipe["control"])
    solver.add_probes(recipe["probes"])
    return solver


def choose(model: Model, solver: str, control: Control | IterativeControl | None = None) -> Choice:
    """Choose between the exact and the iterative solver.

    Parameters
    ----------
    model : Model
    solver : {"auto", "exact", "iterative"}
    control : Control, IterativeControl or None
        With ``"auto"``, its kind decides.

    Raises
    ------
    ArgumentError
        If `solver` is another word, or `control` is for the other solver.
    """
    one_of("solver", solver, SOLVERS)
    for name, kind in (("exact", IterativeControl), ("iterative", Control)):
        if solver == name and isinstance(control, kind):
            raise ArgumentError(
                f"control is of the kind {kind.__name__}, which solver={solver!r} cannot use; "
                f"leave one of the two out."
            )
    if solver != "auto" or control is not None:
        by_control = solver == "auto" and isinstance(control, IterativeControl)
        return Choice(solver == "iterative" or by_control, control=control)
    return _predicted(model)


def _predicted(model: Model) -> Choice:
    """Choose by the memory and time that the exact solver would need."""
    sizes = _sizes(model)
    if len(sizes) < 2:
        return Choice(False)
    rest = sum(sizes[1:]) + model.X.shape[1] + 1
    memory = 8.0 * _COPIES * rest**2
    seconds = _EVALUATIONS * rest**3 / _RATE
    if memory <= _LITTLE and seconds <= _PATIENCE:
        return Choice(False)
    free = free_memory()
    if memory <= _SHARE * free and seconds <= _PATIENCE:
        return Choice(False)
    reason = f"{seconds:.0f} s"
    if memory > _SHARE * free:
        reason = f"{memory / 2**30:.3g} GiB of the {free / 2**30:.3g} GiB that are free"
    return Choice(
        True,
        f"fitted by the iterative solver: the exact one would need about {reason} for a dense "
        f"matrix of {rest:,} rows (solver='exact' insists)",
    )


def _sizes(model: Model) -> list[int]:
    """Return the number of random effects of each grouping factor, largest first."""
    sizes = []
    for name, factor in model.factors.items():
        effects = sum(len(term.effects) for term in model.terms if term.group == name)
        sizes.append(effects * len(factor.levels))
    return sorted(sizes, reverse=True)
