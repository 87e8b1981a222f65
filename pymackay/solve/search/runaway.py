"""`follow`: a search whose residual variance goes to zero, followed to the criterion's limit.

Where a structure can take up the residuals (``ar1`` with one row for each level and effect), the
criterion may fall as sigma goes to zero while the absolute covariances go to a limit. With G
relative to sigma², ``κ G`` has the criterion ``limit + c/κ``: Newton's steps in relative parameters
only creep along, and float64 loses the derivatives' digits before those of the criterion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import SINGULAR, lower_factor
from pymackay.solve.search import limits
from pymackay.solve.search.landscape import Landscape
from pymackay.solve.search.values import Factors, Values


@dataclass(frozen=True, eq=False)
class Runaway:
    """Where the criterion is all but at its limit.

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
    gap : float
        How far the criterion still is above its limit.
    evaluations : int
        How many it took.
    """

    factors: list[np.ndarray]
    gap: float
    evaluations: int

    def message(self) -> str:
        """Say what it means."""
        return (
            f"the residual variance goes to zero: the criterion is within {max(self.gap, 0.0):.1g} "
            f"of its limit, where the random effects take up the residuals. The absolute "
            f"variances and correlations (varcorr) are the estimates, sigma is zero, and the "
            f"parameters relative to it (theta, par) have no meaning"
        )


def follow(landscape: Landscape, ended: Factors) -> Runaway | None:
    """Scale relative covariances up until the criterion falls by no more than its rounding.

    Parameters
    ----------
    landscape : Landscape
        Of one response.
    ended : tuple of numpy.ndarray, each (1, q, q)
        Where the search has ended.

    Returns
    -------
    Runaway or None
        None where larger covariances have a higher criterion, so that there is an optimum, and
        where the criterion falls without end.
    """
    factors = _without_dead(landscape, ended, SINGULAR)

    def at(scale: float) -> Values:
        return landscape.evaluate(tuple(scale * factor for factor in factors))

    first = float(np.sqrt(at(1.0).sigma2[0] / limits.VANISHING))
    scale, here, fall, evaluations = first, at(first), np.inf, 4  # two are `_without_dead`'s
    for _ in range(limits.RUNAWAY_STEPS):
        there = at(scale * limits.RUNAWAY_SCALE)
        evaluations += 1
        if not here.criterion - there.criterion > there.rounding:
            break
        fall = float(here.criterion[0] - there.criterion[0])
        scale, here = scale * limits.RUNAWAY_SCALE, there
    gap = fall / (limits.RUNAWAY_SCALE**2 - 1.0)  # c/κ, κ by the square of the scale
    if not gap < limits.RUNAWAY_GAP:
        return None
    # sizes relative to sigma say nothing here: a direction is singular beside the largest
    scaled = tuple(scale * factor for factor in factors)
    dead = SINGULAR * max(float(np.linalg.norm(factor[0], 2)) for factor in scaled)
    scaled = _without_dead(landscape, scaled, dead, limits.RUNAWAY_GAP)
    return Runaway([factor[0] for factor in scaled], gap, evaluations + 2)


def _without_dead(
    landscape: Landscape, factors: Factors, size: float, rise: float = 0.0
) -> Factors:
    """Return the factors without directions of less than `size`, if the criterion agrees.

    It agrees where it rises by no more than `rise`, or its rounding.
    """
    kept = []
    for factor in factors:
        U, sizes, _ = np.linalg.svd(factor)
        alive = np.where(sizes < size, 0.0, sizes)
        kept.append(factor if (alive == sizes).all() else lower_factor(U * alive[:, None, :]))
    before, without = landscape.evaluate(factors), landscape.evaluate(tuple(kept))
    agrees = without.criterion <= before.criterion + max(float(before.rounding[0]), rise)
    return tuple(kept) if agrees else factors
