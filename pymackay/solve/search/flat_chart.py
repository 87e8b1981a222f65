"""`flat_parameters`: parameters of structures that the data do not determine, at an optimum.

A structure's covariance is not linear in its parameters, so that a set of equal criteria is a curve
in the chart that the search steps in (compare `pymackay.solve.search.ridge`). Where a direction has
no curvature, the point is moved along it and searched from anew: a search that ends elsewhere at
the same criterion shows such a curve.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymackay.covariance.layout import par_names
from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.points import Points
from pymackay.solve.search.values import Factors


def flat_parameters(bases: Bases, points: Points, search: Callable[[Factors], Points]) -> str:
    """Say which parameters the data do not determine; empty if there are none.

    Parameters
    ----------
    bases : Bases
    points : Points
        One optimum.
    search : callable
        Where a search ends that starts at these factors.
    """
    values, vectors = points.model.values[0], points.model.vectors[0]
    flat = np.abs(values) < limits.RIDGE_CURVATURE * points.model.size[0]
    level = limits.EXHAUSTED * points.rounding[0]
    here, share = _parameters(bases, points.factors), np.zeros(len(values))
    for vector in vectors[:, flat].T:
        for step in limits.FLAT_MOVES:
            other = search(points.after((step * vector)[None]))
            if abs(other.criterion[0] - points.criterion[0]) < level:
                there = _parameters(bases, other.factors)
                size = np.abs(here) + np.abs(there) + np.finfo(float).tiny
                share = np.maximum(share, np.abs(there - here) / size)
    affected = np.flatnonzero(share > limits.FLAT_SHARE)
    if not len(affected):
        return ""
    names = par_names(bases.model.terms)
    return (
        f"flat ridge: the data do not determine the covariance parameters "
        f"{', '.join(names[k] for k in affected)} by themselves, only combinations of them and "
        f"sigma: other values fit exactly as well. With one row for each level and effect the "
        f"residual variance cannot be told from that of the effects; take a term out, or choose a "
        f"structure with fewer parameters"
    )


def _parameters(bases: Bases, factors: Factors) -> np.ndarray:
    """Return the parameters of all terms in the bases computed in, (m,), of one point."""
    pairs = zip(bases.layouts, factors, strict=True)
    return np.concatenate([layout.par(factor[0]) for layout, factor in pairs])
