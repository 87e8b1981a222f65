"""The problems for timing engines: data, formula, and target ratios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

import pymackay as pm

__all__ = ["PROBLEMS", "Problem", "Target"]

_N_SLOPES = 4


@dataclass(frozen=True)
class Target:
    """The targets of a problem.

    Attributes
    ----------
    peer : str
        The engine whose time ours is a fraction of; empty for a number of seconds.
    at_most : float
        Largest ratio of our time to the peer's, or seconds.
    words : str
        The same for readers.
    """

    peer: str
    at_most: float
    words: str


@dataclass(frozen=True)
class Problem:
    """One model on one table.

    Attributes
    ----------
    name : str
        What `python -m benchmarks.run` takes.
    title : str
    formula : str
    data : callable
        Returns the table; factors are categorical. Simulated tables have a fixed seed.
    targets : tuple of Target
    fresh : bool
        Time the first fit of a fresh process instead of a warm one.
    statsmodels : dict
        Arguments of statsmodels' ``mixedlm``; empty where it has no practical form of the model.
    """

    name: str
    title: str
    formula: str
    data: Callable[[], pd.DataFrame]
    targets: tuple[Target, ...]
    fresh: bool = False
    statsmodels: dict[str, str] = field(default_factory=dict)


def _effects(rng: np.random.Generator, levels: int, sd: np.ndarray) -> np.ndarray:
    """Draw correlated effects, shape (levels, q): every correlation is 0.3."""
    q = len(sd)
    correlation = np.full((q, q), 0.3) + 0.7 * np.eye(q)
    return rng.normal(size=(levels, q)) @ np.linalg.cholesky(correlation).T * sd


def _categorical(codes: np.ndarray, levels: int, letter: str) -> pd.Categorical:
    width = len(str(levels - 1))
    labels = [f"{letter}{code:0{width}}" for code in range(levels)]
    return pd.Categorical.from_codes(codes, categories=labels)


def many_groups(n: int = 1_000_000, levels: int = 100_000, seed: int = 20) -> pd.DataFrame:
    """Simulate ``y ~ x + (x | g)`` with about ten rows a group, unbalanced."""
    rng = np.random.default_rng(seed)
    g = np.concatenate([np.arange(levels), rng.integers(0, levels, n - levels)])
    rng.shuffle(g)
    x = rng.normal(size=n)
    b = _effects(rng, levels, np.array([1.0, 0.5]))
    y = 2.0 + 0.3 * x + b[g, 0] + b[g, 1] * x + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": _categorical(g, levels, "g")})


def crossed_slopes(n: int = 20_000, seed: int = 21) -> pd.DataFrame:
    """Simulate an intercept and four slopes on each of two crossed factors, 60 and 80 levels."""
    rng = np.random.default_rng(seed)
    sizes = {"g": 60, "h": 80}
    codes = {name: rng.integers(0, levels, n) for name, levels in sizes.items()}
    X = np.column_stack([np.ones(n), rng.normal(size=(n, _N_SLOPES))])
    y = X @ np.linspace(1.0, -0.5, X.shape[1]) + rng.normal(size=n)
    for name, levels in sizes.items():
        sd = np.array([1.0, 0.6, 0.5, 0.4, 0.3])
        y += np.einsum("nq,nq->n", X, _effects(rng, levels, sd)[codes[name]])
    columns = {f"x{i}": X[:, i] for i in range(1, X.shape[1])}
    factors = {name: _categorical(codes[name], levels, name) for name, levels in sizes.items()}
    return pd.DataFrame({"y": y, **columns, **factors})


_SLEEP = "Reaction ~ Days + (Days | Subject)"
_SLEEP_STATSMODELS = {"formula": "Reaction ~ Days", "groups": "Subject", "re_formula": "~ Days"}
_SUM = " + ".join(f"x{i}" for i in range(1, _N_SLOPES + 1))

PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem(
            "sleepstudy",
            "sleepstudy, slopes: 180 rows, 18 groups",
            _SLEEP,
            lambda: pm.load_data("sleepstudy"),
            (Target("lme4", 0.35, "at most 0.35 of lme4"),),
            statsmodels=_SLEEP_STATSMODELS,
        ),
        Problem(
            "insteval3",
            "InstEval, three scalar terms: 73,421 rows, 2,972 + 1,128 + 14 levels",
            "y ~ service + (1 | s) + (1 | d) + (1 | dept)",
            lambda: pm.load_data("InstEval"),
            (
                Target("lme4", 1 / 6, "at most 1/6 of lme4"),
                Target("glmm", 1.0, "below glmm"),
            ),
        ),
        Problem(
            "insteval2",
            "InstEval, two scalar terms, 28 fixed effects: 73,421 rows",
            "y ~ service * dept + (1 | s) + (1 | d)",
            lambda: pm.load_data("InstEval"),
            (Target("lme4", 1 / 6, "at most 1/6 of lme4"),),
        ),
        Problem(
            "groups100k",
            "simulated: 1,000,000 rows, 100,000 groups, slopes",
            "y ~ x + (x | g)",
            many_groups,
            (Target("lme4", 1 / 40, "at most 1/40 of lme4"),),
            statsmodels={"formula": "y ~ x", "groups": "g", "re_formula": "~ x"},
        ),
        Problem(
            "theta30",
            "simulated: 20,000 rows, 60 × 80 crossed levels, four slopes on each, 30 theta",
            f"y ~ {_SUM} + ({_SUM} | g) + ({_SUM} | h)",
            crossed_slopes,
            (
                Target("lme4", 1 / 60, "at most 1/60 of lme4"),
                Target("mixedlm", 1 / 3, "at most 1/3 of mixedlm"),
            ),
        ),
        Problem(
            "first",
            "sleepstudy, slopes: the first fit of a fresh process, imports not counted",
            _SLEEP,
            lambda: pm.load_data("sleepstudy"),
            (Target("", 0.3, "at most 0.3 s"),),
            fresh=True,
            statsmodels=_SLEEP_STATSMODELS,
        ),
    )
}
