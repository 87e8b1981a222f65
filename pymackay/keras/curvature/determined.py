"""`Determined`: what the curvature says of the groups, and `Sums`, which every kind collects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pymackay.keras.linearise import Piece


@dataclass(frozen=True, eq=False)
class Determined:
    """The curvature M = Λ'(σ²GGN)Λ + D at given roots F.

    Attributes
    ----------
    information : list of numpy.ndarray, shape (q, q)
        T = J·I − Σ_j [M⁻¹]_jj by group; γ = tr T.
    error : list of float
        Monte-Carlo standard error of γ by group; 0 where it is computed without sampling.
    log_det : float
        log|M|.
    floored : int
        Weights without a prior that the data do not determine, and that were held.
    """

    information: list[np.ndarray]
    error: list[float]
    log_det: float
    floored: int = 0


class Sums(Protocol):
    """Sums over the rows that a kind of curvature needs."""

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the Jacobian rows of a chunk; `root` is (n, K) or (n, K, K), weights included."""

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T and log|M| at roots F."""

    def solver(self, roots: Sequence[np.ndarray]) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return x ↦ M⁻¹x; None where the kind is too coarse for a Newton step."""


def whitened(slopes: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return R'J: Jacobian rows (n, K, ...) whose plain squares are J'HJ."""
    if root.ndim == 2:
        return slopes * root.reshape(*root.shape, *[1] * (slopes.ndim - 2))
    return np.einsum("nkr,nk...->nr...", root, slopes)
