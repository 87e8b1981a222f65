"""`Diagonal`: effects that do not correlate, as lme4's ``diag(f | g)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.structure import Correlated


@dataclass(frozen=True)
class Diagonal(Correlated):
    """Diagonal covariance matrices; R is the identity."""

    tag = "diag"

    def n_rho(self, q: int) -> int:
        """Return the number of correlations: none."""
        return 0

    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest rho, each (r,)."""
        return np.zeros(0), np.zeros(0)

    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return R, shape (..., q, q)."""
        return np.broadcast_to(np.eye(q), (*rho.shape[:-1], q, q))

    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., r, q, q)."""
        return np.zeros((*rho.shape[:-1], 0, q, q))

    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., r, r, q, q)."""
        return np.zeros((*rho.shape[:-1], 0, 0, q, q))

    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the factor of R, (..., q, q)."""
        return self.correlation(rho, q)

    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return rho, (..., 0)."""
        return np.zeros((*sd.shape[:-1], 0))

    def places(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the diagonal, or of its first element."""
        every = np.arange(1 if self.hom else q)
        return every, every

    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of the only element."""
        return self.places(q)

    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta as lme4 2.x does, without the group."""
        return ["*"]
