"""`descend`: many points follow a criterion down side by side, by its values alone.

Of few rows a criterion costs microseconds at each of thousands of points, a thousandth of a search.
So points spread all over can each be brought near the bottom of a valley, before a search starts in
the valleys that are different.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.chart import Chart
from pymackay.covariance.layout import TermLayout
from pymackay.covariance.structure import Correlated
from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.values import Factors

Criteria = Callable[[Factors], np.ndarray]


def follows_basins(gram: Bases) -> bool:
    """Whether points go down by each response's criterion alone before searches start."""
    return not gram.one_variance and gram.layouts[-1].stop <= limits.BASIN_PARAMETERS


def descend(
    criteria: Criteria, factors: Factors, floors: Sequence[float], layouts: Sequence[TermLayout]
) -> tuple[Factors, np.ndarray]:
    """Follow the criterion down from S points by Newton's method with numerical derivatives.

    The coordinates of a factor without a structure are the elements of its lower triangle, those of
    a structure standard deviations and angles (`pymackay.covariance.chart`). In units of each
    column's size, or of a standard deviation and of one radian, a step is ``−|H|⁻¹ g``, H being
    the second differences and |H| the same with positive eigenvalues, and no longer than
    `limits.BASIN_RADIUS`. The best of some multiples of it is taken.

    Parameters
    ----------
    criteria : callable
        From K factors, term by term (K, q, q), to their criteria, (K,); infinite where there is
        none.
    factors : tuple of numpy.ndarray, each (S, q, q)
    floors : sequence of float
        The smallest size of a column, term by term.
    layouts : sequence of TermLayout

    Returns
    -------
    factors : tuple of numpy.ndarray, each (S, q, q)
    values : numpy.ndarray, shape (S,)
    """
    sizes = np.array(limits.BASIN_SIZES)[:, None]
    values, x = criteria(factors), coordinates(factors, layouts)

    def at(points: np.ndarray) -> np.ndarray:
        return criteria(factors_at(points.reshape(-1, x.shape[1]), layouts)).reshape(len(x), -1)

    for _ in range(limits.BASIN_ROUNDS):
        unit = units(x, floors, layouts)
        step = unit * NewtonSteps.of(*_differences(at, x, unit, values)).held
        trials = x[:, None] + sizes * step[:, None]
        reached = at(trials)
        best = (np.arange(len(x)), reached.argmin(axis=1))
        lower = reached[best] < values
        x[lower], values[lower] = trials[best][lower], reached[best][lower]
    return factors_at(x, layouts), values


def coordinates(factors: Factors, layouts: Sequence[TermLayout]) -> np.ndarray:
    """Return the coordinates of the factors, (S, m)."""
    parts = []
    for factor, layout in zip(factors, layouts, strict=True):
        if layout.structure is None:
            parts.append(layout.elements(factor))
        elif isinstance(layout.structure, Correlated):
            parts.append(Chart.of(layout.structure, factor).x)
        else:
            parts.append(layout.structure.par_of(factor))
    return np.concatenate(parts, axis=1)


def factors_at(x: np.ndarray, layouts: Sequence[TermLayout]) -> Factors:
    """Return the factors with these coordinates, (K, m)."""
    factors = []
    for layout in layouts:
        part = x[:, layout.start : layout.stop]
        if layout.structure is None:
            factors.append(np.zeros((len(x), layout.q, layout.q)))
            factors[-1][:, layout.rows, layout.columns] = part
        elif not isinstance(layout.structure, Correlated):
            factors.append(layout.structure.factor(part, layout.q))
        else:  # a standard deviation may change its sign on the way
            chart = Chart(layout.structure, layout.q, part)
            factors.append(chart.moved(np.zeros_like(part)).factor())
    return tuple(factors)


def units(x: np.ndarray, floors: Sequence[float], layouts: Sequence[TermLayout]) -> np.ndarray:
    """Return the unit of each coordinate, (S, m)."""
    units = []
    for factor, floor, layout in zip(factors_at(x, layouts), floors, layouts, strict=True):
        if isinstance(layout.structure, Correlated):
            unit = np.ones((len(x), layout.n_par))
            m = layout.structure.n_sd(layout.q)
            unit[:, :m] = np.maximum(np.abs(x[:, layout.start : layout.start + m]), floor)
            units.append(unit)
        else:
            sizes = np.maximum(np.linalg.norm(factor, axis=1), floor)
            units.append(sizes[:, layout.columns])
    return np.concatenate(units, axis=1)


def _differences(
    at: Callable[[np.ndarray], np.ndarray], x: np.ndarray, unit: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients, (S, m), and second differences, (S, m, m), in units of `unit`."""
    S, m = x.shape
    h = limits.BASIN_DIFFERENCE
    one = np.eye(m)
    first, second = np.triu_indices(m, 1)
    moves = np.concatenate([one, -one, one[first] + one[second]])
    points = x[:, None] + h * moves * unit[:, None]
    up, down, both = np.split(at(points), [m, 2 * m], axis=1)
    with np.errstate(invalid="ignore"):
        gradient = (up - down) / (2.0 * h)
        H = np.zeros((S, m, m))
        H[:, np.arange(m), np.arange(m)] = (up + down - 2.0 * values[:, None]) / h**2
        mixed = (both - up[:, first] - up[:, second] + values[:, None]) / h**2
    H[:, first, second] = H[:, second, first] = mixed
    return np.nan_to_num(gradient, posinf=0.0, neginf=0.0), H


@dataclass(frozen=True, eq=False)
class NewtonSteps:
    """Newton's steps ``−|H|⁻¹ g`` of S points, |H| being H with positive eigenvalues.

    Attributes
    ----------
    whole : numpy.ndarray, shape (S, m)
    gain : numpy.ndarray, shape (S,)
        By how much the quadratic model falls on a step, where it is convex.
    is_convex : numpy.ndarray of bool, shape (S,)
        Whether all eigenvalues of H are positive.
    """

    whole: np.ndarray
    gain: np.ndarray
    is_convex: np.ndarray

    @classmethod
    def of(cls, gradient: np.ndarray, H: np.ndarray) -> NewtonSteps:
        """Compute the steps from gradients, (S, m), and second derivatives, (S, m, m)."""
        H = np.where(np.isfinite(H).all(axis=(1, 2))[:, None, None], H, np.eye(H.shape[1]))
        curvature, axes = np.linalg.eigh(H)
        size = np.abs(curvature)
        flat = limits.BASIN_FLAT * size.max(axis=1, keepdims=True)
        slope = np.einsum("sab,sa->sb", axes, gradient)
        along = slope / np.maximum(size, flat + 1e-300)
        whole = -np.einsum("sab,sb->sa", axes, along)
        return cls(whole, 0.5 * (slope * along).sum(axis=1), curvature[:, 0] > flat[:, 0])

    @property
    def length(self) -> np.ndarray:
        """The lengths of the steps, (S, 1)."""
        return np.linalg.norm(self.whole, axis=1, keepdims=True)

    @property
    def held(self) -> np.ndarray:
        """The steps, made as short as `limits.BASIN_RADIUS` where they are longer."""
        return self.whole * np.minimum(1.0, limits.BASIN_RADIUS / np.maximum(self.length, 1e-300))
