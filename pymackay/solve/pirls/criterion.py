"""`Criterion` and `Evaluated`: what a search asks of a criterion, and of one point of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pymackay.solve.pirls.criteria.curvature import Curvature


class Evaluated(Protocol):
    """A criterion at one point."""

    @property
    def psi(self) -> np.ndarray: ...  # noqa: D102

    @property
    def criterion(self) -> float: ...  # noqa: D102

    @property
    def gradient(self) -> np.ndarray: ...  # noqa: D102

    @property
    def noise(self) -> float:
        """Monte-Carlo standard error of the criterion; 0 where it is exact."""
        ...

    @property
    def start(self) -> np.ndarray: ...  # noqa: D102

    @property
    def curvature(self) -> Curvature: ...  # noqa: D102

    def second_derivatives(self) -> np.ndarray | None:
        """Return the exact second derivatives by ψ, (P, P), where formulas give them; else None."""
        ...


class Criterion(Protocol):
    """What is minimised."""

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> Evaluated:
        """Evaluate at ψ, the inner search beginning at u."""
        ...

    def with_mode(self, psi: np.ndarray, u: np.ndarray) -> Evaluated:
        """Evaluate at ψ with u for the mode, which is near it: there is no inner search."""
        ...
