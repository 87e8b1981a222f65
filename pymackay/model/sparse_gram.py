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

from pymackay.model.covariance import TermLayout, split_theta
from pymackay.model.gram import Block, Gram
from pymackay.model.model import Model
from pymackay.model.response import Response, residual_response
from pymackay.model.scaling import Basis, fixed_basis, term_basis

__all__ = ["LevelPairs", "SparseGram", "SparseSums", "order_blocks", "sparse_cross_products"]

_CHUNK = 4_194_304  # rows summed at a time: memory beyond the columns themselves stays bounded


@dataclass(frozen=True, eq=False)
class LevelPairs:
    """``Z_k' Z_l`` of two grouping factors: one small matrix for each pair of levels that meet.

    Attributes
    ----------
    indptr, indices : numpy.ndarray of int
        Compressed rows: the levels of l that meet each level of k, ascending.
    values : numpy.ndarray, shape (pairs, q_k, q_l)
    n_columns : int
        Levels of l.
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    n_columns: int

    @classmethod
    def of(cls, structure: sp.csr_matrix, values: np.ndarray) -> LevelPairs:
        """Take the pattern of `structure` for `values`."""
        return cls(structure.indptr, structure.indices, values, structure.shape[1])

    @property
    def n_rows(self) -> int:
        """Levels of k."""
        return len(self.indptr) - 1

    def component(self, values: np.ndarray) -> sp.csr_matrix:
        """Return levels by levels, with one number for each pair; index arrays are shared."""
        return sp.csr_matrix(
            (values, self.indices, self.indptr), shape=(self.n_rows, self.n_columns), copy=False
        )

    def matrix(self, dtype: type = np.float64) -> sp.csr_matrix:
        """Return effects by effects, the effects of one level being neighbours."""
        values: np.ndarray = self.values.astype(dtype, copy=False)
        if values.shape[1:] == (1, 1):
            return self.component(values.reshape(-1))
        rows, columns = values.shape[1:]
        shape = (self.n_rows * rows, self.n_columns * columns)
        return sp.bsr_matrix((values, self.indices, self.indptr), shape=shape).tocsr()


@dataclass(frozen=True, eq=False)
class SparseGram:
    """Weighted cross-products of [Z, X, y] in the bases of `pymackay.model.scaling`.

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
        As in `pymackay.model.gram.Gram`.
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

    @property
    def y_scale(self) -> float:
        """Length of the least-squares residual."""
        return self.response.scale

    @property
    def n_theta(self) -> int:
        """Number of covariance parameters."""
        return self.layouts[-1].stop

    def as_gram(self) -> Gram:
        """Return itself for functions that ask only for what both kinds have: blocks and bases."""
        return cast(Gram, self)

    def block_slices(self, block: Block) -> list[tuple[int, slice]]:
        """Return (term, its columns within the block) for the terms of `block`."""
        found = []
        start = 0
        for term in block.terms:
            q = self.layouts[term].q
            found.append((term, slice(start, start + q)))
            start += q
        return found


def sparse_cross_products(model: Model) -> SparseGram:
    """Sum the rows of `model` up, in sparse form.

    Raises
    ------
    DataError
        If X explains the response without residual.
    """
    root = None if model.weights is None else np.sqrt(model.weights)
    basis = fixed_basis(_weigh(model.X, root))
    response = residual_response(model, root, basis)
    transforms = tuple(term_basis(_weigh(term.columns, root)) for term in model.terms)
    blocks = order_blocks(
        {name: len(factor.levels) for name, factor in model.factors.items()},
        [(term.group, len(term.effects)) for term in model.terms],
    )
    sums = SparseSums(blocks, model.X.shape[1] + 1)
    for start in range(0, len(model.y), _CHUNK):
        rows = slice(start, start + _CHUNK)
        columns = [
            np.column_stack([model.terms[i].columns[rows] @ transforms[i] for i in block.terms])
            for block in blocks
        ]
        if root is not None:
            columns = [part * root[rows, None] for part in columns]
        codes = [model.factors[block.name].codes[rows] for block in blocks]
        sums.add(columns, codes, np.column_stack([basis.Q[rows], response.residual[rows]]))
    return sums.finish(
        n=len(model.y),
        basis=basis,
        response=response,
        log_weights=0.0 if model.weights is None else float(np.log(model.weights).sum()),
        layouts=split_theta([len(term.effects) for term in model.terms]),
        transforms=transforms,
    )


def _weigh(columns: np.ndarray, root: np.ndarray | None) -> np.ndarray:
    return columns if root is None else columns * root[:, None]


