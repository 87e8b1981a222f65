"""Bands of order statistics, for plots of quantiles."""

from __future__ import annotations

import numpy as np
from scipy import stats

_LEVEL = 0.95


def order_band(rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pointwise 95 % band of sorted uniform values, of the positions `rows`.

    The k-th of n is Beta(k, n + 1 − k) distributed.
    """
    tail = 0.5 * (1.0 - _LEVEL)
    a, b = rows + 1.0, n - rows
    return np.asarray(stats.beta.ppf(tail, a, b)), np.asarray(stats.beta.ppf(1.0 - tail, a, b))
