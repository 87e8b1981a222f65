"""How MacKay's loop ends: at rest, with a certificate; out of rounds; or with a direction lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pymackay.results import Convergence
from pymackay.solve.loop.boundary import DEAD, weakest_direction
from pymackay.solve.loop.rounds import Round, State

_PATIENCE = 20  # rounds without progress after which rounding is taken to be reached
_NEARLY = 1e-6  # distance under which a standstill is put down to rounding
_SETTLED = 1e-8  # distance at which a loop without a tolerance counts as settled


@dataclass(frozen=True, eq=False)
class Collapse:
    """A direction of a covariance matrix that a loop has lost.

    Attributes
    ----------
    term : int
        Position among the model's terms.
    iteration : int
    contrast : numpy.ndarray, shape (q,)
        Coefficients of the effects, user's units, largest 1: their combination varies no more.
    share : float
        Of the direction's effective number, per level: t / (1 + t).
    """

    term: int
    iteration: int
    contrast: np.ndarray
    share: float


def find_collapse(current: Round, iteration: int) -> Collapse | None:
    """Return the first direction that has died."""
    for k, term in enumerate(current.terms):
        weakest = weakest_direction(term)
        if weakest is not None and weakest.share < DEAD:
            return Collapse(k, iteration, weakest.contrast, weakest.share)
    return None


class Judge:
    """Says how a loop ends.

    Parameters
    ----------
    certify : callable or None
        From a state to the certificate of the optimiser, which takes no step, and to where the
        likelihood is no lower, if it wants to leave the boundary; None for a rule whose fixed
        points are not the likelihood's.
    tolerance : float or None
    movable : bool
        Whether the loop may be set elsewhere.

    Attributes
    ----------
    elsewhere : State or None
        Where the likelihood is no lower, found by a certificate that failed on the boundary.
    evaluations : int
        Criterion evaluations paid for certificates.
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
        """Return the certificate of a loop that has come to rest; None if it has not."""
        if distance < self._best:
            self._best, self._best_at = distance, iteration
        stalled = distance < _NEARLY and iteration - self._best_at >= _PATIENCE
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
        """Return how a loop stands that was stopped before it came to rest."""
        state = "settled" if distance <= _SETTLED else "still moving"
        message = f"{ended} and is {state}: the rule asks for relative changes of {distance:.2g}"
        certified = self._certified(current)
        if certified is None:
            return Convergence(distance <= (self.tolerance or _SETTLED), message)
        return replace(certified, converged=False, message=f"{message}; {certified.message}")

    def _certified(self, current: Round) -> Convergence | None:
        """Return the certificate of a state, and note a way off the boundary."""
        if self.certify is None:
            return None
        convergence, elsewhere = self.certify(current.state)
        self.evaluations += convergence.evaluations
        if self.movable and elsewhere is not None:
            self.elsewhere = elsewhere
        return convergence
