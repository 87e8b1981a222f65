"""Cross-products in sparse form, for the iterative solver.

The dense matrix of all effects by all effects, which grows with the square of the second
factor's levels, is never made: only the pairs of levels that meet in some row are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import block_diag

from pymackay.model.model import Model, level_gram, level_products
from pymackay.model.sums.gram import Bases, Block, Gram, find_bases, weighted_rows
from pymackay.model.sums.level_pairs import GrowingPairs, LevelPairs

_CHUNK = 4_194_304  # rows summed at a time: memory beyond the columns themselves stays bounded


@dataclass(frozen=True, eq=False, kw_only=True)
class SparseGram(Bases):
    """Cross-products as the iterative solver takes them.

    Attributes
    ----------
    diagonals : tuple of numpy.ndarray, each (J, q, q)
        ``Z_j' Z_j`` of each level, block by block.
    pairs : dict of (int, int) to LevelPairs
        ``Z_k' Z_l`` of every two blocks, k < l.
    dense : tuple of numpy.ndarray, each (J q, p + 1)
        ``Z_k' [Q, y]``: X's orthonormal basis, and the response, last.
    dense_gram : numpy.ndarray, shape (p + 1, p + 1)
        ``[Q, y]' [Q, y]``.
    """

    diagonals: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], LevelPairs]
    dense: tuple[np.ndarray, ...]
    dense_gram: np.ndarray

    def dense_form(self) -> Gram:
        """Return the same sums as the exact solver takes them."""
        lead = self.blocks[0]
        others = range(1, len(self.blocks))
        starts = np.cumsum([0, *(self.blocks[k].size for k in others)])
        size = int(starts[-1])
        D = np.zeros((size + self.p + 1,) * 2)
        for k in others:
            rows = slice(starts[k - 1], starts[k])
            D[rows, rows] = block_diag(*self.diagonals[k])
            D[rows, size:] = self.dense[k]
            for m in range(k + 1, len(self.blocks)):
                D[rows, starts[m - 1] : starts[m]] = self.pairs[k, m].matrix().toarray()
        D = np.triu(D) + np.triu(D, 1).T
        D[size:, size:] = self.dense_gram
        C: np.ndarray | sp.csr_matrix = self.dense[0].reshape(lead.n_levels, lead.q, -1)
        if size:
            parts = [self.pairs[0, k].matrix() for k in others]
            C = sp.hstack([*parts, sp.csr_matrix(self.dense[0])], format="csr")
        return Gram(**self.common(), A=self.diagonals[0], C=C, D=D)

    def level_moments(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one block's ``Z_j'Z_j``, (J, q, q), and ``Z_j'[X y]``, (J, q, p + 1)."""
        block = self.blocks[index]
        return self.diagonals[index], self.dense[index].reshape(block.n_levels, block.q, -1)

    def with_response(self, response: np.ndarray) -> SparseGram:
        """Return the cross-products with another response; only those that depend on it change.

        Raises
        ------
        ArgumentError, DataError, PymackayError
            As `pymackay.model.sums.gram.Gram.with_response`.
        """
        model, new_response, sums, last = self.response_sums(response)
        dense = [
            np.column_stack([kept[:, :-1], products.ravel()])
            for kept, products in zip(self.dense, sums, strict=True)
        ]
        total = self.dense_gram.copy()
        total[-1] = total[:, -1] = last
        return replace(
            self, model=model, dense=tuple(dense), dense_gram=total, response=new_response
        )


def sparse_cross_products(model: Model) -> SparseGram:
    """Sum the rows of a model into sparse cross-products.

    Raises
    ------
    DataError
        If X explains the response without residual.
    """
    bases = find_bases(model)
    sums = SparseSums(bases["blocks"], bases["p"] + 1)
    for columns, codes, dense in weighted_rows(bases, _CHUNK):
        sums.add(columns, codes, dense)
    return sums.finish(bases)


class SparseSums:
    """Sparse cross-products, to which chunks of rows are added in any order.

    Parameters
    ----------
    blocks : tuple of Block
    n_dense : int
        p + 1.
    """

    def __init__(self, blocks: tuple[Block, ...], n_dense: int) -> None:
        self.blocks = blocks
        self.diagonals = [np.zeros((b.n_levels, b.q, b.q)) for b in blocks]
        self.dense = [np.zeros((b.n_levels, b.q, n_dense)) for b in blocks]
        self.dense_gram = np.zeros((n_dense, n_dense))
        self.pairs = {(k, m): GrowingPairs() for m in range(len(blocks)) for k in range(m)}

    def add(
        self, columns: Sequence[np.ndarray], codes: Sequence[np.ndarray], dense: np.ndarray
    ) -> None:
        """Add the rows of one chunk.

        Parameters
        ----------
        columns : sequence of numpy.ndarray, each (rows, q)
            Whitened, weighted columns of each block.
        codes : sequence of numpy.ndarray of int, each (rows,)
        dense : numpy.ndarray, shape (rows, p + 1)
        """
        for k, block in enumerate(self.blocks):
            self.diagonals[k] += level_gram(codes[k], columns[k], block.n_levels)
            self.dense[k] += level_products(codes[k], columns[k], dense, block.n_levels)
        self.dense_gram += dense.T @ dense
        for (k, m), sums in self.pairs.items():
            shape = (self.blocks[k].n_levels, self.blocks[m].n_levels)
            values = columns[k][:, :, None] * columns[m][:, None, :]
            sums.add(codes[k], codes[m], values, shape)

    def finish(self, bases: dict[str, Any]) -> SparseGram:
        """Return the sums, with the other fields of `Bases`, as a `SparseGram`."""
        return SparseGram(
            **bases,
            diagonals=tuple(self.diagonals),
            pairs={key: sums.compressed() for key, sums in self.pairs.items()},
            dense=tuple(part.reshape(-1, part.shape[2]) for part in self.dense),
            dense_gram=self.dense_gram,
        )
