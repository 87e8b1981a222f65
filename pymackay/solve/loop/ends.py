"""How MacKay's loop ends: converged, out of rounds, or with a covariance matrix that collapsed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pymackay.results import Convergence
from pymackay.solve.loop.boundary import DEAD, weakest_direction
from pymackay.solve.loop.rounds import Round, State

_PATIENCE = 20  # rounds without a smaller distance, after which only rounding is left
_ROUNDED = 1e-13  # distance that is rounding
_NEARLY = 1e-6  # distance below which the absence of progress is taken for rounding
_SETTLED = 1e-8  # distance at which a loop without a tolerance counts as settled


@dataclass(frozen=True, eq=False)
class Collapse:
    """A direction of a covariance matrix whose variance a loop has reduced to zero.

    Attributes
    ----------
    term : int
        Position among the model's terms.
    iteration : int
    contrast : numpy.ndarray, shape (q,)
        Coefficients of the user's effects, the largest 1: this combination has no variance.
    share : float
        Effective number of the direction per level: t / (1 + t), with t its variance over its
        sampling variance.
    """

    term: int
    iteration: int
    contrast: np.ndarray
    share: float


def find_collapse(current: Round, iteration: int) -> Collapse | None:
    """Return the first direction whose variance is zero to working precision, if there is one."""
    for k, term in enumerate(current.terms):
        weakest = weakest_direction(term)
        if weakest is not None and weakest.share < DEAD:
            return Collapse(k, iteration, weakest.contrast, weakest.share)
    return None


class Judge:
    """Decides whether a loop has ended, and returns its convergence.

    Parameters
    ----------
    certify : callable or None
        Takes a state and returns the optimiser's certificate, which takes no step, and, if the
        optimiser would leave the boundary, a state where the likelihood is not lower. None for a
        rule whose fixed points are not those of the likelihood.
    tolerance : float or None
    movable : bool
        Whether the loop may continue from such a state.

    Attributes
    ----------
    elsewhere : State or None
        State where the likelihood is not lower, after a certificate that failed on the boundary.
    evaluations : int
        Number of criterion evaluations for certificates.
    """

    def __init__(
        self,
        certify: Callable[[State], tuple[Convergence, State | None]] | None,
        tolerance: float | None,
        movable: bool,
    ) -> None:
        self.certify = certify
        self.tolerance = tolerance
        self.movable = movable
        self.elsewhere: State | None = None
        self.evaluations = 0
        self._best, self._best_at = np.inf, 0

    def at_rest(self, current: Round, iteration: int, distance: float) -> Convergence | None:
        """Return the certificate of a loop that has converged; None if it has not.

        `distance` is the largest relative change that the rule asks for (see `_Loop.distance`).
        """
        if distance < self._best:
            self._best, self._best_at = distance, iteration
        stalled = distance < _NEARLY and iteration - self._best_at >= _PATIENCE
        stalled = stalled or distance < _ROUNDED
        if self.tolerance is None or not (distance <= self.tolerance or stalled):
            return None
        reached = f"converged: the rule asks for relative changes of {distance:.2g}"
        if current.learned is not None:
            return Convergence(True, reached) if current.learned.error <= self.tolerance else None
        certified = self._certified(current)
        if certified is None:
            return Convergence(True, reached)
        near = np.sqrt(2.0 * certified.decrement) <= self.tolerance
        if self.elsewhere is None and certified.converged and (near or stalled):
            return replace(certified, message=f"{reached}; {certified.message}")
        return None

    def stopped(self, current: Round, distance: float, ended: str) -> Convergence:
        """Return the convergence of a loop that was stopped before it converged."""
        state = "settled" if distance <= _SETTLED else "still moving"
        message = f"{ended} and is {state}: the rule asks for relative changes of {distance:.2g}"
        certified = self._certified(current)
        if certified is None:
            return Convergence(distance <= (self.tolerance or _SETTLED), message)
        return replace(certified, converged=False, message=f"{message}; {certified.message}")

    def _certified(self, current: Round) -> Convergence | None:
        """Return the certificate of a state, and store a state away from the boundary, if any."""
        if self.certify is None:
            return None
        convergence, elsewhere = self.certify(current.state)
        self.evaluations += convergence.evaluations
        if self.movable and elsewhere is not None:
            self.elsewhere = elsewhere
        return convergence
