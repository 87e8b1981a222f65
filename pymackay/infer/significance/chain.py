"""From the elements of G to those of a factor: the chain rule through ``G = T⁻¹ M M' T⁻ᵀ``."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.layout import TermLayout


def jacobian(
    inverse: np.ndarray, factor: np.ndarray, layout: TermLayout, full: TermLayout | None = None
) -> np.ndarray:
    """Return the derivatives of a term's G by the elements of its lower factor M, (m, k).

    Parameters
    ----------
    inverse : numpy.ndarray, shape (q, q)
        T⁻¹, with the effects of M in any order as its columns.
    factor : numpy.ndarray, shape (q, q)
        M.
    layout : TermLayout
        Rows and columns of the k elements of M.
    full : TermLayout, optional
        Those of the m elements of G; by default they are the same.
    """
    full = layout if full is None else full
    of_row = inverse[:, layout.rows]  # dG = T⁻¹ (dM M' + M dM') T⁻ᵀ, dM one element
    of_column = (inverse @ factor)[:, layout.columns]
    i, j = full.rows, full.columns
    return of_row[i] * of_column[j] + of_row[j] * of_column[i]


def bend(
    inverse: np.ndarray, score: np.ndarray, layout: TermLayout, full: TermLayout | None = None
) -> np.ndarray:
    """Return ``Σ_e score_e d²G_e``, by pairs of elements of M, (k, k): a part of a curvature.

    It is zero for elements of different columns of M. `score`, (m,), holds the derivatives by the
    elements of G; that of an off-diagonal element stands for both of its places. The layouts are
    those of `jacobian`.
    """
    full = layout if full is None else full
    S = np.zeros((layout.q, layout.q))
    S[full.rows, full.columns] = 0.5 * score
    user = inverse.T @ (S + S.T) @ inverse
    same = layout.columns[:, None] == layout.columns
    return 2.0 * same * user[layout.rows][:, layout.rows]
