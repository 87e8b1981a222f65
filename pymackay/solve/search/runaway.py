"""`follow`: a search whose residual variance goes to zero, followed to the criterion's limit.

Where a structure can take up the residuals (``ar1`` with one row for each level and effect), the
criterion may fall as sigma goes to zero while the absolute covariances go to a limit. With G
relative to sigma², ``κ G`` has the criterion ``limit + c/κ``: Newton's steps in relative parameters
only creep along, and float64 loses the derivatives' digits before those of the criterion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import SINGULAR, lower_factor
from pymackay.solve.search import limits


@dataclass(frozen=True)
class Height:
    """The criterion at a point.

    Attributes
    ----------
    criterion : float
        Infinite where float64 has no digits.
    rounding : float
        Size of its rounding error.
    sigma2 : float
        Residual variance, for a response of unit length.
    """

    criterion: float
    rounding: float
    sigma2: float


Heights = Callable[[list[np.ndarray]], Height]


@dataclass(frozen=True, eq=False)
class Runaway:
    """Where the criterion is all but at its limit.

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
    gap : float
        How far the criterion still is above its limit.
    """

    factors: list[np.ndarray]
    gap: float

    def message(self) -> str:
        """Say what it means."""
        return (
            f"the residual variance goes to zero: the criterion is within {max(self.gap, 0.0):.1g} "
            f"of its limit, where the random effects take up the residuals. The absolute "
            f"variances and correlations (varcorr) are the estimates, sigma is zero, and the "
            f"parameters relative to it (theta, par) have no meaning"
        )


def follow(height: Heights, factors: list[np.ndarray]) -> Runaway | None:
    """Scale relative covariances up until the criterion falls by no more than its rounding.

    Parameters
    ----------
    height : callable
        The criterion at relative factors.
    factors : list of numpy.ndarray, each (q, q)
        Where the search has ended.

    Returns
    -------
    Runaway or None
        None where larger covariances have a higher criterion, so that there is an optimum, and
        where the criterion falls without end.
    """
    factors = _without_dead(height, factors, SINGULAR)
    first = np.sqrt(height(factors).sigma2 / limits.VANISHING)
    scale, here = first, height([first * factor for factor in factors])
    fall = np.inf
    for _ in range(limits.RUNAWAY_STEPS):
        larger = scale * limits.RUNAWAY_SCALE
        there = height([larger * factor for factor in factors])
        if not here.criterion - there.criterion > there.rounding:
            break
        fall = here.criterion - there.criterion
        scale, here = larger, there
    gap = fall / (limits.RUNAWAY_SCALE**2 - 1.0)  # c/κ, κ by the square of the scale
    if not gap < limits.RUNAWAY_GAP:
        return None
    # sizes relative to sigma say nothing here: a direction is singular beside the largest
    scaled = [scale * factor for factor in factors]
    dead = SINGULAR * _largest(scaled)
    return Runaway(_without_dead(height, scaled, dead, limits.RUNAWAY_GAP), float(gap))


def _without_dead(
    height: Heights, factors: list[np.ndarray], size: float, rise: float = 0.0
) -> list[np.ndarray]:
    """Return the factors without directions of less than `size`, if the criterion agrees.

    It agrees where it rises by no more than `rise`, or its rounding.
    """
    kept = []
    for factor in factors:
        U, sizes, _ = np.linalg.svd(factor)
        alive = np.where(sizes < size, 0.0, sizes)
        kept.append(factor if (alive == sizes).all() else lower_factor(U * alive))
    before, without = height(factors), height(kept)
    agrees = without.criterion <= before.criterion + max(before.rounding, rise)
    return kept if agrees else factors


def _largest(factors: list[np.ndarray]) -> float:
    """Return the largest relative standard deviation of any direction."""
    return max(float(np.linalg.norm(factor, 2)) for factor in factors)
