"""`Partners`: pairs of entries in one row of a sparse matrix; `by_row`: the pattern of one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

_MOST_PARTNERS = 20_000_000  # pairs of entries of C that are held, of 24 bytes each
_PART = 16_384  # pairs whose products are computed at a time: what fits in the cache


@dataclass(frozen=True, eq=False)
class Partners:
    """Pairs of entries that stand in the same row of a sparse matrix, each once.

    Attributes
    ----------
    first, second : numpy.ndarray of int
        Their places among the entries of their part.
    target : numpy.ndarray of int
        Place of their product in the square of the matrix, of m rows, above or on the diagonal.
    parts : tuple of (slice, slice)
        Pairs and entries of some rows at a time, so few that the cache holds them.
    """

    first: np.ndarray
    second: np.ndarray
    target: np.ndarray
    parts: tuple[tuple[slice, slice], ...]

    @classmethod
    def of(cls, indices: np.ndarray, indptr: np.ndarray, m: int) -> Partners | None:
        """Find the pairs; None if they are too many to be held."""
        counts = np.diff(indptr)
        ends = np.concatenate([[0], np.cumsum(counts * (counts + 1) // 2)])
        if int(ends[-1]) > _MOST_PARTNERS:
            return None
        n = int(indptr[-1])
        after = np.repeat(indptr[1:], counts) - np.arange(n)
        first = np.repeat(np.arange(n), after)
        second = np.arange(len(first)) - np.repeat(np.cumsum(after) - after, after) + first
        target = indices[first].astype(np.intp) * m + indices[second]
        wanted = np.arange(0, int(ends[-1]) + _PART, _PART)
        cuts = np.unique(np.searchsorted(ends, wanted))
        parts = []
        for a, b in pairwise(np.minimum(cuts, len(counts))):
            pairs, entries = slice(ends[a], ends[b]), slice(int(indptr[a]), int(indptr[b]))
            first[pairs] -= entries.start
            second[pairs] -= entries.start
            parts.append((pairs, entries))
        return cls(first, second, target, tuple(parts))

    def squared(self, values: np.ndarray, m: int) -> np.ndarray:
        """Return ``V'V``, (m, m), for the entries of V."""
        products, room = np.empty(len(self.first)), self._room()
        for pairs, entries in self.parts:
            part, each = values[entries], products[pairs]
            np.take(part, self.first[pairs], out=each, mode="clip")
            each *= np.take(part, self.second[pairs], out=room[: len(each)], mode="clip")
        upper = np.bincount(self.target, products, m * m).reshape(m, m)
        made = upper + upper.T
        index = np.arange(m)
        made[index, index] = upper[index, index]
        return made

    def times(self, values: np.ndarray, symmetric: np.ndarray) -> np.ndarray:
        """Return the entries of ``V M`` where V has entries, for the entries of V.

        M is symmetric, (m, m), in C order.
        """
        made, room, more = np.empty(len(values)), self._room(), self._room()
        flat = symmetric.ravel()
        for pairs, entries in self.parts:
            first, second, part = self.first[pairs], self.second[pairs], values[entries]
            between = np.take(flat, self.target[pairs], out=room[: len(first)], mode="clip")
            between[first == second] *= 0.5  # an entry meets itself on both sides
            each = np.take(part, second, out=more[: len(first)], mode="clip")
            each *= between
            sums = np.bincount(first, each, len(part))
            between *= np.take(part, first, out=each, mode="clip")
            made[entries] = sums + np.bincount(second, between, len(part))
        return made

    def _room(self) -> np.ndarray:
        """Return an array that holds the pairs of any part."""
        return np.empty(max((p.stop - p.start for p, _ in self.parts), default=0))


def by_row(
    row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of different entries of a matrix by row and column, and where they stand.

    The second and third array are column indices and row pointers of a `csr_matrix`. It sorts by
    counting, several times as fast as by comparison.
    """
    places = sp.csr_matrix((np.arange(len(row)), (row, column)), shape)
    return places.data, places.indices, places.indptr
