"""`PROBLEMS`: the models whose speed is compared with other packages, and their data."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

import pymackay as pm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from glmm_case_files import glmm_case_names, load_glmm_case

__all__ = ["CROSSED", "PROBLEMS", "SLOW", "Problem", "crossed", "table_of"]

_VERBAL = "y ~ Anger + Gender + btype + situ{} + (1 | id) + (1 | item)"
_PAIRS = " + Anger:Gender + Anger:btype + Anger:situ + Gender:btype + Gender:situ + btype:situ"
CROSSED = "y ~ x + (1 | u) + (1 | i)"


@dataclass(frozen=True)
class Problem:
    """A model that several packages fit.

    Attributes
    ----------
    formula : str
    rows, levels : int and tuple of int
        Of simulated data; no rows where `name` says which data are taken.
    name : str
        ``"VerbAgg"``, ``"cbpp"`` or ``"contraception"``.
    weights : str or None
        The column of the numbers of trials.
    solver : str
    peers : dict of str to float or None
        Package to the share of its CPU time that is aimed at, if any.
    repeats : int
        Calls of which the median is taken: more for a short one.
    """

    formula: str
    rows: int = 0
    levels: tuple[int, int] = (0, 0)
    name: str = ""
    weights: str | None = None
    solver: str = "auto"
    peers: dict[str, float | None] = field(default_factory=dict)
    repeats: int = 9


PROBLEMS = {
    "cbpp": Problem(
        "y ~ period + (1 | herd)",
        name="cbpp",
        weights="size",
        peers={"lme4": 1 / 9, "glmm": None},
        repeats=41,
    ),
    "contraception": Problem(
        "y ~ age + I(age^2) + urban + livch + (1 | district)",
        name="contraception",
        peers={"lme4": 1 / 30, "glmm": None},
    ),
    "VerbAgg, p = 6": Problem(
        _VERBAL.format(""), name="VerbAgg", peers={"lme4": None, "glmm": 1.0}
    ),
    "VerbAgg, p = 15": Problem(
        _VERBAL.format(_PAIRS), name="VerbAgg", peers={"lme4": 1 / 200, "glmm": 1.0}
    ),
    "50,000 rows, 2,000 x 500, exact": Problem(
        CROSSED, 50_000, (2000, 500), solver="exact", peers={"glmm": 0.6}, repeats=3
    ),
    "50,000 rows, 2,000 x 500, iterative": Problem(
        CROSSED, 50_000, (2000, 500), solver="iterative", peers={"gpboost": 1 / 5}, repeats=3
    ),
    "1,000,000 rows, 6,040 x 3,706": Problem(
        CROSSED,
        1_000_000,
        (6040, 3706),
        solver="iterative",
        peers={"gpboost": 1 / 12},
        repeats=1,
    ),
}
SLOW = {"VerbAgg, p = 6", "VerbAgg, p = 15"}  # lme4 is timed once, without a first fit


def table_of(problem: Problem) -> pd.DataFrame | None:
    """Return the data of a problem; None where they are not on this machine."""
    if problem.rows:
        return crossed(problem.rows, problem.levels, 1)
    if problem.name == "contraception":
        if "contraception" not in glmm_case_names():
            return None
        data = load_glmm_case("contraception").data
        return data.assign(y=(data["use"] == "Y").astype(int))
    data = pm.load_data(problem.name)
    if problem.name == "cbpp":
        share = data["incidence"] / data["size"]
        return data.assign(y=share, period="p" + data["period"].astype(str))
    return data.assign(y=(data["r2"] == "Y").astype(int))


def crossed(rows: int, levels: tuple[int, int], seed: int) -> pd.DataFrame:
    """Return Bernoulli responses of two crossed factors, whose levels meet at random."""
    rng = np.random.default_rng(seed)
    u, i = (rng.integers(0, many, rows) for many in levels)
    x = rng.normal(size=rows)
    eta = 0.3 + 0.2 * x + 0.8 * rng.normal(size=levels[0])[u] + 0.5 * rng.normal(size=levels[1])[i]
    y = (rng.uniform(size=rows) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "u": u, "i": i})
