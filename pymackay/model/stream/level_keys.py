"""`LevelKeys`: the levels of one grouping factor, numbered as partitions bring them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pymackay.model.columns.column import number_labels
from pymackay.model.stream.level_order import GroupOrder

Levels = tuple[str, ...] | np.ndarray
"""A partition's levels: labels, or numbers in rising order."""


class LevelKeys:
    """The levels so far; the code of a level is its place in the order of appearance.

    Levels that are numbers are stored as numbers, because comparing sorted numbers is much faster
    than looking labels up. As soon as a partition has labels, all levels become labels.
    """

    def __init__(self) -> None:
        self._labels: dict[str, int] | None = None
        self._sorted = np.zeros(0, dtype=np.int64)
        self._codes = np.zeros(0, dtype=np.int32)
        self._integer = True

    def __len__(self) -> int:
        return len(self._codes) if self._labels is None else len(self._labels)

    def add(self, levels: Levels, integer: bool) -> np.ndarray:
        """Return the codes of a partition's levels; new ones are appended.

        Parameters
        ----------
        levels : tuple of str or numpy.ndarray
            Distinct; numbers in rising order.
        integer : bool
            Whether R would store the numbers as integers, which print without an exponent.
        """
        if self._labels is None and isinstance(levels, np.ndarray):
            self._integer = self._integer and integer
            return self._add_numbers(levels)
        if self._labels is None:
            self._labels = self._labelled()
        if isinstance(levels, np.ndarray):
            levels = tuple(number_labels(levels, integer))
        labels = self._labels
        return np.array([labels.setdefault(level, len(labels)) for level in levels], dtype=np.int32)

    def order(self, of_group: GroupOrder) -> tuple[list[str], np.ndarray]:
        """Return the levels in R's order, and the place in it of each code.

        Parameters
        ----------
        of_group : GroupOrder
            Numbers of a factor without categories rise, other labels are sorted.
        """
        if self._labels is None and not of_group.has_categories:
            return number_labels(self._sorted, self._integer), _places(self._codes)
        labels = list(self._labelled() if self._labels is None else self._labels)
        rank = of_group.rank(labels)
        order = sorted(range(len(labels)), key=lambda i: rank[labels[i]])
        return [labels[i] for i in order], _places(order)

    def state(self) -> dict[str, np.ndarray]:
        """Return the levels and their codes as arrays."""
        if self._labels is not None:
            return {"labels": np.array(list(self._labels), dtype=np.str_)}
        integer = np.array(self._integer)
        return {"sorted": self._sorted, "codes": self._codes, "integer": integer}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> LevelKeys:
        """Restore levels from `state`."""
        keys = cls()
        if "labels" in state:
            keys._labels = {label: i for i, label in enumerate(state["labels"].tolist())}
        else:
            keys._sorted, keys._codes = state["sorted"], state["codes"]
            keys._integer = bool(state["integer"])
        return keys

    def _add_numbers(self, levels: np.ndarray) -> np.ndarray:
        """Return the codes, (J,), of levels that are numbers in rising order; add the new ones."""
        dtype = np.result_type(self._sorted, levels) if len(self) else levels.dtype
        known, levels = self._sorted.astype(dtype, copy=False), levels.astype(dtype, copy=False)
        place = np.searchsorted(known, levels)
        old = np.zeros(len(levels), dtype=bool)
        inside = place < len(known)
        old[inside] = known[place[inside]] == levels[inside]
        codes = np.empty(len(levels), dtype=np.int32)
        codes[old] = self._codes[place[old]]
        new = ~old
        codes[new] = len(self) + np.arange(np.count_nonzero(new), dtype=np.int32)
        self._sorted = np.insert(known, place[new], levels[new])
        self._codes = np.insert(self._codes, place[new], codes[new])
        return codes

    def _labelled(self) -> dict[str, int]:
        """Return the numbers' labels with their codes, by code."""
        labels = number_labels(self._sorted, self._integer)
        order = np.argsort(self._codes)
        return {labels[i]: code for code, i in enumerate(order.tolist())}


def _places(order: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the place of each code in an order of all codes."""
    return np.argsort(order, kind="stable").astype(np.int32)
