"""`LevelSums`: what partitions bring of one grouping factor, by the codes of its levels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pymackay.model.stream.level_keys import LevelKeys
from pymackay.model.stream.partition import GroupSums

__all__ = ["LevelSums"]


class LevelSums:
    """One grouping factor so far.

    Attributes
    ----------
    keys : LevelKeys
    diagonal : numpy.ndarray, shape (J or more, q, q)
    dense : numpy.ndarray, shape (J or more, q, p + 1)
        As in `GroupSums`, by the levels' codes; there may be room for levels to come.
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
        """Make the sums that `state` was taken of."""
        own = cls()
        own.keys = LevelKeys.from_state(state)
        own.diagonal, own.dense = state["diagonal"], state["dense"]
        return own


def _grown(array: np.ndarray, levels: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array with room for `levels`, doubled so that growing stays cheap."""
    if len(array) >= levels:
        return array
    grown = np.zeros((max(levels, 2 * len(array)), *shape))
    grown[: len(array)] = array.reshape(len(array), *shape)
    return grown
