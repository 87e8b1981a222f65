"""`lowest_optima`: the lowest minima that many responses' searches from further starts lead to.

As `pymackay.solve.pirls.starts.lowest` does for one: searches end early, and only those that may
undercut the minimum known so far go on.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pymackay.solve.pirls.batch.points import Points, rough_ends
from pymackay.solve.pirls.many.point import ManyLaplace
from pymackay.solve.pirls.many.search import Optima, find_optima

_ROUGH = 1e-3  # Newton decrement at which further searches end first
_APART = 0.3  # in units of the parameters' curvature: closer ends are the same
_FALL = 2.0  # criterion units that a search may still gain, at most, for it to go on
_LOWER = 1e-9  # of 1 + |C|: a gain that is more than rounding


@np.errstate(all="ignore")
def lowest_optima(
    laplace: ManyLaplace, best: Optima, starts: Iterable[np.ndarray], spent: float
) -> Optima:
    """Return the lowest minima of B responses; where one is not certified, none is.

    Parameters
    ----------
    laplace : ManyLaplace
    best : Optima
        Of the first searches; written to.
    starts : iterable of numpy.ndarray, each (B, P)
    spent : float
        As of `find_optima`.
    """
    for start in starts:
        ends = rough_ends(laplace, start, _ROUGH)
        todo = np.flatnonzero(_may_undercut(ends, best))
        if not len(todo):
            continue
        psi, modes = ends.psi[todo], ends.take(todo).modes
        again = find_optima(laplace.take(todo), psi, spent, modes)
        lower = again.criterion < _level(best.criterion[todo])
        best.put(todo[lower], again.take(lower))
    return best


def _level(criterion: np.ndarray) -> np.ndarray:
    """Return what is lower than criteria of shape (B,) by more than rounding."""
    return np.asarray(criterion - _LOWER * (1.0 + np.abs(criterion)))


def _may_undercut(ends: Points, best: Optima) -> np.ndarray:
    """Say which ends may lead lower than the best, and are not near it, up to signs, (B,)."""
    bound = ends.criterion - np.minimum(ends.model.decrement, _FALL)
    size = np.sqrt(np.abs(np.diagonal(ends.curvature, axis1=1, axis2=2)))
    apart = (size * np.abs(np.abs(ends.psi) - np.abs(best.psi))).max(axis=1)
    return np.asarray((bound < _level(best.criterion)) & (apart >= _APART))
