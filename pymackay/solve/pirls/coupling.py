"""`Pairs`: which levels of different blocks meet; `Coupling`: products of the leading block.

The pattern of the levels that meet is found once; the sums over rows change with the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from pymackay.solve.linalg.blas import product

_DENSE_WORK = 2_000_000  # multiply-adds of C'C up to which a dense C is quicker than a sparse one
_DENSE_SHARE = 0.3  # of C's cells that are not zero, from which it is too
_TABLE = 4  # cells of a table of all pairs of levels for each row, up to which it is not reduced


class LevelRows(Protocol):
    """What is needed of a block of rows."""

    codes: np.ndarray
    columns: np.ndarray

    @property
    def q(self) -> int: ...  # noqa: D102

    @property
    def n_levels(self) -> int: ...  # noqa: D102

    def gram(self, weights: np.ndarray) -> np.ndarray: ...  # noqa: D102

    def weighed(self, a: int, values: np.ndarray) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Meeting:
    """The pairs of levels of two blocks that meet in a row.

    Attributes
    ----------
    left, right : LevelRows
    index : numpy.ndarray of int, shape (n,)
        Place of each row's pair.
    rows, columns : numpy.ndarray of int, shape (pairs,)
        Levels of each pair.
    """

    left: LevelRows
    right: LevelRows
    index: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, left: LevelRows, right: LevelRows) -> Meeting:
        """Find the pairs."""
        key = left.codes * right.n_levels + right.codes
        cells = left.n_levels * right.n_levels
        if cells <= _TABLE * len(key):
            distinct, index = np.arange(cells), key
        else:
            distinct, index = np.unique(key, return_inverse=True)
        return cls(left, right, index, *np.divmod(distinct, right.n_levels))

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Return ``Σ w z_a z_b`` of each pair, shape (q_left, q_right, pairs)."""
        made = np.empty((self.left.q, self.right.q, len(self.rows)))
        for a in range(self.left.q):
            weighted = self.left.weighed(a, weights)
            for b in range(self.right.q):
                each = self.right.weighed(b, weighted)
                made[a, b] = np.bincount(self.index, each, len(self.rows))
        return made


class Coupling(Protocol):
    """C, the products of the leading block's columns with those of all others."""

    def schur(self, half: np.ndarray) -> np.ndarray:
        """Return ``Σ_j (h_j C_j)'(h_j C_j)``, (m, m), for h of shape (q, q, J)."""
        ...

    def times(self, x: np.ndarray) -> np.ndarray:
        """Return ``C x``, (q, J, k), for x of shape (m, k)."""
        ...

    def transpose_times(self, x: np.ndarray) -> np.ndarray:
        """Return ``C'x``, (m, k), for x of shape (q, J, k)."""
        ...

    def quadratics(self, products: np.ndarray) -> np.ndarray:
        """Return ``P_j C_j'``, (q, q, J), for P of shape (q, J, m)."""
        ...


