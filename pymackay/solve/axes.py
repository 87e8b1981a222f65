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

    def jacobian(self) -> np.ndarray:
        """Return the derivative of the covariance's elements by those of the root, (m, m).

        With u the axes and s their sizes: by element (a, b), ``s_b (u_a u_b' + u_b u_a')``.
        """
        rows, columns = self.layout.rows, self.layout.columns
        first, second = self.turn[rows], self.turn[columns]
        straight = first[:, rows] * second[:, columns]
        return self.sizes[columns] * (straight + first[:, columns] * second[:, rows])

    def slopes(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the criterion's gradient by the root, (m,), and the score's own part of its
        curvature, (m, m): elements of one column share it.
        """
        rows, columns = self.layout.rows, self.layout.columns
        turned = self.turn.T @ score @ self.turn
        bending = 2.0 * (columns[:, None] == columns) * turned[rows][:, rows]
        return 2.0 * self.sizes[columns] * turned[rows, columns], bending
