"""`moved`: single levels' effects moved to the lowest of many points.

If a response's density is not a log-concave function of the linear predictor, the penalised
deviance may have several minima in u. The levels of one grouping factor do not depend on each other
at given effects of the other factors, so that each can move by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_POINTS = 25  # on each axis of a level's effects, closer together near zero
_LONGEST = 30.0  # of a spherical effect: a normal density has vanished
FALL = 1e-9  # of 1 + h: a fall of the penalised deviance that is more than rounding


def moved(given: Any, u: np.ndarray, others: list[np.ndarray]) -> np.ndarray | None:
    """Return u, (N,), after moves of single levels, block by block; None if none lowers h.

    Parameters
    ----------
    given : pymackay.solve.pirls.mode.Given
    u : numpy.ndarray, shape (N,)
    others : list of numpy.ndarray, each (N,)
        Whose levels are tried besides points on the axes of each level's effects.
    """
    u, any_fell = u.copy(), False
    for k, span in enumerate(given.rows.spans):
        block = given.rows.blocks[k]
        here = u[span].reshape(block.q, -1)
        tried = [other[span].reshape(here.shape) for other in others]
        best, fell = _best_by_level(given, u, k, np.stack([here, *tried, *_around(here)]))
        if fell:
            u[span], any_fell = best.ravel(), True
    return u if any_fell else None


def _around(here: np.ndarray) -> list[np.ndarray]:
    """Return points with one effect of each level changed, each (q, J), from u of that shape."""
    size = np.linspace(-1.0, 1.0, _POINTS)
    points = _LONGEST * np.sign(size) * np.abs(size) ** 3
    made = []
    for axis in range(len(here)):
        for point in points:
            moved = here.copy()
            moved[axis] = point
            made.append(moved)
    return made


def _best_by_level(given: Any, u: np.ndarray, k: int, tried: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the best effects of each level of a block, (q, J), and whether h falls.

    Parameters
    ----------
    given : Given
    u : numpy.ndarray, shape (N,)
        All effects; those of other blocks stay.
    k : int
        The block.
    tried : numpy.ndarray, shape (K, q, J)
        The first are the present ones.
    """
    rows = given.rows
    block, span = rows.blocks[k], rows.spans[k]
    without = u.copy()
    without[span] = 0.0
    rest = given.predictor(without)
    heights = np.empty((len(tried), block.n_levels))
    for i, effects in enumerate(tried):
        eta = rest + block.gather(given.factors[k] @ effects)
        heights[i] = block.level_sum(_by_row(given, eta)) / given.phi
        heights[i] += 0.5 * (effects**2).sum(axis=0)
    best = heights.argmin(axis=0)
    gain = heights[0] - heights.min(axis=0)
    best = np.where(gain > FALL * (1.0 + np.abs(heights[0])), best, 0)
    return tried[best, :, np.arange(block.n_levels)].T, bool(best.any())


def _by_row(given: Any, eta: np.ndarray) -> np.ndarray:
    """Return the half deviances of the rows, (n,); infinite where a mean is illegal."""
    family, observed = given.family, given.rows.observed
    with np.errstate(all="ignore"):
        value = family.expand(observed, eta).value
    legal = np.isfinite(value) & ((eta > 0.0) if family.is_bounded else True)
    return np.where(legal, value, np.inf)
