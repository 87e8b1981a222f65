"""From the elements of G to those of a factor: the chain rule through ``G = T⁻¹ M M' T⁻ᵀ``."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.layout import TermLayout


def jacobian(inverse: np.ndarray, factor: np.ndarray, layout: TermLayout) -> np.ndarray:
    """Return the derivatives of a term's G by the elements of its lower factor M, (m, m).

    Parameters
    ----------
    inverse : numpy.ndarray, shape (q, q)
        T⁻¹, with the effects of M in any order as its columns.
    factor : numpy.ndarray, shape (q, q)
        M.
    layout : TermLayout
        Rows and columns of the elements, of G as of M.
    """
    left = inverse[:, layout.rows]
    right = (inverse @ factor)[:, layout.columns]
    return left[layout.rows] * right[layout.columns] + left[layout.columns] * right[layout.rows]


def bend(inverse: np.ndarray, score: np.ndarray, layout: TermLayout) -> np.ndarray:
    """Return what the second derivatives of G by M's elements add to a curvature, (m, m).

    Elements of one column of M share a second derivative. The score is that of G's elements, an
    off-diagonal one standing for both its places.
    """
    S = np.zeros((layout.q, layout.q))
    S[layout.rows, layout.columns] = 0.5 * score
    user = inverse.T @ (S + S.T) @ inverse
    same = layout.columns[:, None] == layout.columns
    return 2.0 * same * user[layout.rows][:, layout.rows]
