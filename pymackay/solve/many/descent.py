"""`Descent`: points that go down, each by the criterion of one of many responses.

The steps are those of `pymackay.solve.search.valleys.basins`, with derivatives in place of
differences. Most points go down to an optimum that has been reached already; they stop where this
is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pymackay.covariance.layout import TermLayout
from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.start import noise_levels
from pymackay.solve.search.valleys.basins import NewtonSteps, coordinates, factors_at, units
from pymackay.solve.search.values import Factors, Values


class Criteria(Protocol):
    """The criteria of many responses to one design."""

    @property
    def gram(self) -> Bases:
        """The design's cross-products."""
        ...

    def __len__(self) -> int: ...

    def take(self, which: np.ndarray) -> Criteria:
        """Return those of some responses, each as often as it is named."""
        ...

    def evaluate(self, factors: Factors) -> Values:
        """Evaluate each response at its own factors."""
        ...

    def criteria(self, factors: Factors) -> np.ndarray:
        """Return each response's criterion, (B,), at its own factors; or infinity."""
        ...


@dataclass(frozen=True, eq=False)
class Reached:
    """The optima that B responses have reached.

    Attributes
    ----------
    factors : tuple of numpy.ndarray, each (B, q, q)
    criteria : numpy.ndarray, shape (B,)
    """

    factors: Factors
    criteria: np.ndarray


