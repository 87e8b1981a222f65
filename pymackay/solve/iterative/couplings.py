"""How grouping factors are coupled: products with ``Z_k' Z_l``, in float64 and in float32."""

from __future__ import annotations

from functools import cached_property
from itertools import product

import numpy as np
import scipy.sparse as sp

from pymackay.model.sums.level_pairs import LevelPairs
from pymackay.model.sums.sparse_gram import SparseGram
from pymackay.solve.iterative.parts import separate_parts

__all__ = ["Couplings", "block_times"]


def block_times(blocks: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Multiply each level's rows of `x`, shape (J q, k), by its matrix of `blocks`, (J, q, q)."""
    J, q = blocks.shape[:2]
    if q == 1:
        return blocks.reshape(-1, 1) * x
    return np.matmul(blocks, x.reshape(J, q, -1)).reshape(J * q, -1)


class Couplings:
    """The sparse matrices of a `SparseGram`, ready for products.

    Parameters
    ----------
    gram : SparseGram

    Attributes
    ----------
    n_others : int
        Grouping factors besides the leading one.
    slices : list of slice
        Where each of them stands among the effects that are not eliminated.
    size : int
        Number of those effects.
    entries : int
        Numbers stored in the couplings.
    """

    def __init__(self, gram: SparseGram) -> None:
        self.gram = gram
        self.n_others = len(gram.blocks) - 1
        self.slices: list[slice] = []
        self.size = 0
        for block in gram.blocks[1:]:
            self.slices.append(slice(self.size, self.size + block.size))
            self.size += block.size
        self.entries = sum(pairs.values.size for pairs in gram.pairs.values())
        self._matrices = {
            np.dtype(dtype): {key: pairs.matrix(dtype) for key, pairs in gram.pairs.items()}
            for dtype in (np.float64, np.float32)
        }
        self._diagonals = {
            np.dtype(dtype): [d.astype(dtype, copy=False) for d in gram.diagonals[1:]]
            for dtype in (np.float64, np.float32)
        }

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """Which separate part of the design each level of the other blocks stands in."""
        return separate_parts(self.gram)

    def to_lead(self, x: np.ndarray) -> np.ndarray:
        """Return ``Z_1' Z_2 x``, shape (J q, k), for effects x of the other blocks."""
        matrices = self._matrices[x.dtype]
        parts = [matrices[0, k + 1] @ x[span] for k, span in enumerate(self.slices)]
        return parts[0] if len(parts) == 1 else sum(parts[1:], start=parts[0])

    def from_lead(self, v: np.ndarray) -> np.ndarray:
        """Return ``Z_2' Z_1 v``, shape (size, k)."""
        matrices = self._matrices[v.dtype]
        parts = [matrices[0, k + 1].T @ v for k in range(self.n_others)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def lead_matrix(self) -> sp.csr_matrix:
        """Return ``Z_1' Z_2``, shape (J q, size)."""
        matrices = self._matrices[np.dtype(np.float64)]
        return sp.hstack([matrices[0, k + 1] for k in range(self.n_others)], format="csr")

    def among(self, x: np.ndarray) -> np.ndarray:
        """Return ``Z_2' Z_2 x``, shape (size, k)."""
        matrices, diagonals = self._matrices[x.dtype], self._diagonals[x.dtype]
        found = np.empty_like(x)
        for k, span in enumerate(self.slices):
            found[span] = block_times(diagonals[k], x[span])
        for k, m in product(range(self.n_others), repeat=2):
            if k < m:
                C = matrices[k + 1, m + 1]
                found[self.slices[k]] += C @ x[self.slices[m]]
                found[self.slices[m]] += C.T @ x[self.slices[k]]
        return found

    def column_quadratics(self, k: int, F: np.ndarray) -> np.ndarray:
        """Return ``Σ_i C_ij' F_i C_ij`` for each level j of the other block k, (J_k, q, q)."""
        pairs = self.gram.pairs[0, k + 1]
        return _sandwich(pairs, F, transposed=True)

    def row_quadratics(self, k: int, W: np.ndarray) -> np.ndarray:
        """Return ``Σ_j C_ij W_j C_ij'`` for each leading level i, (J, q, q); W on block k."""
        pairs = self.gram.pairs[0, k + 1]
        return _sandwich(pairs, W, transposed=False)


def _sandwich(pairs: LevelPairs, middle: np.ndarray, *, transposed: bool) -> np.ndarray:
    """Sum ``C' M C`` over the pairs in each column, or ``C M C'`` over those in each row."""
    values = pairs.values.swapaxes(1, 2) if transposed else pairs.values
    outer, inner = values.shape[1:]
    levels = pairs.n_columns if transposed else pairs.n_rows
    found = np.zeros((levels, outer, outer))
    for a in range(outer):
        for b in range(a + 1):
            for c, d in product(range(inner), repeat=2):
                squares = np.multiply(values[:, a, c], values[:, b, d], dtype=np.float64)
                matrix = pairs.component(squares)
                side: sp.spmatrix = matrix.T if transposed else matrix
                found[:, a, b] += side @ np.ascontiguousarray(middle[:, c, d])
            found[:, b, a] = found[:, a, b]
    return found
