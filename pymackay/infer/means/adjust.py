"""Multiplicity: p-values of several tests together, and the reach of simultaneous intervals."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from pymackay.errors import ArgumentError
from pymackay.infer.means.rectangle import probability_inside

ADJUSTMENTS = ("tukey", "sidak", "holm", "bonferroni", "fdr", "mvt", "none")
METHOD_NAMES = {
    "tukey": "Tukey's method",
    "sidak": "Sidak's method",
    "holm": "Holm's method",
    "bonferroni": "Bonferroni's method",
    "fdr": "Benjamini and Hochberg's method",
    "mvt": "the multivariate t distribution",
}
_ROOT_2 = float(np.sqrt(2.0))


def check_adjust(adjust: object) -> str:
    """Return the name of an adjustment.

    Raises
    ------
    ArgumentError
    """
    name = str(adjust).lower() if isinstance(adjust, str) else ""
    if name not in ADJUSTMENTS:
        raise ArgumentError(
            f"adjust is {adjust!r}, but must be one of {', '.join(map(repr, ADJUSTMENTS))}"
        )
    return name


def adjusted_p(
    t: np.ndarray, df: np.ndarray, adjust: str, family: int, correlation: np.ndarray
) -> np.ndarray:
    """Return two-sided p-values adjusted for one family of tests, (k,).

    Parameters
    ----------
    t, df : numpy.ndarray, shape (k,)
        nan where a function is not estimable.
    adjust : str
    family : int
        Number of means that are compared, for ``"tukey"``.
    correlation : numpy.ndarray, shape (k, k)
        Of the estimates, for ``"mvt"``.
    """
    known = np.isfinite(t)
    p = np.full(len(t), np.nan)
    size = np.abs(t[known])
    plain = 2.0 * stats.t.sf(size, df[known])
    # functions that are not estimable belong to the family, as in R's emmeans
    m = len(t)
    if adjust == "none" or m == 1:
        p[known] = plain
    elif adjust == "tukey":
        p[known] = stats.studentized_range.sf(_ROOT_2 * size, family, df[known])
    elif adjust == "bonferroni":
        p[known] = np.minimum(1.0, m * plain)
    elif adjust == "sidak":
        p[known] = -np.expm1(m * np.log1p(-plain))
    elif adjust in ("holm", "fdr"):
        p[known] = _stepwise(plain, adjust, m)
    else:
        inner = correlation[np.ix_(known, known)]
        limits = zip(size, df[known], strict=True)
        outside = [1.0 - probability_inside(limit, nu, inner) for limit, nu in limits]
        p[known] = np.clip(outside, plain, np.minimum(1.0, len(inner) * plain))
    return np.clip(p, 0.0, 1.0)


def _stepwise(p: np.ndarray, adjust: str, m: int) -> np.ndarray:
    """Return Holm's (1979) or Benjamini and Hochberg's (1995) p-values in a family of m tests."""
    order, ranks = np.argsort(p), np.arange(len(p))
    made = np.empty(len(p))
    if adjust == "holm":
        made[order] = np.maximum.accumulate(p[order] * (m - ranks))
    else:
        falling = order[::-1]
        made[falling] = np.minimum.accumulate(p[falling] * m / (ranks[::-1] + 1))
    return np.minimum(made, 1.0)


def critical_values(
    df: np.ndarray, adjust: str, family: int, correlation: np.ndarray, level: float
) -> np.ndarray:
    """Return by how many standard errors simultaneous intervals reach, (k,).

    Stepwise adjustments have no intervals; Bonferroni's stand in for them, as in R's emmeans.
    """
    m = len(df)
    if adjust == "none" or m == 1:
        return np.asarray(stats.t.ppf(0.5 + 0.5 * level, df))
    if adjust == "tukey":
        different, place = np.unique(df, return_inverse=True)
        return np.array([_tukey_critical(float(nu), family, level) for nu in different])[place]
    if adjust == "sidak":
        each = level ** (1.0 / m)
        return np.asarray(stats.t.ppf(0.5 + 0.5 * each, df))
    if adjust == "mvt":
        return _mvt_critical(df, correlation, level)
    return np.asarray(stats.t.ppf(1.0 - 0.5 * (1.0 - level) / m, df))


def _tukey_critical(df: float, family: int, level: float) -> float:
    """Return the studentized range's quantile over √2: between those of one and of all t tests."""
    if np.isnan(df):
        return float("nan")
    pairs = family * (family - 1) / 2.0
    low = float(stats.t.ppf(0.5 + 0.5 * level, df))
    high = float(stats.t.ppf(1.0 - 0.5 * (1.0 - level) / pairs, df))
    if family == 2:
        return low

    def missed(t: float) -> float:
        return float(stats.studentized_range.cdf(_ROOT_2 * t, family, df)) - level

    return float(optimize.brentq(missed, low, high, xtol=1e-9))


def _mvt_critical(df: np.ndarray, correlation: np.ndarray, level: float) -> np.ndarray:
    known = np.isfinite(df) | np.isinf(df)
    inner = correlation[np.ix_(known, known)]
    by_df: dict[float, float] = {}
    for nu in np.unique(df[known]):
        low, high = stats.t.ppf(0.5 + 0.5 * level, nu), stats.t.ppf(1.0 - 1e-9, max(nu, 3.0))
        by_df[float(nu)] = float(
            optimize.brentq(_missed_level, low, high, args=(nu, inner, level), xtol=1e-5)
        )
    return np.array([by_df.get(float(nu), np.nan) for nu in df])


def interval_method(adjust: str) -> str:
    """Return the adjustment of the intervals that go with that of p-values."""
    return "bonferroni" if adjust in ("holm", "fdr") else adjust


def _missed_level(limit: float, df: float, correlation: np.ndarray, level: float) -> float:
    return probability_inside(limit, df, correlation) - level
