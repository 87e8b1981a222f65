"""`forecast_literal`: which weight groups MacKay's literal loop would kill, without running it.

The literal loop sets a group's variance to that of its weights. With v the variance, v₀ the true
one and d_j the information that the data have of weight j (over σ²), it maps

    v ← mean_j (v d_j / (1 + v d_j))² (v₀ + 1/d_j),

whose fixed point is zero where the information is too small. With equal d and s = 1 + v₀d this is
the map t ← (t/(1+t))² s of `pymackay.forecast_collapse`, which survives from s = 4 on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.keras.evidence import Evidence

_BINS = 256  # of a group's weights by information
_GRID = 1000  # variances at which the map is looked at
_BISECTIONS = 40


def forecast_literal(evidence: Evidence) -> pd.DataFrame:
    """Return by group and direction what ``update="raw"`` would do.

    The variances of the last update stand for the true ones: let the loop with
    ``update="gamma"`` come to rest first, or read a pilot run as one.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    pandas.DataFrame
        ``group``; ``direction``, from 0 in ascending order of s for correlated columns, or the
        column; ``s``, 1 plus the mean of the weights' prior variance times their information;
        ``threshold``, the s from which the group survives, 4 where all weights have the same
        information; ``survives``; ``kept``, the share of the variance that the literal loop keeps.

    Raises
    ------
    ArgumentError
        If there was no update.
    """
    if evidence.shares is None:
        raise ArgumentError(
            "There was no update to forecast from: train for more epochs than start_after."
        )
    records = [
        (name, direction, *_verdict(signals)) for name, direction, signals in _signals(evidence)
    ]
    columns = ["group", "direction", "s", "threshold", "survives", "kept"]
    return pd.DataFrame(records, columns=columns)


def _signals(evidence: Evidence) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield group, direction and the weights' v₀d_j: share/(1 − share) of what is determined."""
    shares = evidence.shares
    for k, group in enumerate(evidence.groups.groups):
        spans = [span for span in evidence.columns.spans if span.group == k]
        explained = np.concatenate([shares[span.slice] for span in spans]).reshape(-1, group.q)  # type: ignore[index]
        if group.covariance == "full" and group.q > 1:
            explained = _by_direction(explained, evidence.information[k] / group.rows)
        signals = explained / np.maximum(1.0 - explained, 1e-12)
        for a in range(group.q):
            yield group.name, a, signals[:, a]


def _by_direction(explained: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the shares of T's own directions: their mean, with the weights' own spread."""
    directions = np.linalg.eigvalsh(mean)
    total = explained.mean(axis=1) / max(float(explained.mean()), 1e-300)
    return np.clip(np.outer(total, directions), 0.0, 1.0 - 1e-12)


def _verdict(signals: np.ndarray) -> tuple[float, float, bool, float]:
    values, counts = _binned(signals)
    mean = float(signals.mean())
    kept = _fixed_point(values, counts)
    threshold = 1.0 + mean * _critical_factor(values, counts) if mean > 0.0 else np.nan
    return 1.0 + mean, threshold, kept > 0.0, kept


def literal_fixed_point(signals: np.ndarray) -> float:
    """Return the share of the variance at which the literal loop ends, coming from above.

    Parameters
    ----------
    signals : numpy.ndarray, shape (J,)
        v₀d_j of every weight.

    Examples
    --------
    >>> round(literal_fixed_point(np.full(5, 3.2)), 3), literal_fixed_point(np.full(5, 2.8))
    (0.487, 0.0)
    """
    return _fixed_point(*_binned(signals))


def _binned(signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of at most `_BINS` bins of the sorted signals, and their shares."""
    parts = np.array_split(np.sort(signals), min(_BINS, len(signals)))
    return np.array([p.mean() for p in parts]), np.array([len(p) for p in parts]) / len(signals)


def _growth(v: np.ndarray, signals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the map's image of v over v, for v₀ = 1; the loop keeps v where this is 1."""
    vd = v[:, None] * signals
    return (vd * (1.0 + signals) / (1.0 + vd) ** 2) @ counts


def _fixed_point(signals: np.ndarray, counts: np.ndarray) -> float:
    """Return the largest v with v = g(v), 0 where there is none."""
    mean = float(signals @ counts)
    if mean <= 0.0:
        return 0.0
    grid, above = _kept_variances(signals, counts, mean)
    if not len(above):
        return 0.0
    low, high = grid[above[-1]], grid[min(above[-1] + 1, _GRID - 1)]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if _growth(np.array([middle]), signals, counts)[0] >= 1.0:
            low = middle
        else:
            high = middle
    return float(low)


def _kept_variances(
    signals: np.ndarray, counts: np.ndarray, mean: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid of variances, and the places in it where the map does not lower v."""
    grid = np.geomspace(1e-4 / (1.0 + mean), 1e2 * (1.0 + 1.0 / mean), _GRID)
    return grid, np.flatnonzero(_growth(grid, signals, counts) >= 1.0)


def _critical_factor(signals: np.ndarray, counts: np.ndarray) -> float:
    """Return the factor of all information at which the group just survives."""
    low, high = -20.0, 20.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        scaled = signals * np.exp(middle)
        if len(_kept_variances(scaled, counts, float(scaled @ counts))[1]):
            high = middle
        else:
            low = middle
    return float(np.exp(high))
