"""`Determined`: what the curvature says of the groups, and `Sums`, which every kind collects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pymackay.covariance.roots import symmetric_power
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.network.taps import Piece


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
    shares : numpy.ndarray, shape (P,)
        1 − [M⁻¹]_ii: what the data determine of each standardised weight; 0 where a weight has no
        prior.
    floored : int
        Weights without a prior that the data do not determine, and that were held.
    """

    information: list[np.ndarray]
    error: list[float]
    log_det: float
    shares: np.ndarray
    floored: int = 0


class Sums(Protocol):
    """Sums over the rows that a kind of curvature needs."""

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the Jacobian rows of a chunk; `root` is (n, K) or (n, K, K), weights included."""

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T and log|M| at roots F."""

    def solver(
        self, roots: Sequence[np.ndarray], damping: float
    ) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return x ↦ (M + damping diag M)⁻¹x; None where the kind is too coarse for a step."""

    def length(self, roots: Sequence[np.ndarray], vector: np.ndarray) -> float:
        """Return x'M⁻¹x, about, weights without a prior included."""


def determined(
    columns: Columns,
    sums: Sequence[np.ndarray],
    diagonal: np.ndarray,
    log_det: float,
    floored: int = 0,
    error: Sequence[float] | None = None,
) -> Determined:
    """Return T = J·I − Σ_j [M⁻¹]_jj of every group, from the sums of its variables, (q, q).

    Parameters
    ----------
    columns : Columns
    sums : sequence of numpy.ndarray, shape (q, q)
        Σ_j [M⁻¹]_jj of every variable.
    diagonal : numpy.ndarray, shape (P,)
        Diagonal of M⁻¹.
    log_det : float
    floored : int
    error : sequence of float, or None
    """
    traces = []
    for k, group in enumerate(columns.groups):
        parts = [one for span, one in zip(columns.spans, sums, strict=True) if span.group == k]
        T = group.rows * np.eye(group.q) - sum(parts, np.zeros((group.q, group.q)))
        traces.append(symmetric_power(T, 1.0))
    shares = np.where(columns.penalised, np.clip(1.0 - diagonal, 0.0, 1.0), 0.0)
    errors = [0.0] * len(traces) if error is None else list(error)
    return Determined(traces, errors, log_det, shares, floored)
