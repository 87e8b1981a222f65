"""Cross-products in sparse form: what an iterative solver needs to know of the rows.

The dense matrix of all effects by all effects, which grows with the square of the second
factor's levels, is never made: only the pairs of levels that meet in some row are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy.sparse as sp

from pymackay.covariance.layout import TermLayout, split_theta
from pymackay.model.bases.scaling import Basis, fixed_basis, term_basis
from pymackay.model.model import Model
from pymackay.model.sums.by_level import chunks, level_gram, level_products
from pymackay.model.sums.gram import Bases, Block, Gram, order_model, random_columns, weigh
from pymackay.model.sums.level_pairs import GrowingPairs, LevelPairs
from pymackay.model.sums.response import Response, residual_response

__all__ = [
    "SparseGram",
    "SparseSums",
    "sparse_cross_products",
]

_CHUNK = 4_194_304  # rows summed at a time: memory beyond the columns themselves stays bounded


@dataclass(frozen=True, eq=False)
class SparseGram(Bases):
    """Weighted cross-products of [Z, X, y] in the bases of `pymackay.model.bases.scaling`.

    Attributes
    ----------
    blocks : tuple of Block
        One per grouping factor; the leading block, which is eliminated level by level, first.
    diagonals : tuple of numpy.ndarray, each (J, q, q)
        ``Z_j' Z_j`` of each level, block by block.
    pairs : dict of (int, int) to LevelPairs
        ``Z_k' Z_l`` of every two blocks, k < l.
    dense : tuple of numpy.ndarray, each (J q, p + 1)
        ``Z_k' [Q, y]``: X's orthonormal basis, and the response, last.
    dense_gram : numpy.ndarray, shape (p + 1, p + 1)
        ``[Q, y]' [Q, y]``.
    n, p, basis, response, log_weights, layouts, transforms
        As in `pymackay.model.sums.gram.Gram`.
    """

    blocks: tuple[Block, ...]
    diagonals: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], LevelPairs]
    dense: tuple[np.ndarray, ...]
    dense_gram: np.ndarray
    n: int
    p: int
    basis: Basis
    response: Response
    log_weights: float
    layouts: tuple[TermLayout, ...]
    transforms: tuple[np.ndarray, ...]

    def as_gram(self) -> Gram:
        """Return itself for functions that ask only for what both kinds have: blocks and bases."""
        return cast(Gram, self)

    def dense_form(self) -> Gram:
        """Return the same sums as the exact solvers want them."""
        lead = self.blocks[0]
        others = range(1, len(self.blocks))
        starts = np.cumsum([0, *(self.blocks[k].size for k in others)])
        size = int(starts[-1])
        D = np.zeros((size + self.p + 1,) * 2)
        for k in others:
            rows = slice(starts[k - 1], starts[k])
            D[rows, rows] = sp.block_diag(list(self.diagonals[k])).toarray()
            D[rows, size:] = self.dense[k]
            for m in range(k + 1, len(self.blocks)):
                D[rows, starts[m - 1] : starts[m]] = self.pairs[k, m].matrix().toarray()
        D = np.triu(D) + np.triu(D, 1).T
        D[size:, size:] = self.dense_gram
        C: np.ndarray | sp.csr_matrix = self.dense[0].reshape(lead.n_levels, lead.q, -1)
        if size:
            parts = [self.pairs[0, k].matrix() for k in others]
            C = sp.hstack([*parts, sp.csr_matrix(self.dense[0])], format="csr")
        return Gram(
            blocks=self.blocks,
            A=self.diagonals[0],
            C=C,
            D=D,
            n=self.n,
            p=self.p,
            basis=self.basis,
            response=self.response,
            log_weights=self.log_weights,
            layouts=self.layouts,
            transforms=self.transforms,
        )

    def level_moments(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one block's ``Z_j'Z_j``, (J, q, q), and ``Z_j'[X y]``, (J, q, p + 1)."""
        block = self.blocks[index]
        return self.diagonals[index], self.dense[index].reshape(block.n_levels, block.q, -1)


def sparse_cross_products(model: Model) -> SparseGram:
    """Sum the rows of `model` up, in sparse form.

    Raises
    ------
    DataError
        If X explains the response without residual.
    """
    root = None if model.weights is None else np.sqrt(model.weights)
    basis = fixed_basis(weigh(model.X, root))
    response = residual_response(model, root, basis)
    transforms = tuple(term_basis(weigh(term.columns, root)) for term in model.terms)
    blocks = order_model(model)
    sums = SparseSums(blocks, model.X.shape[1] + 1)
    for rows in chunks(len(model.y), _CHUNK):
        dense = np.column_stack([basis.Q[rows], response.residual[rows]])
        sums.add(*random_columns(model, blocks, transforms, root, rows), dense)
    return sums.finish(
        n=len(model.y),
        basis=basis,
        response=response,
        log_weights=0.0 if model.weights is None else float(np.log(model.weights).sum()),
        layouts=split_theta([len(term.effects) for term in model.terms]),
        transforms=transforms,
    )


class SparseSums:
    """Sparse cross-products so far; rows are added chunk by chunk, in any order.

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

    def finish(
        self,
        *,
        n: int,
        basis: Basis,
        response: Response,
        log_weights: float,
        layouts: tuple[TermLayout, ...],
        transforms: tuple[np.ndarray, ...],
    ) -> SparseGram:
        """Return the sums as a `SparseGram`."""
        return SparseGram(
            blocks=self.blocks,
            diagonals=tuple(self.diagonals),
            pairs={key: sums.compressed() for key, sums in self.pairs.items()},
            dense=tuple(part.reshape(-1, part.shape[2]) for part in self.dense),
            dense_gram=self.dense_gram,
            n=n,
            p=len(self.dense_gram) - 1,
            basis=basis,
            response=response,
            log_weights=log_weights,
            layouts=layouts,
            transforms=transforms,
        )