def order_blocks(levels: dict[str, int], terms: Sequence[tuple[str, int]]) -> tuple[Block, ...]:
    """Make one block per grouping factor; the one with most effects comes first.

    Parameters
    ----------
    levels : dict of str to int
        Grouping factor to its number of levels.
    terms : sequence of (str, int)
        Grouping factor and number of effects of each term.
    """
    blocks = []
    for name, count in levels.items():
        own = tuple(i for i, (group, _) in enumerate(terms) if group == name)
        blocks.append(Block(name, count, own, sum(terms[i][1] for i in own)))
    lead = max(range(len(blocks)), key=lambda i: blocks[i].size)
    return (blocks[lead], *blocks[:lead], *blocks[lead + 1 :])


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
        self.pairs: dict[tuple[int, int], _PairSums] = {
            (k, m): _PairSums(blocks[k], blocks[m]) for m in range(len(blocks)) for k in range(m)
        }

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
            self._add_block(k, block, columns[k], codes[k], dense)
        self.dense_gram += dense.T @ dense
        for (k, m), sums in self.pairs.items():
            sums.add(columns[k], codes[k], columns[m], codes[m])

    def _add_block(
        self, k: int, block: Block, columns: np.ndarray, codes: np.ndarray, dense: np.ndarray
    ) -> None:
        for a in range(block.q):
            for b in range(a + 1):
                product = columns[:, a] * columns[:, b]
                found = np.bincount(codes, weights=product, minlength=block.n_levels)
                self.diagonals[k][:, a, b] += found
                if a != b:
                    self.diagonals[k][:, b, a] += found
            for j in range(dense.shape[1]):
                product = columns[:, a] * dense[:, j]
                found = np.bincount(codes, weights=product, minlength=block.n_levels)
                self.dense[k][:, a, j] += found

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
            pairs={key: sums.finish() for key, sums in self.pairs.items()},
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


@dataclass(frozen=True, eq=False)
class _Part:
    """``Z_k' Z_l`` of some rows: the levels that meet, and one matrix for each such pair."""

    pattern: sp.csr_matrix
    values: np.ndarray

    def __add__(self, other: _Part) -> _Part:
        if self.values.shape[1:] == (1, 1):
            total = self._plain() + other._plain()
            return _Part(total, total.data.reshape(-1, 1, 1))
        union = self._counted() + other._counted()
        places = _keys(union)
        values = np.zeros((len(places), *self.values.shape[1:]))
        for part in (self, other):
            values[np.searchsorted(places, _keys(part.pattern))] += part.values
        return _Part(union, values)

    def _plain(self) -> sp.csr_matrix:
        return self._with(self.values.reshape(-1))

    def _counted(self) -> sp.csr_matrix:
        return self._with(np.ones(len(self.values), dtype=np.float32))

    def _with(self, data: np.ndarray) -> sp.csr_matrix:
        pattern = self.pattern
        return sp.csr_matrix((data, pattern.indices, pattern.indptr), shape=pattern.shape)


def _keys(pattern: sp.csr_matrix) -> np.ndarray:
    """Number the places of a sorted pattern row by row, ascending."""
    rows = np.repeat(np.arange(pattern.shape[0], dtype=np.int64), np.diff(pattern.indptr))
    return rows * pattern.shape[1] + pattern.indices


class _PairSums:
    """``Z_k' Z_l`` so far: sums of chunks of like size are added first, as a binary counter."""

    def __init__(self, first: Block, second: Block) -> None:
        self.first, self.second = first, second
        self._parts: list[tuple[int, _Part]] = []

    def add(
        self, first: np.ndarray, codes: np.ndarray, second: np.ndarray, others: np.ndarray
    ) -> None:
        """Add the rows of one chunk."""
        shape = (self.first.n_levels, self.second.n_levels)
        found = [
            sp.coo_matrix((first[:, a] * second[:, b], (codes, others)), shape=shape).tocsr()
            for a in range(self.first.q)
            for b in range(self.second.q)
        ]
        data = [part.data for part in found]
        values = data[0] if len(data) == 1 else np.stack(data, axis=1)
        part = _Part(found[0], values.reshape(-1, self.first.q, self.second.q))
        rank = 0
        while self._parts and self._parts[-1][0] <= rank:
            part = self._parts.pop()[1] + part
            rank += 1
        self._parts.append((rank, part))

    def finish(self) -> LevelPairs:
        """Return the sum."""
        _, total = self._parts.pop()
        while self._parts:
            total = self._parts.pop()[1] + total
        return LevelPairs.of(total.pattern, total.values)