@dataclass(frozen=True, eq=False)
class DenseCoupling:
    """C as an array of shape (q, J, m)."""

    C: np.ndarray

    def schur(self, half: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        q, J, m = self.C.shape
        if q == 1:
            scaled = self.C[0] * half[0, 0][:, None]
        else:
            scaled = np.einsum("abj,bjm->ajm", half, self.C).reshape(q * J, m)
        return product(scaled.T, scaled)

    def times(self, x: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        q, J, m = self.C.shape
        return (self.C.reshape(q * J, m) @ x).reshape(q, J, -1)

    def transpose_times(self, x: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        q, J, m = self.C.shape
        return np.asarray(self.C.reshape(q * J, m).T @ x.reshape(q * J, -1))

    def quadratics(self, products: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        return np.einsum("ajm,bjm->abj", products, self.C)


@dataclass(frozen=True, eq=False)
class SparseCoupling:
    """C as a sparse matrix of shape (q J, m)."""

    C: sp.csr_matrix
    q: int

    def schur(self, half: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        J = half.shape[2]
        if self.q == 1:
            scaled: Any = self.C.copy()
            scaled.data *= np.repeat(half[0, 0], np.diff(self.C.indptr))
        else:
            index = np.arange(self.q * J).reshape(self.q, J)
            rows = np.broadcast_to(index[:, None, :], half.shape).ravel()
            columns = np.broadcast_to(index[None, :, :], half.shape).ravel()
            scaled = sp.csr_matrix((half.ravel(), (rows, columns)), (len(rows) // self.q,) * 2)
            scaled = (scaled @ self.C).tocsr()
        return np.asarray((scaled.T @ scaled).toarray())

    def times(self, x: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        return np.asarray(self.C @ x).reshape(self.q, self.C.shape[0] // self.q, -1)

    def transpose_times(self, x: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        return np.asarray(self.C.T @ x.reshape(self.C.shape[0], -1))

    def quadratics(self, products: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        q, J, _ = products.shape
        made = np.empty((q, q, J))
        for b in range(q):
            C = self.C[b * J : (b + 1) * J]
            counts = np.repeat(np.arange(J), np.diff(C.indptr))
            for a in range(q):
                made[a, b] = np.bincount(counts, C.data * products[a][counts, C.indices], J)
        return made


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which levels of different blocks meet in a row.

    Attributes
    ----------
    others : tuple
        The blocks but the leading one.
    starts : tuple of int
        Where each of them begins among their m effects.
    leading : tuple of Meeting
        The leading block with each of the others.
    among : tuple of (int, int, Meeting)
        Two others, by position, and their pairs.
    size : int
        m.
    order : numpy.ndarray of int or None
        Place of C's entries, sorted by row, among the values of all meetings; None if C is dense.
    pattern : tuple of numpy.ndarray
        ``indices`` and ``indptr`` of C where it is sparse.
    """

    others: tuple[Any, ...]
    starts: tuple[int, ...]
    leading: tuple[Meeting, ...]
    among: tuple[tuple[int, int, Meeting], ...]
    size: int
    order: np.ndarray | None
    pattern: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, blocks: Sequence[Any]) -> Pairs:
        """Find the pairs of blocks, the leading one first."""
        lead, others = blocks[0], tuple(blocks[1:])
        ends = np.cumsum([0] + [block.q * block.n_levels for block in others])
        leading = tuple(Meeting.of(lead, block) for block in others)
        among = tuple(
            (i, k, Meeting.of(others[i], others[k]))
            for i in range(len(others))
            for k in range(i + 1, len(others))
        )
        size, cells = int(ends[-1]), lead.q * lead.n_levels * int(ends[-1])
        entries = sum(lead.q * meeting.right.q * len(meeting.rows) for meeting in leading)
        order: np.ndarray | None = None
        pattern: tuple[np.ndarray, ...] = ()
        if cells * size > _DENSE_WORK and entries < _DENSE_SHARE * cells:
            order, pattern = _sparse_pattern(leading, ends, lead.q * lead.n_levels)
        starts = tuple(int(start) for start in ends[:-1])
        return cls(others, starts, leading, among, size, order, pattern)

    def coupling(self, weights: np.ndarray) -> Coupling:
        """Return C at weights of shape (n,)."""
        lead = self.leading[0].left
        if self.order is not None:
            values = np.concatenate([m.values(weights).ravel() for m in self.leading])
            shape = (lead.q * lead.n_levels, self.size)
            return SparseCoupling(sp.csr_matrix((values[self.order], *self.pattern), shape), lead.q)
        C = np.zeros((lead.q, lead.n_levels, self.size))
        for start, meeting in zip(self.starts, self.leading, strict=True):
            J = meeting.right.n_levels
            values = meeting.values(weights)
            for a in range(lead.q):
                for b in range(meeting.right.q):
                    C[a, meeting.rows, start + b * J + meeting.columns] = values[a, b]
        return DenseCoupling(C)

    def rest(self, weights: np.ndarray) -> np.ndarray:
        """Return the products of the other blocks' columns, (m, m), at weights of shape (n,)."""
        made = np.zeros((self.size, self.size))
        for start, block in zip(self.starts, self.others, strict=True):
            index = start + np.arange(block.q * block.n_levels).reshape(block.q, -1)
            made[index[:, None, :], index[None, :, :]] = block.gram(weights)
        for i, k, meeting in self.among:
            values = meeting.values(weights)
            for a in range(meeting.left.q):
                rows = self.starts[i] + a * meeting.left.n_levels + meeting.rows
                for b in range(meeting.right.q):
                    columns = self.starts[k] + b * meeting.right.n_levels + meeting.columns
                    made[rows, columns] = values[a, b]
                    made[columns, rows] = values[a, b]
        return made


def _sparse_pattern(
    leading: Sequence[Meeting], ends: np.ndarray, n_rows: int
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return the order of C's entries by row, and its ``indices`` and ``indptr``."""
    rows, columns = [], []
    for start, meeting in zip(ends[:-1], leading, strict=True):
        for a in range(meeting.left.q):
            for b in range(meeting.right.q):
                rows.append(a * meeting.left.n_levels + meeting.rows)
                columns.append(start + b * meeting.right.n_levels + meeting.columns)
    row, column = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((column, row))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_rows))])
    return order, (column[order].astype(np.int32), indptr.astype(np.int32))
