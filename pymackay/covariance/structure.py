"""`Structure`: a restriction of a term's covariance matrix, with what the search needs of it."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Structure(Protocol):
    """Covariance matrices that some of their elements determine, the others being zero.

    The columns of such a term are whitened by a scale each, which leaves the structure as it is.
    """

    def places(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return row and column of each element, of the covariance as of its lower factor."""
        ...

    def project(self, matrix: np.ndarray) -> np.ndarray:
        """Return the nearest matrices of this structure to symmetric ones, (..., q, q)."""
        ...

    def axes(self, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return axes that the search may step in: ``factor = turn @ diag(sizes)``.

        Parameters
        ----------
        factor : numpy.ndarray, shape (B, q, q)

        Returns
        -------
        turn : numpy.ndarray, shape (B, q, q)
        sizes : numpy.ndarray, shape (B, q)
        """
        ...
