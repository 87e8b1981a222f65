"""`JacobianRows`: the whitened Jacobian kept in factors, and its products with vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from pymackay.keras.curvature.columns import Columns, Span
from pymackay.keras.curvature.jacobian import jacobian, whitened
from pymackay.keras.network.taps import DenseTap, Piece


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a chunk: n·K of them.

    Attributes
    ----------
    shape : tuple of int
        (n, K).
    start : int
        Position of the first among the rows of all chunks.
    dense : list of DenseTap
        Slopes whitened.
    full : list of (int, array)
        Variable and its rows, (n·K, size), of layers that are not tapped.
    """

    shape: tuple[int, int]
    start: int
    dense: list[DenseTap]
    full: list[tuple[int, np.ndarray]]

    @property
    def slice(self) -> slice:
        """The chunk's rows among those of all chunks."""
        return slice(self.start, self.start + self.shape[0] * self.shape[1])


@dataclass(eq=False)
class JacobianRows:
    """Products with J and J'; memory is that of all layers' inputs and slopes, not n x P.

    The rows of a table, which are sparse, are joined over the chunks before the first product: a
    product of one chunk with a table would pass over all the table's weights.

    Attributes
    ----------
    columns : Columns
    """

    columns: Columns
    _chunks: list[_Rows] = field(default_factory=list)
    _parts: list[dict[int, sp.csr_matrix]] = field(default_factory=list)
    _transposes: dict[int, sp.csr_matrix] = field(default_factory=dict)
    _count: int = 0

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Keep the rows of a chunk."""
        shape = (root.shape[0], root.shape[-1])
        n_rows = shape[0] * shape[1]
        chunk = _Rows(shape, self._count, [], [])
        tables: dict[int, sp.csr_matrix] = {}
        for piece in pieces:
            if isinstance(piece, DenseTap):
                slopes = whitened(piece.slopes, root)
                chunk.dense.append(DenseTap(piece.kernel, piece.bias, piece.inputs, slopes))
                continue
            for i, rows in jacobian(self.columns.sizes, piece, root, n_rows):
                if isinstance(rows, np.ndarray):
                    chunk.full.append((i, rows))
                else:
                    tables[i] = tables[i] + rows if i in tables else rows
        self._chunks.append(chunk)
        self._parts.append(tables)
        self._count += n_rows

    @cached_property
    def tables(self) -> dict[int, sp.csr_matrix]:
        """J of every table, all rows, (N, size)."""
        joined = {}
        for i in sorted({i for tables in self._parts for i in tables}):
            size = self.columns.sizes[i]
            parts = [
                tables.pop(i) if i in tables else sp.csr_matrix((np.prod(chunk.shape), size))
                for chunk, tables in zip(self._chunks, self._parts, strict=True)
            ]
            joined[i] = sp.vstack(parts, format="csr")
        return joined

    def _transpose(self, i: int) -> sp.csr_matrix:
        """Return the transpose of the rows of a table, by rows, (size, N)."""
        if i not in self._transposes:
            self._transposes[i] = self.tables[i].T.tocsr()
        return self._transposes[i]

    def forward(self, vectors: np.ndarray, spans: Mapping[int, Span]) -> np.ndarray:
        """Return J X of the variables that have a span, (N, S)."""
        image = np.zeros((self._count, vectors.shape[1]))
        for i, matrix in self.tables.items():
            if i in spans:
                image += matrix @ vectors[spans[i].slice]
        for chunk in self._chunks:
            image[chunk.slice] += _forward(chunk, vectors, spans)
        return image

    def back(self, rows: np.ndarray, spans: Mapping[int, Span]) -> np.ndarray:
        """Return J'R of the variables that have a span, one after another, (size, S)."""
        size = max((span.stop for span in spans.values()), default=0)
        result = np.zeros((size, rows.shape[1]))
        for i in self.tables:
            if i in spans:
                result[spans[i].slice] = self._transpose(i) @ rows
        for chunk in self._chunks:
            _add_back(chunk, rows[chunk.slice], spans, result)
        return result


def _forward(chunk: _Rows, vectors: np.ndarray, spans: Mapping[int, Span]) -> np.ndarray:
    """Return J X of a chunk without its tables, (n·K, S)."""
    n, outputs = chunk.shape
    count = vectors.shape[1]
    total = np.zeros((n * outputs, count))
    for i, matrix in chunk.full:
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


def _add_back(
    chunk: _Rows, rows: np.ndarray, spans: Mapping[int, Span], result: np.ndarray
) -> None:
    """Add J'R of a chunk without its tables to a result, R being (n·K, S)."""
    n, outputs = chunk.shape
    count = rows.shape[1]
    for i, matrix in chunk.full:
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
