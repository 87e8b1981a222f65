"""`other_correlations`: starts with the correlation of a structure elsewhere between its bounds.

The criterion may have an optimum for correlations of either sign, and one at a bound. Where the
data determine the correlation well, there is none elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pymackay.covariance.chart import Chart
from pymackay.covariance.structure import Correlated
from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.points import Factors, Points


def other_correlations(gram: Bases, points: Points) -> Iterator[tuple[Factors, np.ndarray]]:
    """Yield where else B searches may start, and which should.

    Parameters
    ----------
    gram : Bases
    points : Points
        Where one search each has ended.

    Yields
    ------
    factors : tuple of numpy.ndarray, each (B, q, q)
        Those of the points, but for the correlation of one term; with its standard deviations
        as they are, with equal ones, and with small ones, each of which may also vanish.
    which : numpy.ndarray of bool, shape (B,)
        The searches whose correlation is not well determined; one at least.
    """
    floor = limits.FLOOR * points.model.size[:, None]
    spread = 2.0 / np.maximum(points.model.values, floor)
    variance = np.einsum("bij,bj->bi", points.model.vectors**2, spread)
    for term, layout in enumerate(gram.layouts):
        structure = layout.structure
        if not isinstance(structure, Correlated) or not structure.n_rho(layout.q):
            continue
        first = layout.start + structure.n_sd(layout.q)
        angles = slice(first, layout.stop)
        unsure = (variance[:, angles] * points.unit[:, angles] ** 2).max(axis=1)
        which = np.asarray(unsure > limits.VAGUE_ANGLE**2)
        if not which.any():
            continue
        par, m = Chart.of(structure, points.factors[term]).par, structure.n_sd(layout.q)
        low, high = structure.bounds(layout.q)
        alike = np.broadcast_to(np.sqrt(np.mean(par[:, :m] ** 2, axis=1))[:, None], (len(par), m))
        small = np.full_like(par[:, :m], limits.SMALL_SD * np.sqrt(points.noise[term]))
        for share in limits.CORRELATIONS:
            for sd in (par[:, :m], small, alike)[: 2 + (m > 1)]:
                rho = np.broadcast_to(low + share * (high - low), (len(sd), len(low)))
                factor = structure.factor(np.concatenate([sd, rho], axis=1), layout.q)
                yield (*points.factors[:term], factor, *points.factors[term + 1 :]), which
