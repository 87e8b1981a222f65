"""`fit_chosen`, `problem_chosen`: a model with the solver that was chosen for it."""

from __future__ import annotations

from typing import cast

import numpy as np

from pymackay.model.model import Model
from pymackay.model.sums.gram import cross_products
from pymackay.model.sums.sparse_gram import SparseGram, sparse_cross_products
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, assemble, factors_from_theta
from pymackay.solve.exact.make import make_solver
from pymackay.solve.iterative.choice import Choice
from pymackay.solve.iterative.fit import fit_iterative, need_crossed
from pymackay.solve.iterative.solver import Iterative
from pymackay.solve.search.newton import Control, Optimum, find_optimum, optimise
from pymackay.solve.solver import Solver

__all__ = ["fit_chosen", "problem_chosen"]


def fit_chosen(
    model: Model,
    choice: Choice,
    *,
    reml: bool,
    start: np.ndarray | None,
    sums: SparseGram | None = None,
) -> Fit:
    """Fit a model.

    Parameters
    ----------
    model : Model
    choice : Choice
    reml : bool
    start : numpy.ndarray, shape (m,), or None
        Theta to start from, in the user's units.
    sums : SparseGram, optional
        The cross-products, where they were made partition by partition.
    """
    if choice.iterative:
        return fit_iterative(
            model,
            sparse_cross_products(model) if sums is None else sums,
            reml=reml,
            start=start,
            control=choice.iterative_control,
            messages=choice.messages,
        )
    gram = cross_products(model) if sums is None else sums.dense_form()
    problem = Problem(model, make_solver(gram, reml=reml))
    found = _optimum(problem, start, choice.exact_control)
    return assemble(problem, found.factors, found.evaluation, found.convergence)


def problem_chosen(model: Model, choice: Choice, *, reml: bool) -> Problem:
    """Return a model with its solver, for a loop of its own.

    Raises
    ------
    ArgumentError
        If the iterative solver was asked for and there is one grouping factor only.
    """
    if not choice.iterative:
        return Problem(model, make_solver(cross_products(model), reml=reml))
    gram = sparse_cross_products(model)
    need_crossed(gram)
    return Problem(model, cast(Solver, Iterative(gram, reml, choice.iterative_control)))


def _optimum(problem: Problem, start: np.ndarray | None, control: Control | None) -> Optimum:
    if start is None:
        return find_optimum(problem.solver, control)
    return optimise(problem.solver, factors_from_theta(problem.solver.gram, start), control)
