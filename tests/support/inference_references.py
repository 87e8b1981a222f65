"""What R's packages answered about tests and intervals: r_reference/inference/*.json."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.results import Fit

__all__ = ["DATA", "cases", "fit_at_theirs", "load", "mixing", "read_table"]

DATA = (
    "Dyestuff2",
    "Machines",
    "Oats",
    "Orthodont",
    "Pastes",
    "Penicillin",
    "VerbAgg",
    "cake",
    "sleepstudy",
)


@functools.cache
def load(data: str) -> dict[str, Any]:
    path = r_reference_path("inference", f"{data}.json")
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return answer


def cases() -> list[tuple[str, str, str]]:
    """Return data set, case and criterion of everything that was tested in R."""
    return [(d, name, c) for d in DATA for name in load(d)["tests"] for c in ("reml", "ml")]


@functools.cache
def fit_at_theirs(data: str, name: str, criterion: str) -> Fit:
    """Return our fit at the very theta at which R made its tests."""
    case = load(data)["tests"][name]
    return pm.evaluate(
        case["formula"],
        pm.load_data(data),
        np.atleast_1d(case[criterion]["theta"]),
        reml=criterion == "reml",
        subset=case.get("subset"),
        contrasts=case.get("contrasts"),
    )


def read_table(recorded: dict[str, Any]) -> pd.DataFrame:
    """Read a table of R's; where it has one row, R wrote a number for a column."""
    columns = {
        name: np.array([np.nan if v is None else v for v in _listed(values)], dtype=np.float64)
        for name, values in recorded["values"].items()
    }
    return pd.DataFrame(columns, index=_listed(recorded["rows"]))


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def mixing(p: int) -> np.ndarray:
    """Return the rows that the R script tests: cos(i j), i = 1, 2, j = 1..p."""
    return np.cos(np.outer(np.arange(1, min(2, p) + 1), np.arange(1, p + 1)))
