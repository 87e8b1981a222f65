"""Principal axes of the terms' covariance matrices: the coordinates that the optimiser steps in.

A lower-triangular factor is a poor coordinate where its first effect hardly varies: a turn of the
covariance matrix is then a long arc in the other elements, which Newton's straight steps follow
by inches. With the axes turned so that the factor is diagonal, the largest first, every such turn
is short, and a covariance matrix that loses rank loses its last column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.covariance import TermLayout, lower_factor

__all__ = ["Axes"]


@dataclass(frozen=True, eq=False)
class Axes:
    """The axes of one term, and where its parameters stand.

    Attributes
    ----------
    layout : TermLayout
    turn : numpy.ndarray, shape (q, q)
        Orthogonal: ``factor = turn @ root`` up to a rotation from the right.
    sizes : numpy.ndarray, shape (q,)
        Relative standard deviations along the axes, descending.
    """

    layout: TermLayout
    turn: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, factor: np.ndarray, layout: TermLayout) -> Axes:
        """Return the principal axes of ``factor factor'``."""
        if layout.q == 1:
            return cls(layout, np.ones((1, 1)), np.abs(factor[0]))
        turn, sizes, _ = np.linalg.svd(factor)
        return cls(layout, turn, sizes)

    @property
    def root(self) -> np.ndarray:
        """The factor in these axes, diagonal, shape (q, q)."""
        return np.diag(self.sizes)

    def factor(self, root: np.ndarray) -> np.ndarray:
        """Return the lower-triangular factor, in the term's own columns, of a root in these."""
        return lower_factor(root if self.layout.q == 1 else self.turn @ root)

    def score(self, score: np.ndarray) -> np.ndarray:
        """Turn the score of the covariance matrix."""
        return self.turn.T @ score @ self.turn

    def jacobian(self) -> np.ndarray:
        """Return the derivative of the covariance's elements by its elements in these axes."""
        rows, columns, turn = self.layout.rows, self.layout.columns, self.turn
        straight = turn[np.ix_(rows, rows)] * turn[np.ix_(columns, columns)]
        crossed = turn[np.ix_(rows, columns)] * turn[np.ix_(columns, rows)]
        return straight + crossed * (rows != columns)
