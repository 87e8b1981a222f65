"""`Process`: a stationary Markov process in time, known at some times and wanted at others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FLAT = 1e-8  # of log rho times a gap: below it hyperbolic sines are their arguments


@dataclass(frozen=True, eq=False)
class Process:
    """Effects whose correlation is ``rho^|t − s|``.

    Given the effects at the known times, one at another time depends only on its neighbours: its
    conditional mean is a weighted sum of these (Rasmussen and Williams 2006, appendix B.2).

    Attributes
    ----------
    times : numpy.ndarray, shape (q,)
        The known times, ascending, in the unit that rho is for.
    rho : float
        Below zero only for times that are whole numbers apart.
    """

    times: np.ndarray
    rho: float

    def weights(self, t: np.ndarray) -> np.ndarray:
        """Return the weights, (m, q), of the effects at the known times in the means at t, (m,).

        Between the neighbours a and b they are ``sinh(λ(b − t)) / sinh(λ(b − a))`` and
        ``sinh(λ(t − a)) / sinh(λ(b − a))`` with λ = −log rho; outside, rho to the distance.
        """
        weights = np.zeros((len(t), len(self.times)))
        after = np.searchsorted(self.times, t)
        for row, (time, b) in enumerate(zip(t, after, strict=True)):
            if b == 0 or b == len(self.times):
                end = min(b, len(self.times) - 1)
                weights[row, end] = self.rho ** abs(time - self.times[end])
            else:
                left, right = time - self.times[b - 1], self.times[b] - time
                weights[row, b - 1] = self._share(right, left)
                weights[row, b] = self._share(left, right)
        return weights

    def unpredicted(self, t: np.ndarray) -> np.ndarray:
        """Return the conditional variances at t, (m,), as shares of the process's variance."""
        distances = np.abs(t[:, None] - self.times)
        explained = (self.weights(t) * self.rho**distances).sum(axis=1)
        return np.clip(1.0 - explained, 0.0, 1.0)

    def _share(self, near: float, far: float) -> float:
        """Return ``sinh(λ near) / sinh(λ (near + far))``."""
        if self.rho <= 0.0:
            return float(far == 0.0)
        rate = -np.log(self.rho)
        if rate * (near + far) < _FLAT:
            return near / (near + far)
        top, bottom = np.expm1(-2.0 * rate * near), np.expm1(-2.0 * rate * (near + far))
        return float(np.exp(-rate * far) * top / bottom)
