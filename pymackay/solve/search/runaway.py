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

Criterion = Callable[[list[np.ndarray]], float]


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


def follow(criterion: Criterion, factors: list[np.ndarray]) -> Runaway | None:
    """Scale relative covariances up until the criterion falls no more.

    Parameters
    ----------
    criterion : callable
        The criterion at relative factors; infinite where float64 has no digits.
    factors : list of numpy.ndarray, each (q, q)
        Where the search has ended.

    Returns
    -------
    Runaway or None
        None where larger covariances have a higher criterion, so that there is an optimum.
    """
    factors = _without_dead(criterion, factors)
    scales = limits.RUNAWAY_SCALE ** np.arange(limits.RUNAWAY_STEPS)
    values = np.array([criterion([scale * factor for factor in factors]) for scale in scales])
    with np.errstate(invalid="ignore"):  # infinite less infinite: no fall
        falls = values[:-1] - values[1:]
    level = limits.RUNAWAY_NOISE * max(1.0, abs(values[0]))
    rises = np.flatnonzero(~(falls > level))
    last = int(rises[0]) if len(rises) else len(falls)
    if last == 0 and values[1] > values[0] + level:
        return None
    before = criterion([scales[last] / limits.RUNAWAY_SCALE * factor for factor in factors])
    gap = (before - values[last]) / (limits.RUNAWAY_SCALE**2 - 1.0)  # c/κ, κ by the square
    return Runaway([scales[last] * factor for factor in factors], float(gap))


def _without_dead(criterion: Criterion, factors: list[np.ndarray]) -> list[np.ndarray]:
    """Return the factors without directions of singular size, if the criterion agrees."""
    kept = []
    for factor in factors:
        U, sizes, _ = np.linalg.svd(factor)
        alive = np.where(sizes < SINGULAR, 0.0, sizes)
        kept.append(factor if (alive == sizes).all() else lower_factor(U * alive))
    before = criterion(factors)
    agrees = criterion(kept) <= before + limits.RUNAWAY_NOISE * max(1.0, abs(before))
    return kept if agrees else factors
