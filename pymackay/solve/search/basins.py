"""`descend`: many points follow a criterion down side by side, by its values alone.

Of few rows a criterion costs microseconds at each of thousands of points, a thousandth of a search.
So points spread all over can each be brought near the bottom of a valley, before a search starts in
the valleys that are different.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.values import Factors

Criteria = Callable[[Factors], np.ndarray]


def follows_basins(gram: Bases) -> bool:
    """Whether points go down by each response's criterion alone before searches start."""
    return not gram.one_variance and is_free(gram)


def is_free(gram: Bases) -> bool:
    """Whether factors are free of structures, and few enough numbers to follow differences."""
    free = all(layout.structure is None for layout in gram.layouts)
    return free and gram.n_theta <= limits.BASIN_PARAMETERS


def descend(
    criteria: Criteria, factors: Factors, floors: Sequence[float]
) -> tuple[Factors, np.ndarray]:
    """Follow the criterion down from S points by Newton's method with numerical derivatives.

    In units of each column's size a step is ``−|H|⁻¹ g``, H being the second differences and |H|
    the same with positive eigenvalues, and no longer than `limits.BASIN_RADIUS`. The best of some
    multiples of it is taken.

    Parameters
    ----------
    criteria : callable
        From K factors, term by term (K, q, q), to their criteria, (K,); infinite where there is
        none.
    factors : tuple of numpy.ndarray, each (S, q, q)
    floors : sequence of float
        The smallest size of a column, term by term.

    Returns
    -------
    factors : tuple of numpy.ndarray, each (S, q, q)
    values : numpy.ndarray, shape (S,)
    """
    sizes = np.array(limits.BASIN_SIZES)[:, None]
    values = criteria(factors)
    for _ in range(limits.BASIN_ROUNDS):
        x, unit = _elements(factors), _units(factors, floors)
        step = unit * _newton_steps(*_differences(criteria, x, unit, values, factors))
        trials = x[:, None] + sizes * step[:, None]
        reached = criteria(_factors(trials.reshape(-1, x.shape[1]), factors)).reshape(len(x), -1)
        best = (np.arange(len(x)), reached.argmin(axis=1))
        lower = reached[best] < values
        x[lower], values[lower] = trials[best][lower], reached[best][lower]
        factors = _factors(x, factors)
    return factors, values


def _elements(factors: Factors) -> np.ndarray:
    """Return the lower triangles of the factors, (S, m)."""
    return np.concatenate([f[:, *np.tril_indices(f.shape[1])] for f in factors], axis=1)


def _factors(elements: np.ndarray, like: Factors) -> Factors:
    """Return the factors with these lower triangles, (K, m); `like` says their sizes."""
    made, start = [], 0
    for factor in like:
        places = np.tril_indices(factor.shape[1])
        stop = start + len(places[0])
        made.append(np.zeros((len(elements), *factor.shape[1:])))
        made[-1][:, *places] = elements[:, start:stop]
        start = stop
    return tuple(made)


def _units(factors: Factors, floors: Sequence[float]) -> np.ndarray:
    """Return the size of the column that each element is in, (S, m)."""
    units = []
    for factor, floor in zip(factors, floors, strict=True):
        sizes = np.maximum(np.linalg.norm(factor, axis=1), floor)
        units.append(sizes[:, np.tril_indices(factor.shape[1])[1]])
    return np.concatenate(units, axis=1)


def _differences(
    criteria: Criteria, x: np.ndarray, unit: np.ndarray, values: np.ndarray, like: Factors
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients, (S, m), and second differences, (S, m, m), in units of `unit`."""
    S, m = x.shape
    h = limits.BASIN_DIFFERENCE
    one = np.eye(m)
    first, second = np.triu_indices(m, 1)
    moves = np.concatenate([one, -one, one[first] + one[second]])
    points = x[:, None] + h * moves * unit[:, None]
    around = criteria(_factors(points.reshape(-1, m), like)).reshape(S, -1)
    up, down, both = np.split(around, [m, 2 * m], axis=1)
    with np.errstate(invalid="ignore"):
        gradient = (up - down) / (2.0 * h)
        H = np.zeros((S, m, m))
        H[:, np.arange(m), np.arange(m)] = (up + down - 2.0 * values[:, None]) / h**2
        mixed = (both - up[:, first] - up[:, second] + values[:, None]) / h**2
    H[:, first, second] = H[:, second, first] = mixed
    return np.nan_to_num(gradient, posinf=0.0, neginf=0.0), H


def _newton_steps(gradient: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Return ``−|H|⁻¹ g``, (S, m), made as short as `limits.BASIN_RADIUS` where it is longer."""
    H = np.where(np.isfinite(H).all(axis=(1, 2))[:, None, None], H, np.eye(H.shape[1]))
    curvature, axes = np.linalg.eigh(H)
    size = np.abs(curvature)
    size = np.maximum(size, limits.BASIN_FLAT * size.max(axis=1, keepdims=True) + 1e-300)
    along = np.einsum("sab,sa->sb", axes, gradient) / size
    step = -np.einsum("sab,sb->sa", axes, along)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, limits.BASIN_RADIUS / np.maximum(length, 1e-300)))
