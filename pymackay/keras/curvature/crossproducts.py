"""`ExactSums`: cross-products of the Jacobian rows, the largest table kept level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp

from pymackay.keras.curvature.columns import Columns, scale_columns, wide_root
from pymackay.keras.curvature.determined import Determined
from pymackay.keras.curvature.exact import Blocks, Factorised, factorise
from pymackay.keras.curvature.jacobian import jacobian
from pymackay.keras.network.taps import Piece, TableTap


class ExactSums:
    """J'HJ in three parts: levels of one table, their products with the rest, the rest.

    Parameters
    ----------
    columns : Columns
    eliminated : int
        Position of the variable whose levels are eliminated first; −1: none. Every row of the
        data uses one of its levels, so that J'HJ is block-diagonal there.
    """

    def __init__(self, columns: Columns, eliminated: int) -> None:
        self.columns, self.eliminated = columns, eliminated
        self.rest = [i for i in range(len(columns.spans)) if i != eliminated]
        sizes = [columns.spans[i].size for i in self.rest]
        self.starts = dict(zip(self.rest, np.cumsum([0, *sizes]), strict=False))
        n_rest = sum(sizes)
        self.products = np.zeros((n_rest, n_rest))
        levels, width = columns.spans[eliminated].shape if eliminated >= 0 else (0, 1)
        self.blocks = np.zeros((levels, width, width))
        self.coupling = np.zeros((levels * width, n_rest))
        self._last: tuple[Sequence[np.ndarray], Factorised] | None = None

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the rows of a chunk."""
        n_rows = root.shape[0] * root.shape[-1]
        dense, tables = _by_variable(self.columns.sizes, pieces, root, n_rows)
        for i, rows in dense.items():
            for j, others in dense.items():
                if self.starts[i] <= self.starts[j]:
                    self._put(i, j, rows.T @ others)
            for j, table in tables.items():
                self._put(j, i, table.T @ rows)
        for i, table in tables.items():
            for j, other in tables.items():
                if i == j == self.eliminated:
                    self._add_blocks(table)
                elif j == self.eliminated or (i <= j and i != self.eliminated):
                    self._put(j, i, (other.T @ table).toarray())

    def _put(self, i: int, j: int, product: np.ndarray) -> None:
        """Add J_i'HJ_j to the part that holds it, and its transpose."""
        at = self.starts
        if i == self.eliminated:
            self.coupling[:, at[j] : at[j] + product.shape[1]] += product
            return
        rows, cols = slice(at[i], at[i] + product.shape[0]), slice(at[j], at[j] + product.shape[1])
        self.products[rows, cols] += product
        if i != j:
            self.products[cols, rows] += product.T

    def _add_blocks(self, table: sp.csr_matrix) -> None:
        """Add the q x q blocks of a table of which every row uses one level."""
        width = self.blocks.shape[1]
        values = table.data.reshape(-1, width)
        levels = table.indices.reshape(-1, width)[:, 0] // width
        np.add.at(self.blocks, levels, values[:, :, None] * values[:, None, :])

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T and log|M|, without approximation."""
        factors = factorise(self.scaled(roots), fixed=reml)
        self._last = (roots, factors) if reml else None
        return factors.determined()

    def solver(
        self, roots: Sequence[np.ndarray], damping: float = 0.0
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return x ↦ (M + damping diag M)⁻¹x."""
        return factorise(self.scaled(roots, damping), fixed=True).solve

    def length(self, roots: Sequence[np.ndarray], vector: np.ndarray) -> float:
        """Return x'M⁻¹x; the factor of `determine` serves where the roots are the same."""
        if self._last is not None and self._last[0] is roots:
            return float(vector @ self._last[1].solve(vector))
        return float(vector @ self.solver(roots)(vector))

    def scaled(self, roots: Sequence[np.ndarray], damping: float = 0.0) -> Blocks:
        """Return the parts of M = Λ'(J'HJ)Λ + D, its diagonal times 1 + damping."""
        spans = self.columns.spans
        rest = [spans[i] for i in self.rest]
        products = scale_columns(scale_columns(self.products, rest, roots).T, rest, roots)
        penalised = [np.full(span.size, float(span.group >= 0)) for span in rest]
        products[np.diag_indices_from(products)] += np.concatenate([*penalised, np.zeros(0)])
        products[np.diag_indices_from(products)] *= 1.0 + damping
        coupling = scale_columns(self.coupling, rest, roots)
        blocks = self.blocks
        if self.eliminated >= 0:
            span = spans[self.eliminated]
            F = wide_root(span, roots)
            blocks = F.T @ blocks @ F + (span.group >= 0) * np.eye(len(F))
            blocks = blocks * (1.0 + damping * np.eye(len(F)))
            by_level = F.T @ coupling.reshape(len(blocks), len(F), coupling.shape[1])
        else:
            by_level = coupling.reshape(0, 1, coupling.shape[1])
        return Blocks(blocks, by_level, products, tuple(self.rest), self.eliminated, self.columns)


def _by_variable(
    sizes: Sequence[int], pieces: Sequence[Piece], root: np.ndarray, n_rows: int
) -> tuple[dict[int, np.ndarray], dict[int, sp.csr_matrix]]:
    """Return the whitened Jacobian (n·K, size) of each variable: dense, or sparse for tables."""
    dense: dict[int, np.ndarray] = {}
    tables: dict[int, sp.csr_matrix] = {}
    for piece in pieces:
        for i, part in jacobian(sizes, piece, root, n_rows):
            kind = tables if isinstance(piece, TableTap) else dense
            kind[i] = kind[i] + part if i in kind else part
    both = set(dense) & set(tables)
    for i in both:
        dense[i] = dense[i] + tables.pop(i).toarray()
    return dense, tables
