"""`LinearEquations`: what MacKay's loop asks of a linear model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.results import Convergence
from pymackay.solve.assemble import Problem
from pymackay.solve.loop.rounds import Learned, LinearRound, State, solve_round
from pymackay.solve.search.limits import Control
from pymackay.solve.search.newton import optimise

Learner = Callable[[State], Learned]


class LinearEquations:
    """The mixed-model equations of a linear model.

    Parameters
    ----------
    problem : Problem
    learner : callable or None
        Returns effects from gradient descent at a state; None: the equations are solved.
    """

    def __init__(self, problem: Problem, learner: Learner | None = None) -> None:
        self.model, self.solver = problem.model, problem.solver
        self.learner = learner
        self.n_rows = self.solver.bases.n
        sizes = [len(self.model.factors[term.group].levels) for term in self.model.terms]
        self.levels = [size / self.n_rows for size in sizes]

    def solve(self, state: State) -> LinearRound:
        """See `Equations`."""
        learned = None if self.learner is None else self.learner(state)
        try:
            solved = solve_round(self.model, self.solver, state, learned)
        except np.linalg.LinAlgError as error:
            raise _no_digits(state) from error
        if not 0.0 < solved.next_noise_var < np.inf:
            raise _no_digits(state)
        return solved

    def certify(self, state: State) -> tuple[Convergence, State | None]:
        """Return the optimiser's certificate, and the state by which it would leave a boundary."""
        factors = state.factors
        optimum = optimise(self.solver, factors, Control(max_iterations=0))
        pairs = zip(factors, optimum.factors, strict=True)
        if all(np.array_equal(before, after) for before, after in pairs):
            return optimum.convergence, None
        return optimum.convergence, State(tuple(optimum.factors), optimum.evaluation.sigma2)


def _no_digits(state: State) -> ConvergenceError:
    return ConvergenceError(
        f"MacKay's loop cannot continue, because float64 has no digits left: its residual variance "
        f"is {state.noise_var:.2g} of the fixed effects' residual sum of squares, and the random "
        f"effects explain the rest. Check whether the response is computed from other columns, or "
        f"whether there is one row per level. If not, give a better start=..., or ask for fewer "
        f"iterations."
    )
