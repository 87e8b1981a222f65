"""`DiagonalSums`: the own curvature of every weight, all products between weights left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pymackay.keras.curvature.columns import Columns, by_group
from pymackay.keras.curvature.determined import Determined, whitened
from pymackay.keras.linearise import DenseTap, FullRows, Piece, TableTap


class DiagonalSums:
    """The q x q block of J'HJ of every row of every group's table; memory linear in the weights.

    Parameters
    ----------
    columns : Columns

    Notes
    -----
    With T = J·I − Σ_j (F'A_jF + 1)⁻¹ from own curvatures A_j only, γ is too large where weights
    stand in for each other.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.blocks = [np.zeros((span.size // span.q, span.q, span.q)) for span in columns.spans]

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the rows of a chunk; several calls of one layer add up within a row."""
        calls: dict[int, list[Piece]] = {}
        for piece in pieces:
            for i in _variables(piece):
                calls.setdefault(i, []).append(piece)
        for i, own in calls.items():
            if len(own) == 1 and _single(own[0]):
                self._add_single(i, own[0], root)
            else:
                self._add_rows(i, own, root)

    def _add_single(self, i: int, piece: Piece, root: np.ndarray) -> None:
        """Add the squares of a layer that is used once per row, without its Jacobian."""
        span, blocks = self.columns.spans[i], self.blocks[i]
        if isinstance(piece, FullRows):
            rows = whitened(piece.rows, root).reshape(-1, len(blocks), span.q)
            blocks += np.einsum("nja,njb->jab", rows, rows)
            return
        slopes = whitened(piece.slopes, root)[:, :, 0]
        if isinstance(piece, TableTap):
            parts = slopes.reshape(*slopes.shape[:2], -1, span.q)
            own = np.einsum("nkja,nkjb->njab", parts, parts)
            shaped = blocks.reshape(span.shape[0], -1, span.q, span.q)
            np.add.at(shaped, piece.codes[:, 0], own)
        elif i == piece.kernel:
            squares = (piece.inputs[:, 0] ** 2).T
            parts = slopes.reshape(*slopes.shape[:2], -1, span.q)
            own = np.einsum("nkja,nkjb->njab", parts, parts)
            total = squares @ own.reshape(len(own), -1)
            blocks += total.reshape(-1, span.q, span.q)
        else:
            parts = slopes.reshape(*slopes.shape[:2], -1, span.q)
            blocks += np.einsum("nkja,nkjb->jab", parts, parts)

    def _add_rows(self, i: int, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the squares of Jacobian rows that are sums over several uses of a variable."""
        from pymackay.keras.curvature.crossproducts import jacobian

        span, n_rows = self.columns.spans[i], root.shape[0] * root.shape[-1]
        total = sum(
            part
            for piece in pieces
            for j, part in jacobian(self.columns.spans, piece, root, n_rows)
            if i == j
        )
        for a in range(span.q):
            for b in range(span.q):
                left, right = total[:, a :: span.q], total[:, b :: span.q]  # type: ignore[index]
                product = left.multiply(right) if hasattr(left, "multiply") else left * right
                self.blocks[i][:, a, b] += np.asarray(product.sum(axis=0)).reshape(-1)

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T and log|M| from every weight's own curvature."""
        sums, log_det, floored = [], 0.0, 0
        for span, blocks in zip(self.columns.spans, self.blocks, strict=True):
            if span.group < 0:
                known = blocks[:, 0, 0] > 0.0
                floored += int(np.count_nonzero(~known))
                log_det += float(np.log(blocks[known, 0, 0]).sum()) if reml else 0.0
                sums.append(np.zeros((1, 1)))
                continue
            root = roots[span.group]
            matrix = root.T @ blocks @ root + np.eye(span.q)
            log_det += float(np.linalg.slogdet(matrix)[1].sum())
            sums.append(np.linalg.inv(matrix).sum(axis=0))
        traces = by_group(self.columns, sums)
        return Determined(traces, [0.0] * len(traces), log_det, floored)

    def solver(self, roots: Sequence[np.ndarray]) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return None: without the products between weights a Newton step overshoots."""
        return None


def _variables(piece: Piece) -> list[int]:
    if isinstance(piece, DenseTap):
        return [i for i in (piece.kernel, piece.bias) if i >= 0]
    i = piece.table if isinstance(piece, TableTap) else piece.variable
    return [i] if i >= 0 else []


def _single(piece: Piece) -> bool:
    return isinstance(piece, FullRows) or piece.slopes.shape[2] == 1
