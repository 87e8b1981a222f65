"""`exact_hessian`: second derivatives of a criterion; `by_differences`: of its exact gradient."""

from __future__ import annotations

import numpy as np

from pymackay.solve.pirls.criterion import Criterion, Evaluated

_FLAT = 1e-6  # of the largest second derivative
_STEP = 3e-4  # in units of a parameter's curvature: what is left out is its square, 1e-7


def exact_hessian(criterion: Criterion, point: Evaluated) -> np.ndarray:
    """Return the second derivatives of the criterion at a point, (P, P).

    By the point's own formulas where it has some, otherwise by differences of gradients. Also by
    differences where a parameter has no curvature at the point itself, as a factor of zero may:
    their step is long then, and they show which way the criterion goes.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the criterion has no value next to the point.
    """
    known = point.second_derivatives()
    if known is None:
        return by_differences(criterion, point)
    diagonal = np.abs(known.diagonal())
    flat = bool((diagonal < _FLAT * diagonal.max(initial=0.0)).any())
    return by_differences(criterion, point) if flat else known


def by_differences(criterion: Criterion, point: Evaluated) -> np.ndarray:
    """Return the second derivatives, (P, P), by differences of gradients.

    Two gradients for each parameter, on opposite sides, without a search for the mode: it is taken
    where its slopes lead. That is off by the square of the step, by as much on both sides, so that
    it cancels to the order of what the difference leaves out anyway. One gradient where the
    criterion is estimated: the step is far below the estimate's error.
    """
    diagonal = np.abs(point.curvature.hessian.diagonal())
    steps = _STEP / np.sqrt(np.maximum(diagonal, 1e-8 * diagonal.max()))
    columns = []
    for i, step in enumerate(steps):
        move = np.zeros(len(steps))
        move[i] = step
        way = point.curvature.mode_slopes @ move
        above = criterion.with_mode(point.psi + move, point.start + way)
        if point.noise:
            columns.append((above.gradient - point.gradient) / step)
            continue
        below = criterion.with_mode(point.psi - move, point.start - way)
        columns.append((above.gradient - below.gradient) / (2.0 * step))
    hessian = np.stack(columns, axis=1)
    return 0.5 * (hessian + hessian.T)
