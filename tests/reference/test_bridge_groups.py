"""Dates, periods, UUIDs and large integers that name groups: lme4 gets the levels that we make."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.reference.naming import naming_columns
from pymackay.reference.question import Question

LATE = pd.to_datetime(["2024-03-01", "2023-12-31", "2024-01-02", "2024-02-29", "2023-01-01"])
NAMES: dict[str, Any] = {
    "dates": LATE,
    "times": LATE + pd.to_timedelta([1, 90, 3600, 86400, 7], unit="s"),
    "dates with a zone": LATE.tz_localize("Europe/Berlin"),
    "dates of Python": [day.date() for day in LATE],
    "times of day": [datetime.time(hour) for hour in (10, 9, 2, 23, 0)],
    "durations": pd.to_timedelta([10, 9, 100, 1, 2], unit="h"),
    "periods": pd.PeriodIndex(["2024-10", "2024-09", "2023-01", "2024-01", "2024-02"], freq="M"),
    "intervals": pd.interval_range(-2.0, 3.0),
    "UUIDs": [uuid.UUID(int=k) for k in (2**100, 9, 10, 2, 1)],
    "beyond 2^53": [2**53 + 2, 2**53 + 1, 100_000, -(2**60), 3],
    "beyond 2^63": np.array([2**63 + 2, 2**63 + 1, 5, 1, 2**60], dtype=np.uint64),
    "nullable": pd.array([2**53 + 2, 2**53 + 1, 7, 9, 10], dtype="Int64"),
}


def rows(names: Any) -> pd.DataFrame:
    """Return 60 rows in 5 groups with these names, of which two are missing where they can be."""
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 5, 60)
    data = pd.DataFrame({"x": rng.normal(size=60), "h": rng.choice(list("pqr"), 60)})
    data["y"] = data["x"] + rng.normal(size=5)[codes] + rng.normal(size=60)
    data["id"] = pd.Series(pd.Series(names)[codes].array)
    return data


@pytest.mark.live
@pytest.mark.parametrize("formula", ["y ~ x + (1 | id)", "y ~ factor(id) + (1 | id:h)"])
@pytest.mark.parametrize("name", NAMES)
def test_groups_have_the_levels_that_we_make(name: str, formula: str) -> None:
    data = rows(NAMES[name])
    if data["id"].dtype.kind not in "iu":
        data.loc[[3, 30], "id"] = None
    theirs = pm.lme4.lmer(formula, data, source="live")
    ours = pm.evaluate(formula, data, theirs.theta)
    assert dict(ours.model.levels) == dict(theirs.model.levels)
    assert list(ours.beta.index) == list(theirs.beta.index)
    assert ours.criterion == pytest.approx(theirs.criterion, rel=tol("criterion"))
    for group, effects in ours.ranef.items():
        assert list(effects.index) == list(theirs.ranef[group].index)
        np.testing.assert_allclose(effects, theirs.ranef[group], atol=tol("statistic"))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y ~ x + (1 | d)", {"d"}),
        ("y ~ x + (x | g / d)", {"g", "d"}),
        ("y ~ factor(d) + (1 | g)", {"g", "d"}),
        ("y ~ d + (1 | d)", set()),
        ("y ~ x + (d | g)", {"g"}),
        ("y ~ x + (0 + as.factor(d) | g)", {"g", "d"}),
        ("log(d) ~ x + (1 | d:g)", {"g"}),
        ("y ~ . + (1 | d)", set()),
        ("y ~ sincos(x) + (1 | d)", set()),
    ],
)
def test_columns_that_only_name_groups(formula: str, expected: set[str]) -> None:
    assert naming_columns(formula, ["y", "x", "d", "g"], []) == expected
    assert naming_columns(formula, ["y", "x", "d", "g"], ["w", "d > 3"]) == expected - {"d"}


@pytest.mark.parametrize("name", ["dates", "UUIDs", "beyond 2^53"])
def test_values_are_refused_by_name_as_before(name: str) -> None:
    data = rows(NAMES[name])
    for formula in ("y ~ id + (1 | h)", "y ~ x + id + (1 | id)", "y ~ (id | h)"):
        with pytest.raises(pm.DataError, match="column 'id'"):
            _ = Question(formula, data).table


def test_a_recording_of_other_data_keeps_its_checksum() -> None:
    data = rows(list("edcba"))
    data["k"] = np.arange(60) % 4
    with_names, without = (Question(f, data).table for f in ("y ~ x + (1 | k)", "y ~ x + k"))
    kinds = [{c.name: c.sha256() for c in t.columns} for t in (with_names, without)]
    assert kinds[0] == kinds[1]
