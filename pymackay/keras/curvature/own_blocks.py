"""`OwnBlocks`: small blocks on the diagonal of J'HJ, variable by variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pymackay.keras.curvature.columns import Columns, Part
from pymackay.keras.curvature.jacobian import add_by_level, jacobian, variables_of, whitened
from pymackay.keras.network.taps import DenseTap, FullRows, Piece, TableTap

_HELD = 1e-8  # of their own curvature: what keeps blocks of weights without a prior regular


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
        for i, pieces_of in calls.items():
            if len(pieces_of) == 1 and _used_once(pieces_of[0]):
                self._add_once(i, pieces_of[0], root)
            else:
                self._add_rows(i, pieces_of, root)

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
        products = np.einsum("nkja,nkjb->njab", parts, parts)
        if isinstance(piece, TableTap):
            add_by_level(blocks.reshape(-1, products[0].size), piece.codes[:, 0], products)
        else:
            total = (piece.inputs[:, 0] ** 2).T @ products.reshape(len(products), -1)
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

    def inverse_roots(
        self, roots: Sequence[np.ndarray], fixed: bool, damping: float = 0.0
    ) -> tuple[dict[int, np.ndarray], float, int]:
        """Return G with (Λ'AΛ + D)⁻¹ = G'G by variable, log determinant, undetermined weights.

        The diagonal of M = Λ'AΛ + D is multiplied by 1 + damping. Blocks of weights without a
        prior are zero unless `fixed`; what the data do not determine of them is held.
        """
        result, log_det, floored = {}, 0.0, 0
        for i, blocks in self.blocks.items():
            free = self.columns.spans[i].group < 0
            if free and not fixed:
                result[i] = np.zeros_like(blocks)
                continue
            matrix, place = self._scaled(i, roots), np.arange(self.widths[i])
            if free:
                unknown = np.einsum("jaa->j", matrix) <= 0.0
                floored += len(place) * int(np.count_nonzero(unknown))
                matrix[:, place, place] += unknown[:, None]
                if len(place) > 1:
                    matrix[:, place, place] *= 1.0 + _HELD
            matrix[:, place, place] *= 1.0 + damping
            factor = np.linalg.cholesky(matrix)
            log_det += 2.0 * float(np.log(factor[:, place, place]).sum())
            result[i] = np.linalg.inv(factor)
        return result, log_det, floored

    def _scaled(self, i: int, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return the blocks of M = Λ'AΛ + D of one variable, (rows, w, w)."""
        span, w = self.columns.spans[i], self.widths[i]
        if span.group < 0:
            return self.blocks[i].copy()
        F, place = roots[span.group], np.arange(w)
        result = F.T @ self.blocks[i] @ F if span.q > 1 else F[0, 0] ** 2 * self.blocks[i]
        result[:, place, place] += 1.0
        return np.asarray(result)

    def diagonal(self, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return the diagonal of M, (P,); 0 for other variables."""
        size = np.zeros(self.columns.size)
        for i in self.blocks:
            size[self.columns.spans[i].slice] = np.einsum("jaa->ja", self._scaled(i, roots)).ravel()
        return size

    def free_curvature(self) -> np.ndarray:
        """Return the own curvature of the weights that have no prior, (P,); 0 for others."""
        size = np.zeros(self.columns.size)
        for i, blocks in self.blocks.items():
            if self.columns.spans[i].group < 0:
                size[self.columns.spans[i].slice] = np.einsum("jaa->ja", blocks).ravel()
        return size

    def solve(
        self, inverse_roots: Mapping[int, np.ndarray], vectors: np.ndarray, part: Part
    ) -> np.ndarray:
        """Return the blocks' inverses times X of a part; zero for other variables."""
        result = np.zeros_like(vectors)
        for i, G in inverse_roots.items():
            if i in part.spans:
                span = part.spans[i]
                rows = vectors[span.slice].reshape(len(G), G.shape[1], -1)
                result[span.slice] = (G.transpose(0, 2, 1) @ (G @ rows)).reshape(span.size, -1)
        return result

    def traces(
        self, inverse_roots: Mapping[int, np.ndarray]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return Σ_j [M⁻¹]_jj of every variable, (q, q), and the diagonal of M⁻¹, (P,)."""
        spans = self.columns.spans
        sums = [np.zeros((span.q, span.q)) for span in spans]
        diagonal = np.ones(self.columns.size)
        for i, G in inverse_roots.items():
            rows, q = G.reshape(-1, G.shape[1]), spans[i].q
            total = rows.T @ rows
            sums[i] = total if len(total) == q else np.trace(total).reshape(1, 1)
            diagonal[spans[i].slice] = np.einsum("jba,jba->ja", G, G).reshape(-1)
        return sums, diagonal


def _used_once(piece: Piece) -> bool:
    return isinstance(piece, FullRows) or piece.slopes.shape[2] == 1
