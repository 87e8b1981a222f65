"""The trace part of the criterion's observed curvature, from Z'PZ as one dense matrix.

For elements i and j of G on blocks g and h, ``tr(P V̇_i P V̇_j) = tr(Z_h'PZ_g E_i Z_g'PZ_h E_j)``
summed over levels. With Z_g'PZ_h laid out as a matrix of (effects of g × effects of h) by
(levels of g × levels of h), every pair of elements comes out of one product of it with itself.
"""

from __future__ import annotations

import numpy as np

from pymackay.model.sums.gram import Block
from pymackay.solve.linalg.blas import product


def projected_gram(
    H: np.ndarray, NC: np.ndarray, K: np.ndarray, Q: np.ndarray, projection: np.ndarray
) -> np.ndarray:
    """Return Z'PZ of all blocks, the leading one first.

    Parameters
    ----------
    H : numpy.ndarray, shape (J, q, q)
        ``Z_j'V₁⁻¹Z_j``.
    NC : numpy.ndarray, shape (J q, m)
        ``Z_1'V₁⁻¹R``.
    K : numpy.ndarray, shape (m, m)
        ``R'V₁⁻¹R``.
    Q : numpy.ndarray, shape (m, m)
    projection : numpy.ndarray, shape (m, size)
        ``I − Q K``, its columns of random effects, which come first.
    """
    J, q = H.shape[:2]
    first, size = J * q, projection.shape[1]
    ZPZ = np.empty((first + size, first + size))
    ZPZ[:first, first:] = product(NC, projection)
    ZPZ[first:, :first] = ZPZ[:first, first:].T
    ZPZ[first:, first:] = product(K[:size], projection)
    ZPZ[:first, :first] = product(product(NC, -Q), NC.T)
    rows = np.arange(first).reshape(J, q)
    ZPZ[rows[:, :, None], rows[:, None, :]] += H
    return ZPZ


def trace_curvature(
    ZPZ: np.ndarray, blocks: tuple[Block, ...], bases: list[np.ndarray]
) -> np.ndarray:
    """Return ``tr(P V̇_i P V̇_j)`` for all elements, ordered block by block.

    Parameters
    ----------
    ZPZ : numpy.ndarray
        From `projected_gram`.
    blocks : tuple of Block
    bases : list of numpy.ndarray, each (m_g, q_g, q_g)
        dG/dG_i of each block's elements.
    """
    counts = np.cumsum([0, *(len(basis) for basis in bases)])
    starts = np.cumsum([0, *(block.size for block in blocks)])
    curvature = np.empty((counts[-1], counts[-1]))
    for g, (block_g, basis_g) in enumerate(zip(blocks, bases, strict=True)):
        for h, (block_h, basis_h) in enumerate(zip(blocks[: g + 1], bases[: g + 1], strict=True)):
            part = ZPZ[starts[g] : starts[g + 1], starts[h] : starts[h + 1]]
            pair = _pair(part, block_g, block_h, basis_g, basis_h)
            curvature[counts[g] : counts[g + 1], counts[h] : counts[h + 1]] = pair
            curvature[counts[h] : counts[h + 1], counts[g] : counts[g + 1]] = pair.T
    return curvature


def _pair(
    part: np.ndarray, g: Block, h: Block, basis_g: np.ndarray, basis_h: np.ndarray
) -> np.ndarray:
    """Return ``Σ tr(E_i P E_j P')``, (m_g, m_h), over the levels' blocks P of `part`.

    Each by itself if there are few derivatives, as of a structure; else from the sums of products
    of all pairs of elements, (q_g q_h)² of them.
    """
    by_level = part.reshape(g.n_levels, g.q, h.n_levels, h.q)
    if len(basis_g) * (g.q + h.q) < g.q * h.q:
        return np.array([_along(by_level, E, basis_h) for E in basis_g])
    laid = by_level.transpose(1, 3, 0, 2).reshape(g.q * h.q, -1)
    products = product(laid, laid.T).reshape(g.q, h.q, g.q, h.q)
    crossed = products.transpose(0, 2, 1, 3).reshape(g.q * g.q, h.q * h.q)
    return basis_g.reshape(len(basis_g), -1) @ crossed @ basis_h.reshape(len(basis_h), -1).T


def _along(by_level: np.ndarray, E: np.ndarray, basis_h: np.ndarray) -> np.ndarray:
    """Return ``Σ tr(E P E_j P')``, (m_h,), of P by levels, (J, q_g, K, q_h), for one E."""
    J, q_g, K, q_h = by_level.shape
    turned = np.matmul(E, by_level.reshape(J, q_g, K * q_h)).reshape(-1, q_h)
    summed = product(turned.T, by_level.reshape(-1, q_h))
    return basis_h.reshape(len(basis_h), -1) @ summed.ravel()
