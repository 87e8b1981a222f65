"""`Known`: a known matrix times one variance, ``propto(0 + f | g, A)`` as in glmmTMB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pymackay.covariance.structure import Correlated


@dataclass(frozen=True)
class Known(Correlated):
    """``G = s² A`` with a known positive definite A, of relationship or of distance.

    The only parameter is s, whatever the diagonal of A is.

    Attributes
    ----------
    known : tuple of float, length q(q + 1)/2
        The lower triangle of A, row by row.
    """

    tag = "propto"
    needs_levels = False
    known: tuple[float, ...] = field(default=(), repr=False)

    @cached_property
    def matrix(self) -> np.ndarray:
        """A, (q, q)."""
        q = int(np.sqrt(2 * len(self.known)))
        A = np.zeros((q, q))
        A[np.tril_indices(q)] = self.known
        return A + np.tril(A, -1).T

    @cached_property
    def _root(self) -> np.ndarray:
        """The lower-triangular factor of A, (q, q)."""
        return np.linalg.cholesky(self.matrix)

    def n_rho(self, q: int) -> int:
        """Return the number of correlations: none."""
        return 0

    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest rho, each (r,)."""
        return np.zeros(0), np.zeros(0)

    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return A, shape (..., q, q)."""
        return np.broadcast_to(self.matrix, (*rho.shape[:-1], q, q))

    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., r, q, q)."""
        return np.zeros((*rho.shape[:-1], 0, q, q))

    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., r, r, q, q)."""
        return np.zeros((*rho.shape[:-1], 0, 0, q, q))

    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the factor of A, (..., q, q)."""
        return np.broadcast_to(self._root, (*rho.shape[:-1], q, q))

    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return rho, (..., 0)."""
        return np.zeros((*sd.shape[:-1], 0))

    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of the first element, from which all others follow."""
        first = np.zeros(1, dtype=np.intp)
        return first, first

    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the element of theta, without the group."""
        return ["*"]

    def par_of_theta(self, theta: np.ndarray, q: int) -> np.ndarray:
        """Return s, (1,), of the first element of the factor, (1,)."""
        return np.abs(theta) / self._root[0, 0]

    def _sds(self, sd: np.ndarray) -> np.ndarray:
        """Return s, (..., 1), of the standard deviations of the effects, (..., q)."""
        share = sd**2 / np.diag(self.matrix)
        return np.asarray(np.sqrt(np.mean(share, axis=-1, keepdims=True)))
