"""`GroupSums` and `LevelSums`: the sums of one grouping factor; `ColumnMap`: where columns go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pymackay.model.stream.level_keys import LevelKeys, Levels


@dataclass(frozen=True, eq=False)
class GroupSums:
    """What a partition adds to the sums of one grouping factor.

    Attributes
    ----------
    levels : tuple of str or numpy.ndarray, length J
        Of this partition: labels or, where the factor is one column of numbers, these in rising
        order.
    integer : bool
        Whether R would store the numbers as integers.
    diagonal : numpy.ndarray, shape (J, q, q)
        ``Z_j'Z_j``.
    dense : numpy.ndarray, shape (J, q, p + 1)
        ``Z_j'[W e]`` with the rotated columns W and the centred response e.
    """

    levels: Levels
    integer: bool
    diagonal: np.ndarray
    dense: np.ndarray


class LevelSums:
    """The sums of one grouping factor over all partitions so far.

    Attributes
    ----------
    keys : LevelKeys
    diagonal : numpy.ndarray, shape (J or more, q, q)
    dense : numpy.ndarray, shape (J or more, q, p + 1)
        As in `GroupSums`, by the levels' codes. The arrays can be longer, for further levels.
    """

    def __init__(self) -> None:
        self.keys = LevelKeys()
        self.diagonal = np.zeros((0, 0, 0))
        self.dense = np.zeros((0, 0, 0))

    def add(self, part: GroupSums) -> np.ndarray:
        """Add a partition's sums; return the code of each of its levels."""
        places = self.keys.add(part.levels, part.integer)
        self.diagonal = _grown(self.diagonal, len(self.keys), part.diagonal.shape[1:])
        self.dense = _grown(self.dense, len(self.keys), part.dense.shape[1:])
        self.diagonal[places] += part.diagonal
        self.dense[places] += part.dense
        return places

    def state(self) -> dict[str, np.ndarray]:
        """Return all sums as arrays."""
        count = len(self.keys)
        sums = {"diagonal": self.diagonal[:count], "dense": self.dense[:count]}
        return {**sums, **self.keys.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> LevelSums:
        """Restore sums from `state`."""
        sums = cls()
        sums.keys = LevelKeys.from_state(state)
        sums.diagonal, sums.dense = state["diagonal"], state["dense"]
        return sums


def _grown(array: np.ndarray, levels: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array with room for `levels`; the length doubles, so that few copies are made."""
    if len(array) >= levels:
        return array
    grown = np.zeros((max(levels, 2 * len(array)), *shape))
    grown[: len(array)] = array.reshape(len(array), *shape)
    return grown


class ColumnMap(NamedTuple):
    """The places of columns, (q,), among `size` columns."""

    places: np.ndarray
    size: int

    @property
    def same(self) -> bool:
        """Whether the columns are all columns, in the same order."""
        return len(self.places) == self.size and np.array_equal(self.places, np.arange(self.size))


def spread(values: np.ndarray, maps: dict[int, ColumnMap]) -> np.ndarray:
    """Return an array with zeros for new columns along some of its axes."""
    for axis, columns in maps.items():
        if not columns.same:
            shape = (*values.shape[:axis], columns.size, *values.shape[axis + 1 :])
            wider = np.zeros(shape, dtype=values.dtype)
            wider[(slice(None),) * axis + (columns.places,)] = values
            values = wider
    return values
