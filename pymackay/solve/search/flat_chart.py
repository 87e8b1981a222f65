"""`flat_parameters`: parameters of structures that the data do not determine, at an optimum.

A structure's covariance is not linear in its parameters, so that flat directions are looked for in
the chart that the search steps in (compare `pymackay.solve.search.ridge`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymackay.covariance.layout import par_names
from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.points import Points


def flat_parameters(bases: Bases, points: Points, rises: Callable[[list[np.ndarray]], bool]) -> str:
    """Say which parameters the data do not determine; empty if there are none.

    Parameters
    ----------
    bases : Bases
    points : Points
        One optimum.
    rises : callable
        Whether the criterion at other factors differs from the optimum's by more than rounding.
    """
    values, vectors = points.model.values[0], points.model.vectors[0]
    flat = np.abs(values) < limits.RIDGE_CURVATURE * points.model.size[0]
    share = np.zeros(len(values))
    for vector in vectors[:, flat].T:
        moves = [points.after((step * vector)[None]) for step in limits.RIDGE_STEPS]
        if any(not rises([factor[0] for factor in move]) for move in moves):
            share = np.maximum(share, np.abs(vector))
    if not share.any():
        return ""
    names = par_names(bases.model.terms)
    affected = [names[k] for k in np.flatnonzero(share > limits.FLAT_SHARE * share.max())]
    return (
        f"flat ridge: the data do not determine the covariance parameters {', '.join(affected)}, "
        f"but only combinations of them: other values fit exactly as well. With one row for each "
        f"level and effect the residual variance cannot be told from that of the effects; take a "
        f"term out, or choose a structure with fewer parameters"
    )
