"""Speed of `glmer_many`: ``python -m benchmarks.general_many`` times a thousand responses.

Responses are drawn from a fit. All are fitted in one call; some of them also one after the other
by `glmer`. The answers are compared, and written to the page `GLMM_SPEED.md`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm
from benchmarks.general_page import store
from benchmarks.general_problems import PROBLEMS, crossed, table_of
from pymackay.family.family import Family

__all__ = ["main"]

_RESPONSES, _ALONE, _REPEATS = 1000, 40, 3
Design = tuple[str, pd.DataFrame, Family | str, str | None]


def main() -> int:
    """Time each design, and write the page."""
    for name, design in designs().items():
        answers = timed(*design)
        store("many", {name: answers})
        print(name, answers)
    return 0


def designs() -> dict[str, Design]:
    """Return formula, data, family and weights by the design's name."""
    made: dict[str, Design] = {}
    for name in ("cbpp", "contraception"):
        problem, data = PROBLEMS[name], table_of(PROBLEMS[name])
        if data is not None:
            made[name] = (problem.formula, data, "binomial", problem.weights)
    data = crossed(600, (40, 10), 3)
    rng = np.random.default_rng(4)
    effects = 0.4 * rng.normal(size=40)[data["u"]]
    data = data.assign(y=rng.poisson(np.exp(0.5 + 0.3 * data["x"] + effects)))
    made["Poisson, slopes, 600 rows"] = ("y ~ x + (x | u)", data, "poisson", None)
    data = data.assign(y=rng.gamma(3.0, np.exp(0.5 + 0.3 * data["x"] + effects) / 3.0))
    made["Gamma, 600 rows"] = ("y ~ x + (1 | u)", data, pm.Gamma("log"), None)
    return made


def timed(
    formula: str, data: pd.DataFrame, family: Family | str, weights: str | None
) -> dict[str, Any]:
    """Return CPU seconds for all responses, side by side and one after the other."""
    fit = pm.glmer(formula, data, family, weights=weights)
    Y = fit.simulate(_RESPONSES, seed=1).to_numpy()
    right = "~" + formula.partition("~")[2]

    def together() -> pm.ManyGeneralFits:
        return pm.glmer_many(right, data, Y, family, weights=weights)

    def alone() -> list[float]:
        return [
            pm.glmer(formula, data.assign(y=Y[:, k]), family, weights=weights).criterion
            for k in range(_ALONE)
        ]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pm.ConvergenceWarning)
        many, side = _median(together)
        criteria, after = _median(alone)
    gap = np.abs(many.criterion[:_ALONE] - criteria).max()
    return {
        "together": side,
        "alone": after * _RESPONSES / _ALONE,
        "certified": float(many.converged.mean()),
        "singular": float(many.singular.mean()),
        "gap": float(gap),
    }


def _median(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what some work returns, and the median of its CPU seconds."""
    seconds = []
    for _ in range(_REPEATS):
        start = time.process_time()
        answer = work()
        seconds.append(time.process_time() - start)
    return answer, float(np.median(seconds))


if __name__ == "__main__":
    raise SystemExit(main())
