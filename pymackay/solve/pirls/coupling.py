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
from pymackay.solve.linalg.partners import Partners, by_row

_DENSE_WORK = 2_000_000  # multiply-adds of C'C up to which a dense C is quicker than a sparse one
_DENSE_SHARE = 0.3  # of C's cells that are not zero, from which it is too
_TABLE = 4  # cells of a table of all pairs of levels for each row, up to which it is not reduced


PairProducts = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], tuple[np.ndarray, ...]]
"""Values of the leading block's meetings, levels' products of the other blocks, and the values of
the meetings among these."""


class LevelRows(Protocol):
    """What is needed of a block of rows."""

    @property
    def codes(self) -> np.ndarray: ...  # noqa: D102

    @property
    def columns(self) -> np.ndarray: ...  # noqa: D102

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

    def crossed(self, covariance: np.ndarray) -> Crossed:
        """Return what is asked for of ``C V``, for a symmetric V of shape (m, m)."""
        ...


@dataclass(frozen=True, eq=False)
class Crossed:
    """Products of the leading block with the others' covariance V.

    Attributes
    ----------
    at : tuple of numpy.ndarray, each (q_left, q_right, pairs)
        ``C V`` at the pairs of each meeting of the leading block.
    quadratics : numpy.ndarray, shape (q, q, J)
        ``C_j V C_j'``.
    """

    at: tuple[np.ndarray, ...]
    quadratics: np.ndarray

    @classmethod
    def of(cls, products: np.ndarray, quadratics: np.ndarray, pairs: Pairs) -> Crossed:
        """Take the pairs out of ``C V``, (q, J, m)."""
        at = []
        for start, meeting in zip(pairs.starts, pairs.leading, strict=True):
            right = meeting.right
            part = products[:, :, start : start + right.q * right.n_levels]
            part = part.reshape(*part.shape[:2], right.q, right.n_levels).transpose(0, 2, 1, 3)
            flat = part.reshape(*part.shape[:2], -1)
            at.append(flat[:, :, meeting.rows * right.n_levels + meeting.columns])
        return cls(tuple(at), quadratics)


