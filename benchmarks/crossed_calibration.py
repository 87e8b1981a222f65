"""Checks the iterative solver's standard errors on many small data sets against exact fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import pymackay as pm
from pymackay.solve.iterative.control import IterativeControl

__all__ = ["calibration"]

_PROBES = 16
_ROWS, _USERS, _ITEMS = 2000, 300, 100
_CROSSED = "rating ~ 1 + (1 | user) + (1 | item)"


def _simulated(**more: float) -> Callable[[int], pd.DataFrame]:
    return lambda seed: pm.datasets.simulate_crossed(_ROWS, _USERS, _ITEMS, seed=seed, **more)


def _nearly_nested(seed: int) -> pd.DataFrame:
    """Three users for each item, except in one row of fifty."""
    rng = np.random.default_rng((seed, 1))
    user = rng.integers(0, _USERS, _ROWS)
    stray = rng.random(_ROWS) < 0.02
    return _rated(rng, user, np.where(stray, rng.integers(0, _ITEMS, _ROWS), user // 3))


def _two_blocks(seed: int) -> pd.DataFrame:
    """Half of the users rate only one half of the items, the others only the other half."""
    rng = np.random.default_rng((seed, 2))
    user = rng.integers(0, _USERS, _ROWS)
    half = _ITEMS // 2
    return _rated(rng, user, half * (user % 2) + rng.integers(0, half, _ROWS))


def _rated(rng: np.random.Generator, user: np.ndarray, item: np.ndarray) -> pd.DataFrame:
    effects = 0.6 * rng.normal(size=_USERS)[user] + 0.5 * rng.normal(size=_ITEMS)[item]
    rating = 3.5 + effects + 0.9 * rng.normal(size=len(user))
    return pd.DataFrame({"rating": rating, "user": user, "item": item})


_DESIGNS: dict[str, tuple[str, Callable[[int], pd.DataFrame]]] = {
    "long tail": (_CROSSED, _simulated()),
    "assortative": (_CROSSED, _simulated(assortativity=1.0)),
    "slopes": (
        "rating ~ x + (x | user) + (x | item)",
        _simulated(user_slope_sd=0.3, item_slope_sd=0.2),
    ),
    "tiny variances": (_CROSSED, _simulated(user_sd=0.1, item_sd=0.1)),
    "nearly nested": (_CROSSED, _nearly_nested),
    "two blocks that never meet": (_CROSSED, _two_blocks),
}


def calibration(seeds: int) -> dict[str, Any]:
    """Return, by design, the shares of variances within 1 and 1.96 standard errors of exact.

    Every seed has its own data and probe vectors. A variance that both engines estimate as zero
    is left out.
    """
    coverage: dict[str, Any] = {"seeds": seeds, "probes": _PROBES}
    t = stats.t(_PROBES - 1)
    coverage["expected"] = [float(t.cdf(k) - t.cdf(-k)) for k in (1.0, 1.96)]
    coverage["expected rms"] = float(t.std())
    for name, (formula, simulate) in _DESIGNS.items():
        parts = [_scores(formula, simulate(seed), seed) for seed in range(seeds)]
        scores, shares = np.concatenate(parts, axis=1)
        coverage[name] = {
            "n": len(scores),
            "within": [float(np.mean(np.abs(scores) < k)) for k in (1.0, 1.96)],
            "rms": float(np.sqrt(np.mean(scores**2))),
            "error": float(np.median(shares)),
        }
    return coverage


def _scores(formula: str, data: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the deviation of each variance from the exact one, in its standard errors.

    Returns
    -------
    numpy.ndarray, shape (2, variances)
        Deviations, and the standard errors relative to the variances.
    """
    control = IterativeControl(probes=_PROBES, max_probes=_PROBES, seed=seed, criterion_probes=0)
    exact = _variances(pm.lmer(formula, data, solver="exact"))
    fit = pm.lmer(formula, data, control=control)
    scores = []
    for name, ours in _variances(fit).items():
        if ours == exact[name] == 0.0:
            continue
        error = fit.convergence.monte_carlo_error[name]
        scores.append(((ours - exact[name]) / error, error / ours))
    return np.array(scores, dtype=np.float64).T


def _variances(fit: pm.Fit) -> dict[str, float]:
    variances = {
        f"{term}.{effect}": float(V.loc[effect, effect])
        for term, V in fit.varcorr.items()
        for effect in V.columns
    }
    return {**variances, "Residual": fit.sigma**2}
