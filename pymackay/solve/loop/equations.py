"""`Equations`: what MacKay's loop asks of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from pymackay.results import Convergence
from pymackay.solve.loop.rounds import Round, State

AnyRound = TypeVar("AnyRound", bound=Round)
AnyRound_co = TypeVar("AnyRound_co", bound=Round, covariant=True)
Certify = Callable[[State], tuple[Convergence, State | None]]


class Equations(Protocol[AnyRound_co]):
    """What a loop asks of a model."""

    @property
    def n_rows(self) -> int:
        """Rows of the data."""
        ...

    @property
    def levels(self) -> list[float]:
        """Term by term, the relative variance of one level's least-squares effect."""
        ...

    @property
    def certify(self) -> Certify | None:
        """Return the certificate of a state, and a state that leaves the boundary, if one does.

        None where the likelihood's rules lower no criterion.
        """
        ...

    def solve(self, state: State) -> AnyRound_co:
        """Return the round at a state.

        Raises
        ------
        ConvergenceError
            If the equations have no solution there.
        """
        ...
