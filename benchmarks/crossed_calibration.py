"""Are the iterative solver's error bars as long as they say? Many small data sets, both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

import pymackay as pm
from pymackay.solve.iterative.control import IterativeControl

__all__ = ["calibration"]

_PROBES = 16
_DESIGNS: dict[str, tuple[str, dict[str, float]]] = {
    "long tail": ("rating ~ 1 + (1 | user) + (1 | item)", {}),
    "assortative": ("rating ~ 1 + (1 | user) + (1 | item)", {"assortativity": 1.0}),
    "slopes": (
        "rating ~ x + (x | user) + (x | item)",
        {"user_slope_sd": 0.3, "item_slope_sd": 0.2},
    ),
}


def calibration(seeds: int) -> dict[str, Any]:
    """Return, by design, the shares of variances within 1 and 1.96 standard errors of exact.

    Every seed has data and probes of its own.
    """
    found: dict[str, Any] = {"seeds": seeds, "probes": _PROBES}
    t = stats.t(_PROBES - 1)
    found["expected"] = [float(t.cdf(k) - t.cdf(-k)) for k in (1.0, 1.96)]
    for name, (formula, more) in _DESIGNS.items():
        scores = np.concatenate([_scores(formula, more, seed) for seed in range(seeds)])
        found[name] = {
            "n": len(scores),
            "within": [float(np.mean(np.abs(scores) < k)) for k in (1.0, 1.96)],
            "rms": float(np.sqrt(np.mean(scores**2))),
        }
    return found


def _scores(formula: str, more: dict[str, float], seed: int) -> np.ndarray:
    """Return how far each variance is from the exact one, in its stated standard errors."""
    data = pm.datasets.simulate_crossed(2000, 300, 100, seed=seed, **more)  # type: ignore[arg-type]
    control = IterativeControl(probes=_PROBES, max_probes=_PROBES, seed=seed, criterion_probes=0)
    exact = pm.lmer(formula, data, solver="exact")
    found = pm.lmer(formula, data, control=control)
    scores = []
    for term, V in exact.varcorr.items():
        for effect in V.columns:
            away = found.varcorr[term].loc[effect, effect] - V.loc[effect, effect]
            scores.append(away / found.convergence.monte_carlo_error[f"{term}.{effect}"])
    away = found.sigma**2 - exact.sigma**2
    scores.append(away / found.convergence.monte_carlo_error["Residual"])
    return np.array(scores, dtype=np.float64)