@dataclass(frozen=True, eq=False)
class DenseCoupling:
    """C as an array of shape (q, J, m)."""

    C: np.ndarray
    pairs: Pairs

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

    def crossed(self, covariance: np.ndarray) -> Crossed:
        """See `Coupling`."""
        products = self.times(covariance)
        return Crossed.of(products, np.einsum("ajm,bjm->abj", products, self.C), self.pairs)


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a sparse C has entries.

    Attributes
    ----------
    order : numpy.ndarray of int
        Place of the entries, sorted by row, among the values of all meetings.
    indices, indptr : numpy.ndarray of int
        As of a ``csr_matrix``.
    partners : Partners or None
    """

    order: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    partners: Partners | None

    def by_meeting(self, entries: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, ...]:
        """Return entries of a matrix of this pattern as values of the meetings, as `Crossed.at`."""
        flat = np.empty_like(entries)
        flat[self.order] = entries
        shapes = [(m.left.q, m.right.q, len(m.rows)) for m in pairs.leading]
        ends = np.cumsum([a * b * count for a, b, count in shapes])[:-1]
        parts = zip(np.split(flat, ends), shapes, strict=True)
        return tuple(part.reshape(shape) for part, shape in parts)


@dataclass(frozen=True, eq=False)
class SparseCoupling:
    """C as a sparse matrix of shape (q J, m)."""

    C: sp.csr_matrix
    q: int
    pattern: Pattern
    pairs: Pairs

    def schur(self, half: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        J = half.shape[2]
        if self.q == 1 and self.pattern.partners is not None:
            scale = np.repeat(half[0, 0], np.diff(self.C.indptr))
            return self.pattern.partners.squared(self.C.data * scale, self.C.shape[1])
        index = np.arange(self.q * J).reshape(self.q, J)
        rows = np.broadcast_to(index[:, None, :], half.shape).ravel()
        columns = np.broadcast_to(index[None, :, :], half.shape).ravel()
        scaled = sp.csr_matrix((half.ravel(), (rows, columns)), (self.q * J, self.q * J))
        scaled = (scaled @ self.C).tocsr()
        return np.asarray((scaled.T @ scaled).toarray())

    def times(self, x: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        return np.asarray(self.C @ x).reshape(self.q, self.C.shape[0] // self.q, -1)

    def transpose_times(self, x: np.ndarray) -> np.ndarray:
        """See `Coupling`."""
        return np.asarray(self.C.T @ x.reshape(self.C.shape[0], -1))

    def crossed(self, covariance: np.ndarray) -> Crossed:
        """See `Coupling`."""
        partners, counts = self.pattern.partners, np.diff(self.C.indptr)
        if self.q == 1 and partners is not None:
            entries = partners.times(self.C.data, covariance)
            level = np.repeat(np.arange(len(counts)), counts)
            quadratics = np.bincount(level, entries * self.C.data, len(counts))
            return Crossed(self.pattern.by_meeting(entries, self.pairs), quadratics[None, None])
        products = self.times(covariance)
        return Crossed.of(products, self._quadratics(products), self.pairs)

    def _quadratics(self, products: np.ndarray) -> np.ndarray:
        """Return ``P_j C_j'``, (q, q, J), for P of shape (q, J, m)."""
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
    pattern : Pattern or None
        Of C; None where C is dense.
    """

    others: tuple[Any, ...]
    starts: tuple[int, ...]
    leading: tuple[Meeting, ...]
    among: tuple[tuple[int, int, Meeting], ...]
    size: int
    pattern: Pattern | None

    @classmethod
    def of(
        cls,
        blocks: Sequence[Any],
        leading: tuple[Meeting, ...],
        among: tuple[tuple[int, int, Meeting], ...],
    ) -> Pairs:
        """Prepare blocks, the leading one first, and their meetings."""
        lead, others = blocks[0], tuple(blocks[1:])
        ends = np.cumsum([0] + [block.q * block.n_levels for block in others])
        size, cells = int(ends[-1]), lead.q * lead.n_levels * int(ends[-1])
        entries = sum(lead.q * meeting.right.q * len(meeting.rows) for meeting in leading)
        pattern = None
        if cells * size > _DENSE_WORK and entries < _DENSE_SHARE * cells:
            pattern = _pattern(leading, ends, lead)
        starts = tuple(int(start) for start in ends[:-1])
        return cls(others, starts, leading, among, size, pattern)

    def coupling(self, products: PairProducts) -> Coupling:
        """Return C."""
        lead = self.leading[0].left
        pattern = self.pattern
        if pattern is not None:
            values = np.concatenate([each.ravel() for each in products[0]])
            entries = values[pattern.order], pattern.indices, pattern.indptr
            shape = (lead.q * lead.n_levels, self.size)
            return SparseCoupling(sp.csr_matrix(entries, shape), lead.q, pattern, self)
        C = np.zeros((lead.q, lead.n_levels, self.size))
        for start, meeting, values in zip(self.starts, self.leading, products[0], strict=True):
            J = meeting.right.n_levels
            for a in range(lead.q):
                for b in range(meeting.right.q):
                    C[a, meeting.rows, start + b * J + meeting.columns] = values[a, b]
        return DenseCoupling(C, self)

    def rest(self, products: PairProducts) -> np.ndarray:
        """Return the products of the other blocks' columns, (m, m)."""
        made = np.zeros((self.size, self.size))
        for start, block, gram in zip(self.starts, self.others, products[1], strict=True):
            index = start + np.arange(block.q * block.n_levels).reshape(block.q, -1)
            made[index[:, None, :], index[None, :, :]] = gram
        for (i, k, meeting), values in zip(self.among, products[2], strict=True):
            for a in range(meeting.left.q):
                rows = self.starts[i] + a * meeting.left.n_levels + meeting.rows
                for b in range(meeting.right.q):
                    columns = self.starts[k] + b * meeting.right.n_levels + meeting.columns
                    made[rows, columns] = values[a, b]
                    made[columns, rows] = values[a, b]
        return made


def meetings_of(
    blocks: Sequence[Any],
) -> tuple[tuple[Meeting, ...], tuple[tuple[int, int, Meeting], ...]]:
    """Find the pairs of levels of the leading block with each other one, and of two others."""
    lead, others = blocks[0], blocks[1:]
    leading = tuple(Meeting.of(lead, block) for block in others)
    among = tuple(
        (i, k, Meeting.of(others[i], others[k]))
        for i in range(len(others))
        for k in range(i + 1, len(others))
    )
    return leading, among


def _pattern(leading: Sequence[Meeting], ends: np.ndarray, lead: LevelRows) -> Pattern:
    """Return where C has entries; `ends` are the bounds of the other blocks among its columns."""
    rows, columns = [], []
    for start, meeting in zip(ends[:-1], leading, strict=True):
        for a in range(lead.q):
            for b in range(meeting.right.q):
                rows.append(a * lead.n_levels + meeting.rows)
                columns.append(start + b * meeting.right.n_levels + meeting.columns)
    row, column = np.concatenate(rows), np.concatenate(columns)
    order, indices, indptr = by_row(row, column, (lead.q * lead.n_levels, int(ends[-1])))
    partners = Partners.of(indices, indptr, int(ends[-1])) if lead.q == 1 else None
    return Pattern(order, indices, indptr, partners)
