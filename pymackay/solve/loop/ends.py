"""`Judge`: whether a loop has come to rest, certified where its rule is the likelihood's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymackay.results import Convergence
from pymackay.solve.loop.rounds import Round, State
from pymackay.solve.search.newton import Control, Optimum, optimise
from pymackay.solve.solver import Solver

__all__ = ["Judge"]

_PATIENCE = 20  # rounds without progress after which rounding is taken to be reached
_NEARLY = 1e-6  # distance under which a standstill is put down to rounding
_SETTLED = 1e-8  # distance at which a loop without a tolerance is said to have settled


class Judge:
    """Says how a loop ends.

    Parameters
    ----------
    solver : Solver
    likelihood : bool
        Whether the rule's fixed points are the likelihood's.
    tolerance : float or None
    movable : bool
        Whether the loop may be set elsewhere.

    Attributes
    ----------
    elsewhere : State or None
        Where the likelihood is no higher, found by a certificate that failed on the boundary.
    evaluations : int
        Criterion evaluations paid for certificates.
    """

    def __init__(
        self, solver: Solver, likelihood: bool, tolerance: float | None, movable: bool
    ) -> None:
        self.solver = solver
        self.likelihood = likelihood
        self.tolerance = tolerance
        self.movable = movable
        self.elsewhere: State | None = None
        self.evaluations = 0
        self._best, self._best_at = np.inf, 0

    def at_rest(self, current: Round, iteration: int, distance: float) -> Convergence | None:
        """Return the certificate of a loop that has come to rest; None if it has not."""
        if distance < self._best:
            self._best, self._best_at = distance, iteration
        stalled = distance < _NEARLY and iteration - self._best_at >= _PATIENCE
        if self.tolerance is None or not (distance <= self.tolerance or stalled):
            return None
        reached = f"converged: the rule asks for relative changes of {distance:.2g}"
        if current.learned is not None:
            return Convergence(True, reached) if current.learned.error <= self.tolerance else None
        if not self.likelihood:
            return Convergence(True, reached)
        found = self._examine(current).convergence
        near = np.sqrt(2.0 * found.decrement) <= self.tolerance
        if self.elsewhere is None and found.converged and (near or stalled):
            return replace(found, message=f"{reached}; {found.message}")
        return None

    def left(self, current: Round, distance: float, ended: str) -> Convergence:
        """Return how a loop stands that was not brought to its end."""
        state = "settled" if distance <= _SETTLED else "still moving"
        message = f"{ended} and is {state}: the rule asks for relative changes of {distance:.2g}"
        if not self.likelihood:
            return Convergence(distance <= (self.tolerance or _SETTLED), message)
        found = self._examine(current).convergence
        return replace(found, converged=False, message=f"{message}; {found.message}")

    def _examine(self, current: Round) -> Optimum:
        """Ask the optimiser, which takes no step, for its certificate or a way off the boundary."""
        factors = current.state.factors
        optimum = optimise(self.solver, factors, Control(max_iterations=0))
        self.evaluations += optimum.convergence.evaluations
        if self.movable and any(
            not np.array_equal(a, b) for a, b in zip(factors, optimum.factors, strict=True)
        ):
            self.elsewhere = State(tuple(optimum.factors), optimum.evaluation.sigma2)
        return optimum
