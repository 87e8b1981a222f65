"""Principal axes of the terms' covariance matrices: the coordinates that the optimiser steps in.

A lower-triangular factor is a poor coordinate where its first effect hardly varies: a turn of the
covariance matrix is then a long arc in the other elements, which Newton's straight steps follow
by inches. With the axes turned so that the factor is diagonal, the largest first, every such turn
is short, and a covariance matrix that loses rank loses its last column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import TermLayout, lower_factor
from pymackay.solve.solver import Evaluation

__all__ = ["Axes", "in_axes"]


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
        """Return the gradient by the root, (m,), and what the score adds to the curvature, (m, m).

        Elements of one column of the root share the score's part.
        """
        rows, columns = self.layout.rows, self.layout.columns
        turned = self.turn.T @ score @ self.turn
        bending = 2.0 * (columns[:, None] == columns) * turned[rows][:, rows]
        return 2.0 * self.sizes[columns] * turned[rows, columns], bending


def in_axes(evaluation: Evaluation, axes: list[Axes]) -> tuple[np.ndarray, np.ndarray]:
    """Carry score and curvature from the covariances to the roots' elements by the chain rule.

    Returns
    -------
    gradient : numpy.ndarray, shape (m,)
    curvature : numpy.ndarray, shape (m, m)
        At the roots that `axes` hold, in theta's order.
    """
    m = len(evaluation.curvature)
    gradient = np.empty(m)
    jacobian = np.zeros((m, m))
    bending = np.zeros((m, m))
    for a, score in zip(axes, evaluation.score, strict=True):
        span = slice(a.layout.start, a.layout.stop)
        jacobian[span, span] = a.jacobian()
        gradient[span], bending[span, span] = a.slopes(score)
    return gradient, jacobian.T @ evaluation.curvature @ jacobian + bending
