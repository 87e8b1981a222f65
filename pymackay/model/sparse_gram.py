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

__all__ = [
    "FoundPairs",
    "GrowingPairs",
    "LevelPairs",
    "SparseGram",
    "SparseSums",
    "order_blocks",
    "sparse_cross_products",
]

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
            self._add_block(k, block, columns[k], codes[k], dense)
        self.dense_gram += dense.T @ dense
        for (k, m), sums in self.pairs.items():
            shape = (self.blocks[k].n_levels, self.blocks[m].n_levels)
            values = columns[k][:, :, None] * columns[m][:, None, :]
            sums.add(codes[k], codes[m], values, shape)

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


@dataclass(frozen=True, eq=False)
class FoundPairs:
    """Pairs of levels that meet, each once.

    Attributes
    ----------
    rows, columns : numpy.ndarray of int32, shape (pairs,)
    values : numpy.ndarray, shape (pairs, q_k, q_l)
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class _Part:
    """``Z_k' Z_l`` of some rows: the levels that meet, and one matrix for each such pair."""

    pattern: sp.csr_matrix
    values: np.ndarray

    def __add__(self, other: _Part) -> _Part:
        shape = tuple(
            max(pair) for pair in zip(self.pattern.shape, other.pattern.shape, strict=True)
        )
        if self.values.shape[1:] == (1, 1):
            total = self.with_data(self.values.reshape(-1), shape)
            total = total + other.with_data(other.values.reshape(-1), shape)
            return _Part(total, total.data.reshape(-1, 1, 1))
        parts = [
            part.with_data(np.ones(len(part.values), np.float32), shape) for part in (self, other)
        ]
        union = parts[0] + parts[1]
        places = _keys(union)
        values = np.zeros((len(places), *self.values.shape[1:]))
        for part, own in zip((self, other), parts, strict=True):
            values[np.searchsorted(places, _keys(own))] += part.values
        return _Part(union, values)

    def with_data(self, data: np.ndarray, shape: tuple[int, ...]) -> sp.csr_matrix:
        """Return the pattern with these numbers, in a matrix that may be larger."""
        indptr = self.pattern.indptr
        if shape[0] + 1 > len(indptr):
            indptr = np.concatenate([indptr, np.full(shape[0] + 1 - len(indptr), indptr[-1])])
        return sp.csr_matrix((data, self.pattern.indices, indptr), shape=shape)


def _keys(pattern: sp.csr_matrix) -> np.ndarray:
    """Number the places of a sorted pattern row by row, ascending."""
    rows = np.repeat(np.arange(pattern.shape[0], dtype=np.int64), np.diff(pattern.indptr))
    return rows * pattern.shape[1] + pattern.indices


class GrowingPairs:
    """``Z_k' Z_l`` so far, of levels that become more.

    Sums of parts of like size are added first, as a binary counter does, so that every pair is
    copied no more often than there are doublings.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[int, _Part]] = []

    def add(
        self, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
    ) -> None:
        """Add pairs; one that occurs again is summed.

        Parameters
        ----------
        rows, columns : numpy.ndarray of int, shape (pairs,)
        values : numpy.ndarray, shape (pairs, q_k, q_l)
        shape : tuple of int
            Levels so far.
        """
        components = values.reshape(len(values), -1)
        found = [
            sp.coo_matrix((components[:, i], (rows, columns)), shape=shape).tocsr()
            for i in range(components.shape[1])
        ]
        data = [part.data for part in found]
        joined = data[0] if len(data) == 1 else np.stack(data, axis=1)
        part = _Part(found[0], joined.reshape(-1, *values.shape[1:]))
        rank = 0
        while self._parts and self._parts[-1][0] <= rank:
            part = self._parts.pop()[1] + part
            rank += 1
        self._parts.append((rank, part))

    @property
    def scalar(self) -> bool:
        """Whether each pair has one number."""
        return self._parts[0][1].values.shape[1:] == (1, 1)

    def matrix(self, shape: tuple[int, int]) -> sp.csr_matrix:
        """Return pairs of one number each as a matrix; nothing is kept."""
        total = self._total()
        return total.with_data(total.values.reshape(-1), shape)

    def finish(self) -> FoundPairs:
        """Return all pairs; nothing is kept."""
        total = self._total()
        rows = np.arange(total.pattern.shape[0], dtype=np.int32)
        rows = np.repeat(rows, np.diff(total.pattern.indptr))
        return FoundPairs(rows, total.pattern.indices, total.values)

    def compressed(self) -> LevelPairs:
        """Return all pairs in compressed rows; nothing is kept."""
        total = self._total()
        return LevelPairs.of(total.pattern, total.values)

    def _total(self) -> _Part:
        _, total = self._parts.pop()
        while self._parts:
            total = self._parts.pop()[1] + total
        return total
