"""`JacobianRows`: the whitened Jacobian kept in factors, and its products with vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.jacobian import jacobian, whitened
from pymackay.keras.network.taps import DenseTap, Piece


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a chunk: n·K of them.

    Attributes
    ----------
    shape : tuple of int
        (n, K).
    dense : list of DenseTap
        Slopes whitened.
    matrices : list of (int, array or sparse matrix)
        Variable and its rows, (n·K, size).
    """

    shape: tuple[int, int]
    dense: list[DenseTap]
    matrices: list[tuple[int, np.ndarray | sp.csr_matrix]]


@dataclass(eq=False)
class JacobianRows:
    """Products with J and J'; memory is that of all layers' inputs and slopes, not n x P.

    Attributes
    ----------
    columns : Columns
    """

    columns: Columns
    _chunks: list[_Rows] = field(default_factory=list)

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Keep the rows of a chunk."""
        shape = (root.shape[0], root.shape[-1])
        dense: list[DenseTap] = []
        matrices: list[tuple[int, np.ndarray | sp.csr_matrix]] = []
        for piece in pieces:
            if isinstance(piece, DenseTap):
                slopes = whitened(piece.slopes, root)
                dense.append(DenseTap(piece.kernel, piece.bias, piece.inputs, slopes))
            else:
                matrices += jacobian(self.columns.sizes, piece, root, shape[0] * shape[1])
        self._chunks.append(_Rows(shape, dense, matrices))

    def gram(self, vectors: np.ndarray) -> np.ndarray:
        """Return J'J X, (P, S)."""
        result = np.zeros_like(vectors)
        for chunk in self._chunks:
            self._transposed(chunk, self._forward(chunk, vectors), result)
        return result

    def _forward(self, chunk: _Rows, vectors: np.ndarray) -> np.ndarray:
        """Return J X, (n·K, S)."""
        n, outputs = chunk.shape
        spans, count = self.columns.spans, vectors.shape[1]
        total = np.zeros((n * outputs, count))
        for i, matrix in chunk.matrices:
            total += matrix @ vectors[spans[i].slice]
        for tap in chunk.dense:
            image = np.zeros((*tap.inputs.shape[:2], tap.slopes.shape[-1], count))
            if tap.kernel >= 0:
                kernel = vectors[spans[tap.kernel].slice].reshape(tap.inputs.shape[-1], -1)
                image += (tap.inputs @ kernel).reshape(image.shape)
            if tap.bias >= 0:
                image += vectors[spans[tap.bias].slice]
            by_row = tap.slopes.reshape(n, outputs, -1)
            total += (by_row @ image.reshape(n, -1, count)).reshape(n * outputs, count)
        return total

    def _transposed(self, chunk: _Rows, rows: np.ndarray, result: np.ndarray) -> None:
        """Add J'R to a result, R being (n·K, S)."""
        n, outputs = chunk.shape
        spans, count = self.columns.spans, rows.shape[1]
        for i, matrix in chunk.matrices:
            result[spans[i].slice] += matrix.T @ rows
        shaped = rows.reshape(n, outputs, count)
        for tap in chunk.dense:
            by_row = tap.slopes.reshape(n, outputs, -1).transpose(0, 2, 1)
            back = (by_row @ shaped).reshape(*tap.inputs.shape[:2], -1, count)
            if tap.bias >= 0:
                result[spans[tap.bias].slice] += back.sum(axis=(0, 1))
            if tap.kernel >= 0:
                inputs = tap.inputs.reshape(-1, tap.inputs.shape[-1])
                product = inputs.T @ back.reshape(len(inputs), -1)
                result[spans[tap.kernel].slice] += product.reshape(-1, count)
