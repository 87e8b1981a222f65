"""`Products`: the cross-products of Z at some weights, for products with vectors only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from pymackay.solve.linalg.batch import product as batch_product
from pymackay.solve.linalg.partners import by_row
from pymackay.solve.pirls.coupling import Meeting
from pymackay.solve.pirls.rows import Rows


@dataclass(frozen=True, eq=False)
class PairPattern:
    """Where the products of two blocks' columns have entries, both ways round.

    Attributes
    ----------
    meeting : Meeting
    forward, backward : tuple of numpy.ndarray
        Places of the entries among the meeting's values, sorted by row, then column indices and
        row pointers, of a matrix and of its transpose.
    """

    meeting: Meeting
    forward: tuple[np.ndarray, np.ndarray, np.ndarray]
    backward: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, meeting: Meeting) -> PairPattern:
        """Sort the pairs of a meeting."""
        left, right = meeting.left, meeting.right
        rows, columns = [], []
        for a in range(left.q):
            for b in range(right.q):
                rows.append(a * left.n_levels + meeting.rows)
                columns.append(b * right.n_levels + meeting.columns)
        row, column = np.concatenate(rows), np.concatenate(columns)
        sizes = left.q * left.n_levels, right.q * right.n_levels
        return cls(meeting, by_row(row, column, sizes), by_row(column, row, sizes[::-1]))

    def matrices(self, values: np.ndarray) -> tuple[np.ndarray, sp.csr_matrix, sp.csr_matrix]:
        """Return the meeting's values, (q, q, pairs), the matrix of them, and its transpose."""
        flat = values.ravel()
        shape = (len(self.forward[2]) - 1, len(self.backward[2]) - 1)
        made = [
            sp.csr_matrix((flat[order], indices, indptr), dims)
            for (order, indices, indptr), dims in (
                (self.forward, shape),
                (self.backward, shape[::-1]),
            )
        ]
        return values, made[0], made[1]


@dataclass(frozen=True, eq=False)
class Patterns:
    """The patterns of all pairs of blocks; found once for a design.

    Attributes
    ----------
    leading : tuple of PairPattern
        The leading block with each other one.
    among : tuple of (int, int, PairPattern)
        Two others, by position.
    """

    leading: tuple[PairPattern, ...]
    among: tuple[tuple[int, int, PairPattern], ...]

    @classmethod
    def of(cls, rows: Rows) -> Patterns:
        """Find the patterns."""
        leading, among = rows.meetings
        return cls(
            tuple(PairPattern.of(meeting) for meeting in leading),
            tuple((i, k, PairPattern.of(meeting)) for i, k, meeting in among),
        )


class Products:
    """Cross-products at given weights.

    Parameters
    ----------
    rows : Rows
    patterns : Patterns
    products : tuple
        As `pymackay.solve.pirls.rows.Rows.products` returns them.

    Attributes
    ----------
    A : numpy.ndarray, shape (q, q, J)
        Of the leading block, level by level.
    diagonals : tuple of numpy.ndarray, each (q, q, J)
        Of the other blocks.
    """

    def __init__(self, rows: Rows, patterns: Patterns, products: Any) -> None:
        self.A, (leading, self.diagonals, among) = products
        pairs = zip(patterns.leading, leading, strict=True)
        self._lead = [pattern.matrices(values) for pattern, values in pairs]
        self._patterns = patterns
        between = zip(patterns.among, among, strict=True)
        self._among = [(i, k, pattern.matrices(values)) for (i, k, pattern), values in between]
        ends = np.cumsum([0] + [block.size for block in rows.blocks[1:]])
        self.spans = [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def to_lead(self, x: np.ndarray) -> np.ndarray:
        """Return ``C x``, (q, J, k), for x of shape (m, k)."""
        total = sum(C @ x[span] for (_, C, _), span in zip(self._lead, self.spans, strict=True))
        return np.asarray(total).reshape(len(self.A), -1, x.shape[1])

    def from_lead(self, x: np.ndarray) -> np.ndarray:
        """Return ``C'x``, (m, k), for x of shape (q, J, k)."""
        flat = x.reshape(-1, x.shape[-1])
        return np.concatenate([back @ flat for _, _, back in self._lead])

    def among(self, x: np.ndarray) -> np.ndarray:
        """Return ``D x``, (m, k)."""
        made = np.empty_like(x)
        for diagonal, span in zip(self.diagonals, self.spans, strict=True):
            made[span] = by_level(diagonal, x[span])
        for i, k, (_, forward, back) in self._among:
            made[self.spans[i]] += forward @ x[self.spans[k]]
            made[self.spans[k]] += back @ x[self.spans[i]]
        return made

    def kept(self, F: np.ndarray) -> list[np.ndarray]:
        """Return the diagonal blocks of ``D − C'FC``, each (q, q, J), for F of shape (q, q, J)."""
        made = []
        for diagonal, pattern, (values, _, _) in zip(
            self.diagonals, self._patterns.leading, self._lead, strict=True
        ):
            meeting = pattern.meeting
            carried = batch_product(F[:, :, meeting.rows], values)
            block = diagonal.copy()
            q, J = len(diagonal), diagonal.shape[2]
            for a in range(q):
                for b in range(q):
                    each = (values[:, a] * carried[:, b]).sum(axis=0)
                    block[a, b] -= np.bincount(meeting.columns, each, J)
            made.append(block)
        return made

    def crossed(self, covariances: list[np.ndarray]) -> list[np.ndarray]:
        """Return ``C V`` at the pairs of each leading meeting, (q_left, q_right, pairs).

        V is one matrix for each level of the other blocks, (q, q, J) by block.
        """
        sides = zip(self._patterns.leading, self._lead, covariances, strict=True)
        return [
            batch_product(values, V[:, :, pattern.meeting.columns])
            for pattern, (values, _, _), V in sides
        ]

    def quadratics(self, crossed: list[np.ndarray]) -> np.ndarray:
        """Return ``C_j V C_j'`` of each leading level, (q, q, J), of what `crossed` returns."""
        made = np.zeros_like(self.A)
        for pattern, (values, _, _), CV in zip(
            self._patterns.leading, self._lead, crossed, strict=True
        ):
            for a, b in np.ndindex(made.shape[:2]):
                each = (CV[a] * values[b]).sum(axis=0)
                made[a, b] += np.bincount(pattern.meeting.rows, each, made.shape[2])
        return made


def by_level(matrices: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ``M_j x_j``, (q J, k), for M of shape (q, q, J)."""
    q, _, J = matrices.shape
    if q == 1:
        return matrices[0, 0][:, None] * x
    return np.einsum("abj,bjk->ajk", matrices, x.reshape(q, J, -1)).reshape(x.shape)
