"""Cross-products of two grouping factors, stored for the pairs of levels that share a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

_WHOLE = 2.0**24  # up to here float32 holds every whole number


@dataclass(frozen=True, eq=False)
class LevelPairs:
    """``Z_k' Z_l`` of two grouping factors: one small matrix for each pair with a common row.

    Attributes
    ----------
    indptr, indices : numpy.ndarray of int
        Compressed rows: the levels of l that meet each level of k, ascending.
    values : numpy.ndarray, shape (pairs, q_k, q_l)
        float64, or float32 where that holds them exactly.
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

    def in_rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return, pair by pair, the number that each level of k has among `numbers`."""
        return np.repeat(numbers, np.diff(self.indptr))

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
class _Part:
    """``Z_k' Z_l`` of some rows: the levels that meet, and one matrix for each such pair."""

    pattern: sp.csr_matrix
    values: np.ndarray

    def __add__(self, other: _Part) -> _Part:
        shape = tuple(
            max(pair) for pair in zip(self.pattern.shape, other.pattern.shape, strict=True)
        )
        if self.values.shape[1:] == (1, 1):
            most = sum(float(np.abs(part.values).max(initial=0.0)) for part in (self, other))
            first, second = (
                part.with_data(part.values.reshape(-1), shape) for part in (self, other)
            )
            if most >= _WHOLE:
                first = first.astype(np.float64)
            total = first + second
            return _Part(total, total.data.reshape(-1, 1, 1))
        parts = [
            part.with_data(np.ones(len(part.values), np.float32), shape) for part in (self, other)
        ]
        union = parts[0] + parts[1]
        places = _keys(union)
        values = np.zeros((len(places), *self.values.shape[1:]))
        for part, pattern in zip((self, other), parts, strict=True):
            values[np.searchsorted(places, _keys(pattern))] += part.values
        return _Part(union, values)

    def with_data(self, data: np.ndarray, shape: tuple[int, ...]) -> sp.csr_matrix:
        """Return the pattern with these numbers, in a matrix that may be larger."""
        indptr = self.pattern.indptr
        if shape[0] + 1 > len(indptr):
            indptr = np.concatenate([indptr, np.full(shape[0] + 1 - len(indptr), indptr[-1])])
        return sp.csr_matrix((data, self.pattern.indices, indptr), shape=shape)


def sum_pairs(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Add up the numbers that stand at equal places, in compressed rows, sorted.

    Parameters
    ----------
    rows, columns : numpy.ndarray of int, shape (pairs,)
    values : numpy.ndarray, shape (pairs,)
    shape : tuple of int
    """
    if not len(values) or (values != values[0]).any():
        return sp.coo_matrix((values, (rows, columns)), shape=shape).tocsr()
    keys = rows.astype(np.int64)  # one number everywhere, as where effects are scalar: counting
    keys *= shape[1]
    keys += columns
    keys.sort()
    firsts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    counts = np.diff(firsts, append=len(keys))
    row, column = np.divmod(keys[firsts], shape[1])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    return sp.csr_matrix(
        (values[0] * counts, column.astype(np.int32), indptr.astype(np.int32)), shape=shape
    )


def compact(values: np.ndarray) -> np.ndarray:
    """Return the values as float32 if all are whole numbers that it holds exactly, else as is."""
    short = values.astype(np.float32)
    whole = np.array_equal(np.rint(short), values) and np.abs(short).max(initial=0.0) < _WHOLE
    return short if whole else values


def _keys(pattern: sp.csr_matrix) -> np.ndarray:
    """Number the places of a sorted pattern row by row, ascending."""
    rows = np.repeat(np.arange(pattern.shape[0], dtype=np.int64), np.diff(pattern.indptr))
    return rows * pattern.shape[1] + pattern.indices


class GrowingPairs:
    """``Z_k' Z_l`` to which rows are added, while the number of levels grows.

    Parts of similar size are added first, as in a binary counter, so that each pair is copied a
    number of times that is the logarithm of the number of parts.
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
        matrices = [
            sum_pairs(rows, columns, components[:, i], shape) for i in range(components.shape[1])
        ]
        data = [part.data for part in matrices]
        joined = compact(data[0]) if len(data) == 1 else np.stack(data, axis=1)
        part = _Part(matrices[0], joined.reshape(-1, *values.shape[1:]))
        rank = 0
        while self._parts and self._parts[-1][0] <= rank:
            part = self._parts.pop()[1] + part
            rank += 1
        self._parts.append((rank, part))

    def state(self) -> dict[str, np.ndarray]:
        """Return the parts as arrays."""
        arrays = {"ranks": np.array([rank for rank, _ in self._parts], dtype=np.int64)}
        for i, (_, part) in enumerate(self._parts):
            arrays[f"{i}.shape"] = np.array(part.pattern.shape, dtype=np.int64)
            arrays[f"{i}.indptr"] = part.pattern.indptr
            arrays[f"{i}.indices"] = part.pattern.indices
            arrays[f"{i}.values"] = part.values
        return arrays

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> GrowingPairs:
        """Make the sums that `state` was taken of."""
        pairs = cls()
        for i, rank in enumerate(state["ranks"].tolist()):
            values = state[f"{i}.values"]
            data = values.reshape(-1) if values.shape[1:] == (1, 1) else np.ones(len(values))
            held = (data, state[f"{i}.indices"], state[f"{i}.indptr"])
            pattern = sp.csr_matrix(held, shape=tuple(state[f"{i}.shape"].tolist()))
            pairs._parts.append((rank, _Part(pattern, values)))
        return pairs

    @property
    def scalar(self) -> bool:
        """Whether each pair has one number."""
        return self._parts[0][1].values.shape[1:] == (1, 1)

    def matrix(self, shape: tuple[int, int]) -> sp.csr_matrix:
        """Return pairs of one number each as a matrix; nothing is kept."""
        total = self._total()
        return total.with_data(total.values.reshape(-1), shape)

    def compressed(self) -> LevelPairs:
        """Return all pairs in compressed rows; nothing is kept."""
        total = self._total()
        return LevelPairs.of(total.pattern, total.values)

    def _total(self) -> _Part:
        _, total = self._parts.pop()
        while self._parts:
            total = self._parts.pop()[1] + total
        return total
