"""`OwnBlocks`: small blocks on the diagonal of J'HJ, variable by variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pymackay.keras.curvature.columns import Columns, wide_root
from pymackay.keras.curvature.jacobian import jacobian, variables_of, whitened
from pymackay.keras.network.taps import DenseTap, FullRows, Piece, TableTap


class OwnBlocks:
    """The w x w blocks of J'HJ of some variables; memory linear in the weights.

    Parameters
    ----------
    columns : Columns
    widths : mapping of int to int
        Variable to w: 1, the group's q, or the columns of a table.
    """

    def __init__(self, columns: Columns, widths: Mapping[int, int]) -> None:
        self.columns = columns
        self.widths = dict(widths)
        spans = columns.spans
        self.blocks = {i: np.zeros((spans[i].size // w, w, w)) for i, w in widths.items()}

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the rows of a chunk; several calls of one layer add up within a row."""
        calls: dict[int, list[Piece]] = {}
        for piece in pieces:
            for i in variables_of(piece):
                if i in self.blocks:
                    calls.setdefault(i, []).append(piece)
        for i, own in calls.items():
            if len(own) == 1 and _used_once(own[0]):
                self._add_once(i, own[0], root)
            else:
                self._add_rows(i, own, root)

    def _add_once(self, i: int, piece: Piece, root: np.ndarray) -> None:
        """Add the squares of a layer that is used once per row, without its Jacobian."""
        blocks, w = self.blocks[i], self.widths[i]
        if isinstance(piece, FullRows):
            rows = whitened(piece.rows, root).reshape(-1, len(blocks), w)
            blocks += np.einsum("nja,njb->jab", rows, rows)
            return
        slopes = whitened(piece.slopes, root)[:, :, 0]
        parts = slopes.reshape(*slopes.shape[:2], -1, w)
        if isinstance(piece, DenseTap) and i == piece.bias:
            blocks += np.einsum("nkja,nkjb->jab", parts, parts)
            return
        own = np.einsum("nkja,nkjb->njab", parts, parts)
        if isinstance(piece, TableTap):
            shaped = blocks.reshape(-1, *own.shape[1:])
            np.add.at(shaped, piece.codes[:, 0], own)
        else:
            total = (piece.inputs[:, 0] ** 2).T @ own.reshape(len(own), -1)
            blocks += total.reshape(blocks.shape)

    def _add_rows(self, i: int, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the squares of Jacobian rows that are sums over several uses of a variable."""
        n_rows, w = root.shape[0] * root.shape[-1], self.widths[i]
        parts = [
            part
            for piece in pieces
            for j, part in jacobian(self.columns.sizes, piece, root, n_rows)
            if i == j
        ]
        total = sum(parts[1:], parts[0])
        for a in range(w):
            for b in range(w):
                first, second = total[:, a::w], total[:, b::w]
                product = first.multiply(second) if hasattr(first, "multiply") else first * second
                self.blocks[i][:, a, b] += np.asarray(product.sum(axis=0)).reshape(-1)

    def inverses(
        self, roots: Sequence[np.ndarray], fixed: bool, damping: float = 0.0
    ) -> tuple[dict[int, np.ndarray], float, int]:
        """Return (Λ'AΛ + D)⁻¹ by variable, its log determinant, and the undetermined weights.

        The diagonal of M = Λ'AΛ + D is multiplied by 1 + damping.
        Blocks of weights without a prior are zero unless `fixed`; undetermined ones are held.
        """
        inverses, log_det, floored = {}, 0.0, 0
        for i, scaled in self.scaled(roots).items():
            if self.columns.spans[i].group < 0 and not fixed:
                inverses[i] = np.zeros_like(scaled)
                continue
            eye = np.eye(self.widths[i])
            unknown = np.einsum("jaa->j", scaled) <= 0.0
            floored += len(eye) * int(np.count_nonzero(unknown))
            matrix = (scaled + unknown[:, None, None] * eye) * (1.0 + damping * eye)
            log_det += float(np.linalg.slogdet(matrix)[1].sum())
            inverses[i] = np.linalg.inv(matrix)
        return inverses, log_det, floored

    def scaled(self, roots: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Return the blocks of M = Λ'AΛ + D by variable, (rows, w, w)."""
        result = {}
        for i, blocks in self.blocks.items():
            span, w = self.columns.spans[i], self.widths[i]
            result[i] = blocks
            if span.group >= 0:
                F = roots[span.group] if w == span.q else wide_root(span, roots)
                result[i] = F.T @ blocks @ F + np.eye(w)
        return result

    def solve(self, inverses: Mapping[int, np.ndarray], vectors: np.ndarray) -> np.ndarray:
        """Return the blocks' inverses times X, (P, S); zero for other variables."""
        result = np.zeros_like(vectors)
        for i, inverse in inverses.items():
            span = self.columns.spans[i]
            rows = vectors[span.slice].reshape(len(inverse), inverse.shape[1], -1)
            result[span.slice] = (inverse @ rows).reshape(span.size, -1)
        return result

    def traces(self, inverses: Mapping[int, np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Return Σ_j [M⁻¹]_jj of every variable, (q, q), and the diagonal of M⁻¹, (P,)."""
        spans = self.columns.spans
        sums = [np.zeros((span.q, span.q)) for span in spans]
        diagonal = np.ones(self.columns.size)
        for i, inverse in inverses.items():
            total, q = inverse.sum(axis=0), spans[i].q
            sums[i] = total if len(total) == q else np.trace(total).reshape(1, 1)
            diagonal[spans[i].slice] = np.einsum("jaa->ja", inverse).reshape(-1)
        return sums, diagonal


def _used_once(piece: Piece) -> bool:
    return isinstance(piece, FullRows) or piece.slopes.shape[2] == 1
