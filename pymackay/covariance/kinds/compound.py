"""`CompoundSymmetry`: one correlation between all pairs of effects, as lme4's ``cs(f | g)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.structure import Correlated


@dataclass(frozen=True)
class CompoundSymmetry(Correlated):
    """``R_ij = rho`` for i ≠ j, with rho between −1/(q − 1) and 1."""

    tag = "cs"

    def n_rho(self, q: int) -> int:
        """Return the number of correlations: one, if there are two effects."""
        return int(q > 1)

    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest rho, each (r,)."""
        return np.full(self.n_rho(q), -1.0 / max(q - 1, 1)), np.ones(self.n_rho(q))

    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return R, shape (..., q, q)."""
        if q == 1:
            return np.ones((*rho.shape[:-1], 1, 1))
        return np.where(np.eye(q, dtype=bool), 1.0, rho[..., None])

    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., r, q, q)."""
        r = self.n_rho(q)
        return np.broadcast_to(1.0 - np.eye(q), (*rho.shape[:-1], r, q, q))

    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., r, r, q, q)."""
        r = self.n_rho(q)
        return np.zeros((*rho.shape[:-1], r, r, q, q))

    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the factor in closed form, which needs no division by 1 − rho.

        Column j has ``d_j² = (1 − ρ)(1 + jρ) / (1 + (j − 1)ρ)`` on the diagonal and
        ``ρ √((1 − ρ) / ((1 + (j − 1)ρ)(1 + jρ)))`` below it; j = 0 has 1 and ρ.
        """
        if q == 1:
            return np.ones((*rho.shape[:-1], 1, 1))
        j = np.arange(q)
        here = np.maximum(1.0 + j * rho, 0.0)
        before = np.where(j == 0, 1.0, 1.0 + (j - 1) * rho)
        ratio = np.where(j == 0, 1.0, np.maximum(1.0 - rho, 0.0) / before)
        diagonal = np.sqrt(ratio * here)
        below = rho * np.sqrt(ratio / np.where(here > 0.0, here, 1.0))
        lower = np.tril(np.broadcast_to(below[..., None, :], (*rho.shape[:-1], q, q)), -1)
        lower[..., j, j] = diagonal
        return lower

    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return the least-squares fit of ``rho s_i s_j`` to the covariances."""
        q = sd.shape[-1]
        if q == 1:
            return np.zeros((*sd.shape[:-1], 0))
        sizes = sd[..., :, None] * sd[..., None, :] * (1.0 - np.eye(q))
        weight = (sizes**2).sum(axis=(-2, -1))
        along = (covariance * sizes).sum(axis=(-2, -1))
        return (along / np.where(weight > 0.0, weight, 1.0))[..., None]

    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of each column's diagonal and of one element below it."""
        columns = np.repeat(np.arange(q), 2)[: 2 * q - 1]
        return columns + np.arange(2 * q - 1) % 2, columns

    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta as lme4 2.x does, without the group."""
        pairs = zip(*(places.tolist() for places in self.distinct(len(effects))), strict=True)
        return [effects[j] if i == j else f"*.{effects[j]}" for i, j in pairs]
