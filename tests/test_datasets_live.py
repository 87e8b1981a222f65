"""Each data set that comes along equals the one in R: classes, levels, their order, every bit."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.datasets import data_info

pytestmark = pytest.mark.live

# BtheB is in HSAUR3, which is not needed for anything else, and has another shape there
NAMES = [name for name in pm.list_data() if data_info(name).package in ("lme4", "nlme")]

DUMP = Path(__file__).parent / "support" / "dump_data.R"


@cache
def r_columns() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Ask R once: data set -> column -> (classes, levels, values)."""
    expected = [f"{data_info(name).package}::{name}" for name in NAMES]
    command = ["Rscript", "--vanilla", str(DUMP), *expected]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answers: dict[str, dict[str, tuple[str, str, str]]] = {}
    for line in text.splitlines():
        name, column, classes, levels, values = line.split("\t")
        answers.setdefault(name, {})[column] = (classes, levels, values)
    return answers


def ours(series: pd.Series) -> tuple[str, str, str]:
    """Say a column the way dump_data.R says it."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        classes = "ordered factor" if series.cat.ordered else "factor"
        levels = "|".join(series.cat.categories)
        return classes, levels, " ".join(str(code + 1) for code in series.cat.codes.to_numpy())
    if series.dtype == np.int64:
        return "integer", "", " ".join(map(str, series))
    return "numeric", "", " ".join(map(float.hex, series))


def readable(described: tuple[str, str, str]) -> tuple[str, str, list[str]]:
    """Parse hexadecimal doubles, which C and Python write with different padding."""
    classes, levels, values = described
    words = values.split()
    if classes == "numeric":
        words = [float.fromhex(word).hex() for word in words]
    return classes, levels, words


@pytest.mark.parametrize("name", NAMES)
def test_equals_r(name):
    frame, theirs = pm.load_data(name), r_columns()[name]
    assert list(frame.columns) == list(theirs)
    for column in frame:
        assert readable(ours(frame[column])) == readable(theirs[column]), column
