"""`ManyValleys`: other valleys of many responses' criteria, looked for side by side.

What `pymackay.solve.search.valleys` does for one response: points spread over the covariances go
down, and searches start at the bottoms that are lower than what has been reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pymackay.covariance.layout import TermLayout
from pymackay.solve.many.descent import Criteria, Descent, Reached
from pymackay.solve.search import limits
from pymackay.solve.search.start import noise_levels
from pymackay.solve.search.valleys.basins import coordinates, factors_at
from pymackay.solve.search.valleys.profile import Profile
from pymackay.solve.search.valleys.spread import lowest_of_cells, places, spread
from pymackay.solve.search.values import Factors

Starts = Iterator[tuple[Factors, np.ndarray]]
"""Factors, term by term (b, q, q), and the numbers of the b responses that should start there."""


class Scanned(Criteria, Protocol):
    """Criteria of many responses to one design, which can be evaluated at common factors too."""

    @property
    def cells(self) -> int:
        """Elements that one point adds to a batch of small matrices."""
        ...

    def take(self, which: np.ndarray) -> Scanned:
        """Return those of some responses."""
        ...

    def scan(self) -> Profile:
        """Return what evaluates each criterion at many factors at once."""
        ...


@dataclass(frozen=True, eq=False)
class ManyValleys:
    """The valleys of the criteria of B responses to one design.

    Attributes
    ----------
    landscape : Scanned
    """

    landscape: Scanned

    def starts(self, criteria: np.ndarray, best: Factors) -> Starts:
        """Yield factors at the bottoms of valleys that lie below what has been reached.

        Parameters
        ----------
        criteria : numpy.ndarray, shape (B,)
            What has been reached.
        best : tuple of numpy.ndarray, each (B, q, q)
            Where that is.

        Yields
        ------
        factors : tuple of numpy.ndarray, each (b, q, q)
        which : numpy.ndarray of int, shape (b,)
        """
        points = self._spread(limits.BASIN_POINTS)
        place, x = places(points), coordinates(points, self._layouts)
        bottoms = []
        for part in self._portions(np.arange(len(self.landscape))):
            some, factors = self.landscape.take(part), tuple(f[part] for f in best)
            lowest = lowest_of_cells(some.scan().criteria(points), place, limits.BASIN_CELLS)
            bottoms.append(_bottoms(some, x[lowest.T], part, Reached(factors, criteria[part])))
        yield from self._below(bottoms, criteria)

    def beside(self, criteria: np.ndarray, best: Factors, which: np.ndarray) -> Starts:
        """Yield lower bottoms that differ in one term at first from the best factors.

        Parameters
        ----------
        criteria, best
            As in `starts`, of all responses.
        which : numpy.ndarray of int, shape (b,)
            The responses whose valleys are looked for.

        Yields
        ------
        As `starts`; nothing where there is one term.
        """
        if len(self._layouts) == 1:
            return
        points = self._spread(limits.TERM_POINTS)
        bottoms = []
        for part in self._portions(which):
            some, factors = self.landscape.take(part), tuple(f[part] for f in best)
            x = [
                _lowest_beside(some, factors, layout, term)
                for layout, term in zip(self._layouts, points, strict=True)
            ]
            reached = Reached(factors, criteria[part])
            bottoms.append(_bottoms(some, np.concatenate(x, axis=1), part, reached))
        yield from self._below(bottoms, criteria)

    @property
    def _layouts(self) -> list[TermLayout]:
        return list(self.landscape.gram.layouts)

    def _spread(self, points: int) -> Factors:
        return spread(self._layouts, noise_levels(self.landscape.gram), points)

    def _portions(self, which: np.ndarray) -> Iterator[np.ndarray]:
        """Divide responses so that the points of a portion stay near the processor."""
        size = max(1, limits.BASIN_HELD // (self.landscape.cells * limits.TERM_POINTS))
        for start in range(0, len(which), size):
            yield which[start : start + size]

    def _below(self, bottoms: list[_Bottoms], criteria: np.ndarray) -> Starts:
        """Yield the bottoms below `criteria`, (B,): the lowest of each response, then the next."""
        x, values, which = (np.concatenate(parts) for parts in zip(*bottoms, strict=True))
        order = np.argsort(values, axis=1, kind="stable")
        values = np.take_along_axis(values, order, axis=1)
        with np.errstate(invalid="ignore"):
            apart = np.diff(values, axis=1, prepend=-np.inf) > limits.BASIN_APART
        counts = apart & (values < criteria[which, None] - limits.WAY_RISE)
        rank = np.where(counts, counts.cumsum(axis=1), 0)
        for number in range(1, min(int(rank.max(initial=0)), limits.VALLEYS) + 1):
            row, column = np.nonzero(rank == number)
            yield factors_at(x[row, order[row, column]], self._layouts), which[row]


_Bottoms = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Coordinates, (b, points, m), and criteria, (b, points), of the bottoms of responses, (b,)."""


def _bottoms(some: Scanned, x: np.ndarray, which: np.ndarray, reached: Reached) -> _Bottoms:
    """Let the points, (b, points, m), of b responses go down."""
    b, points, m = x.shape
    descent = Descent(some, np.repeat(np.arange(b), points), x.reshape(-1, m), reached)
    descent.run()
    return descent.x.reshape(x.shape), descent.values.reshape(b, points), which


def _lowest_beside(
    some: Scanned, best: Factors, layout: TermLayout, points: np.ndarray
) -> np.ndarray:
    """Return the lowest points, (b, cells, m), that differ in one term from the best of b.

    The term's factors at the `points` have shape (S, q, q).
    """
    x = coordinates(best, some.gram.layouts)
    b, S = len(x), len(points)
    x = np.repeat(x[:, None], S, axis=1)
    x[:, :, layout.start : layout.stop] = layout.elements(points)
    pairs = some.take(np.repeat(np.arange(b), S))
    values = pairs.criteria(factors_at(x.reshape(b * S, -1), some.gram.layouts)).reshape(b, S)
    lowest = lowest_of_cells(values.T, places((points,)), limits.TERM_CELLS)
    return x[np.arange(b)[:, None], lowest.T]