class Descent:
    """S points on their way down.

    Parameters
    ----------
    landscape : Criteria
        Of B responses.
    which : numpy.ndarray of int, shape (S,)
        Each point's response.
    x : numpy.ndarray, shape (S, m)
        Where the points begin: the elements of their factors.
    reached : Reached
        What is known already.

    Attributes
    ----------
    x : numpy.ndarray, shape (S, m)
    values : numpy.ndarray, shape (S,)
        The criteria there.
    """

    def __init__(
        self, landscape: Criteria, which: np.ndarray, x: np.ndarray, reached: Reached
    ) -> None:
        gram = landscape.gram
        self.layouts = list(gram.layouts)
        self.floors = np.sqrt(noise_levels(gram)).tolist()
        self.landscape, self.which, self.x = landscape, which, x.copy()
        self.values = landscape.take(which).criteria(factors_at(x, self.layouts))
        self.optimum = _signed(coordinates(reached.factors, self.layouts), self.layouts)
        self.unit = units(self.optimum, self.floors, self.layouts)
        self.reached = reached.criteria
        self.arrived = np.zeros(len(x), dtype=bool)

    def run(self) -> None:
        """Let the points go down.

        After some rounds, a point stops whose criterion falls all the way along a straight line to
        the optimum that its response has reached. Where another point of the response ends
        elsewhere, it goes on all the same.
        """
        moving = np.arange(len(self.x))
        for _ in range(limits.BASIN_FIRST):
            moving = self._round(moving)
        falls = self._falls_to_optimum(moving)
        stopped = moving[falls]
        self._rest(moving[~falls])
        ended = np.setdiff1d(np.flatnonzero(~self.arrived), stopped)
        elsewhere = ended[~self._falls_to_optimum(ended)]
        self._rest(stopped[np.isin(self.which[stopped], self.which[elsewhere])])

    def _rest(self, moving: np.ndarray) -> None:
        """Go the rounds that are left with some of the points."""
        for _ in range(limits.BASIN_FIRST, limits.BASIN_LAST):
            moving = self._round(moving)

    @np.errstate(all="ignore")
    def _round(self, moving: np.ndarray) -> np.ndarray:
        """Move some points by one step, and return the numbers of those that are not at a bottom.

        A point that is within reach of the optimum of its response by one step has `arrived`.
        """
        if not len(moving):
            return moving
        x, here = self.x[moving], self.landscape.take(self.which[moving])
        unit = units(x, self.floors, self.layouts)
        gradient, H = _derivatives(here.evaluate(factors_at(x, self.layouts)), x, self.layouts)
        gradient = np.nan_to_num(gradient * unit, posinf=0.0, neginf=0.0)
        steps = NewtonSteps.of(gradient, H * unit[:, :, None] * unit[:, None, :])
        arrives = steps.is_convex & (steps.length[:, 0] < limits.BASIN_RADIUS)
        arrives &= self._meets_optimum(moving, x + unit * steps.whole, steps.gain)
        self.arrived[moving] = arrives
        goes = ~arrives & ~(steps.is_convex & (steps.gain < limits.BASIN_SPENT))
        self._walk(moving[goes], (unit * steps.held)[goes])
        return moving[goes]

    def _meets_optimum(self, points: np.ndarray, ends: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """Say which points end at their response's optimum by their quadratic models, (b,).

        `ends`, (b, m), are where the models have their minima, lower by `gain`, (b,).
        """
        which = self.which[points]
        away = np.abs(_signed(ends, self.layouts) - self.optimum[which]) / self.unit[which]
        gap = np.abs(self.values[points] - gain - self.reached[which])
        return (away.max(axis=1) < limits.BASIN_NEAR) & (gap < limits.BASIN_SAME)

    def _walk(self, points: np.ndarray, step: np.ndarray) -> None:
        """Move points to the lowest of some multiples of their steps, (b, m), that is lower."""
        here, start = self.landscape.take(self.which[points]), self.x[points]
        for size in limits.BASIN_SIZES:
            trial = start + size * step
            values = here.criteria(factors_at(trial, self.layouts))
            lower = values < self.values[points]
            self.x[points[lower]], self.values[points[lower]] = trial[lower], values[lower]

    def _falls_to_optimum(self, points: np.ndarray) -> np.ndarray:
        """Say from which points the criterion falls on a straight way to their optimum, (b,)."""
        here, end = self.landscape.take(self.which[points]), self.optimum[self.which[points]]
        start, before = _signed(self.x[points], self.layouts), self.values[points]
        falls = np.ones(len(points), dtype=bool)
        for share in np.linspace(0.0, 1.0, limits.BASIN_WAY + 1)[1:]:
            way = start + share * (end - start)
            values = here.criteria(factors_at(way, self.layouts))
            falls &= values < before + limits.WAY_RISE
            before = values
        return falls


def _signed(x: np.ndarray, layouts: Sequence[TermLayout]) -> np.ndarray:
    """Return the coordinates, (S, m), of the same covariances with no negative diagonal."""
    factors = factors_at(x, layouts)
    signs = (np.where(f.diagonal(axis1=1, axis2=2) < 0.0, -1.0, 1.0) for f in factors)
    return coordinates(
        tuple(f * sign[:, None] for f, sign in zip(factors, signs, strict=True)), layouts
    )


def _derivatives(
    values: Values, x: np.ndarray, layouts: Sequence[TermLayout]
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients, (S, m), and second derivatives, (S, m, m), by the elements of factors.

    With ``G = ΛΛ'`` and the score S, these are ``2 SΛ`` and ``J'CJ + 2 S_ac`` for elements (a, b)
    and (c, b) of one column; C is the curvature by G, and J has the derivatives
    ``dG_ab = δ_ac Λ_bd + δ_bc Λ_ad`` by element (c, d).
    """
    (points, m), factors = x.shape, factors_at(x, layouts)
    gradient = np.empty_like(x)
    J, H = np.zeros((points, m, m)), np.zeros((points, m, m))
    for factor, S, layout in zip(factors, values.score, layouts, strict=True):
        rows, columns = layout.rows, layout.columns
        span = slice(layout.start, layout.stop)
        gradient[:, span] = 2.0 * (S @ factor)[:, rows, columns]
        first, second = rows[:, None] == rows, columns[:, None] == rows
        straight, crossed = factor[:, columns][:, :, columns], factor[:, rows][:, :, columns]
        J[:, span, span] = first * straight + second * crossed
        H[:, span, span] = 2.0 * (columns[:, None] == columns) * S[:, rows][:, :, rows]
    H += J.swapaxes(1, 2) @ values.curvature @ J
    return gradient, H
