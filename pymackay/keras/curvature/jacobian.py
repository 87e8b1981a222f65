"""`jacobian`: the rows of a piece of a linearisation as matrices, by variable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from pymackay.keras.network.taps import DenseTap, FullRows, Piece, TableTap


def whitened(slopes: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return R'J: Jacobian rows (n, K, ...) whose plain squares are J'HJ."""
    if root.ndim == 2:
        return slopes * root.reshape(*root.shape, *[1] * (slopes.ndim - 2))
    return np.einsum("nkr,nk...->nr...", root, slopes)


def jacobian(
    sizes: Sequence[int], piece: Piece, root: np.ndarray, n_rows: int
) -> list[tuple[int, np.ndarray | sp.csr_matrix]]:
    """Return the whitened Jacobian rows of a piece, (n·K, size), by variable."""
    if isinstance(piece, FullRows):
        return [(piece.variable, whitened(piece.rows, root).reshape(n_rows, -1))]
    slopes = whitened(piece.slopes, root)
    if isinstance(piece, DenseTap):
        parts: list[tuple[int, np.ndarray | sp.csr_matrix]] = []
        if piece.kernel >= 0:
            product = np.einsum("nti,nkto->nkio", piece.inputs, slopes, optimize=True)
            parts.append((piece.kernel, product.reshape(n_rows, -1)))
        if piece.bias >= 0:
            parts.append((piece.bias, slopes.sum(axis=2).reshape(n_rows, -1)))
        return parts
    return [] if piece.table < 0 else [(piece.table, _sparse(sizes[piece.table], piece, slopes))]


def _sparse(size: int, tap: TableTap, slopes: np.ndarray) -> sp.csr_matrix:
    n, outputs, uses, width = slopes.shape
    first = np.repeat(tap.codes[:, None, :] * width, outputs, axis=1)
    indices = (first[..., None] + np.arange(width)).reshape(-1)
    pointers = np.arange(n * outputs + 1) * (uses * width)
    matrix = sp.csr_matrix((slopes.reshape(-1), indices, pointers), shape=(n * outputs, size))
    if uses > 1:
        matrix.sum_duplicates()
    return matrix


def add_by_level(target: np.ndarray, codes: np.ndarray, values: np.ndarray) -> None:
    """Add values (n, ...) to the rows of a target (levels, size) that the codes (n,) name."""
    levels, place = np.unique(codes, return_inverse=True)
    pointers = np.arange(len(codes) + 1)
    used = sp.csr_matrix((np.ones(len(codes)), place, pointers), shape=(len(codes), len(levels)))
    target[levels] += used.T @ values.reshape(len(codes), -1)


def thinned(pieces: Sequence[Piece], stride: int) -> list[Piece]:
    """Return every `stride`-th data row of the pieces of a chunk."""
    if stride == 1:
        return list(pieces)
    rows = slice(None, None, stride)
    result: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, FullRows):
            result.append(FullRows(piece.variable, piece.rows[rows]))
        elif isinstance(piece, TableTap):
            result.append(TableTap(piece.table, piece.codes[rows], piece.slopes[rows]))
        else:
            inputs, slopes = piece.inputs[rows], piece.slopes[rows]
            result.append(DenseTap(piece.kernel, piece.bias, inputs, slopes))
    return result


def variables_of(piece: Piece) -> list[int]:
    """Return the positions of the trainable variables that a piece has Jacobian rows of."""
    if isinstance(piece, DenseTap):
        return [i for i in (piece.kernel, piece.bias) if i >= 0]
    i = piece.table if isinstance(piece, TableTap) else piece.variable
    return [i] if i >= 0 else []
