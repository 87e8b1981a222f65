"""`glmer` of rows that are read in passes and not kept: the fit of the frame of all rows.

The independent answer is that of the rows in one frame, which other tests compare with lme4.
"""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import tol

import pymackay as pm
from pymackay.solve.pirls.fit import GeneralControl
from pymackay.solve.pirls.passes import source

FORMULAS = (
    "{y} ~ x + f + (1 | g)",
    "{y} ~ x + (x | g)",
    "{y} ~ f * x + (1 | g / k)",
    "{y} ~ x + offset(o) + (1 | g) + (1 | h)",
    "{y} ~ f + x + (x || g) + (1 | h)",
    "{y} ~ x + cs(0 + f | g)",
)
FAMILIES: dict[str, tuple[str, Any]] = {
    "poisson": ("count", "poisson"),
    "logit": ("cbind(s, m - s)", "binomial"),
    "probit": ("b", pm.Binomial("probit")),
    "Gamma": ("z", pm.Gamma("log")),
    "counts": ("count", "negative binomial"),
}


def table(seed: int, n: int = 200) -> pd.DataFrame:
    """Return rows sorted by a factor, so that a partition does not have all of its levels."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 14, n), "h": rng.integers(0, 6, n)})
    data["k"], data["x"] = rng.choice(["u", "v"], n), rng.normal(size=n)
    data["o"], data["f"] = 0.3 * rng.normal(size=n), rng.choice(["b", "a", "c"], n)
    effects = rng.normal(size=(14, 2))[data["g"]]
    eta = 0.4 + 0.3 * data["x"] + 0.6 * effects[:, 0] + 0.3 * effects[:, 1] * data["x"]
    eta += 0.4 * rng.normal(size=6)[data["h"]] + data["o"]
    mean = np.exp(eta)
    data["count"] = rng.poisson(mean * rng.gamma(4.0, 0.25, n))
    data["m"] = rng.integers(1, 8, n)
    data["s"] = rng.binomial(data["m"], mean / (1.0 + mean))
    data["b"] = data["s"] > 0.5 * data["m"]
    data["z"] = rng.gamma(3.0, mean / 3.0)
    data.loc[3, "x"] = np.nan
    return data.sort_values("f", kind="stable", ignore_index=True)


def cut(data: pd.DataFrame, *places: int) -> Callable[[], Iterator[pd.DataFrame]]:
    """Return a function that yields the rows between the places."""
    ends = [0, *sorted(places), len(data)]
    return lambda: (data.iloc[a:b] for a, b in pairwise(ends))


def assert_same(parts: pm.Fit, whole: pm.Fit, errors_by: str = "partitions") -> None:
    """Compare two fits of the same rows in statistical units."""
    near = {"rtol": 0.0, "atol": tol("partitions")}
    np.testing.assert_allclose(parts.criterion, whole.criterion, **near)
    assert list(parts.beta.index) == list(whole.beta.index)
    unit = whole.std_error
    np.testing.assert_allclose(parts.beta / unit, whole.beta / unit, **near)
    ones = np.ones(len(unit))
    np.testing.assert_allclose(parts.std_error / unit, ones, rtol=0.0, atol=tol(errors_by))
    pd.testing.assert_series_equal(parts.theta, whole.theta, **near)
    assert parts.n_obs == whole.n_obs
    for name, effects in whole.ranef.items():
        pd.testing.assert_frame_equal(parts.ranef[name], effects, **near)
        for ours, theirs in ((parts.condvar, whole.condvar), (parts.pev, whole.pev)):
            error = max(np.abs(theirs[name]).max(), 1e-12)
            gap = np.abs(ours[name] - theirs[name]).max()
            assert gap <= tol(errors_by) * error


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    formula=st.sampled_from(FORMULAS),
    family=st.sampled_from(list(FAMILIES)),
    places=st.lists(st.integers(1, 199), min_size=1, max_size=4, unique=True),
)
def test_passes_over_partitions_give_the_fit_of_all_rows(seed, formula, family, places):
    data, (response, kind) = table(seed), FAMILIES[family]
    text = formula.format(y=response)
    whole = pm.glmer(text, data, kind)
    assert_same(pm.glmer(text, cut(data, *places), kind), whole)


@pytest.mark.parametrize(
    ("formula", "family", "arguments"),
    [
        ("count ~ x + (1 | g) + (1 | h)", "poisson", {"nagq": 0}),
        ("z ~ x + (1 | g)", "Gamma", {"dispersion": "lme4"}),
        ("b ~ x + (1 | g)", pm.Binomial("cloglog"), {"determinant": "observed"}),
        ("count ~ x + f + (1 | g)", "poisson", {"offset": "o", "weights": "m", "start": [0.3]}),
        ("I(s / m) ~ f + (1 | g)", "binomial", {"weights": "m", "contrasts": {"f": "contr.sum"}}),
    ],
)
def test_arguments_mean_the_same_for_partitions(formula, family, arguments):
    data = table(1)
    parts = pm.glmer(formula, cut(data, 60, 64, 150), family, **arguments)
    whole = pm.glmer(formula, data, family, **arguments)
    assert_same(parts, whole)
    assert parts.sigma == pytest.approx(whole.sigma, rel=tol("partitions"))
    assert parts.general.lme4_criterion == pytest.approx(
        whole.general.lme4_criterion, abs=tol("partitions"), nan_ok=True
    )


def test_the_iterative_solver_passes_over_the_rows_too():
    data = table(2)
    formula, control = "count ~ x + (x | g) + (1 | h)", GeneralControl(tolerance=1.0)
    arguments = {"solver": "iterative", "control": control}
    parts = pm.glmer(formula, cut(data, 90), "poisson", **arguments)
    whole = pm.glmer(formula, data, "poisson", **arguments)
    np.testing.assert_allclose(parts.beta, whole.beta, atol=tol("partitions"))
    np.testing.assert_allclose(parts.theta, whole.theta, atol=tol("partitions"))
    errors = [fit.convergence.monte_carlo_error for fit in (parts, whole)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-4)


def test_a_model_is_evaluated_by_passes():
    data = table(3)
    arguments = ("count ~ x + (1 | g)", [0.7], [0.3, 0.2], "poisson")
    parts, whole = (
        pm.evaluate_glmer(arguments[0], rows, *arguments[1:]) for rows in (cut(data, 50), data)
    )
    assert parts.criterion == pytest.approx(whole.criterion, abs=tol("partitions"))


def test_sources_of_all_kinds_give_the_same_fit(tmp_path):
    import dask.dataframe as dask

    data, formula = table(4), "count ~ x + f + (1 | g) + (1 | h)"
    whole = pm.glmer(formula, data, "poisson")
    (tmp_path / "folder").mkdir()
    data.to_parquet(tmp_path / "one.parquet")
    for k, part in enumerate(cut(data, 120)()):
        part.to_parquet(tmp_path / "folder" / f"{k}.parquet")
    sources = (
        tmp_path / "one.parquet",
        str(tmp_path / "folder"),
        [data.head(90), data.tail(110)],
        dask.from_pandas(data, npartitions=3),
    )
    for rows in sources:
        assert_same(pm.glmer(formula, rows, "poisson"), whole)


def test_a_source_that_can_be_read_once_is_refused():
    with pytest.raises(pm.PymackayError, match=r"read once.*give a function"):
        pm.glmer("count ~ x + (1 | g)", cut(table(5), 40)(), "poisson")


def test_a_source_that_changes_is_refused():
    data, reads = table(6), [0]

    def growing() -> Iterator[pd.DataFrame]:
        reads[0] += 1
        return iter([data.head(100), data.iloc[100 : 150 + 10 * (reads[0] > 2)]])

    with pytest.raises(pm.PymackayError, match=r"159 complete rows.*149 in the first"):
        pm.glmer("count ~ x + (1 | g)", growing, "poisson")


def test_no_more_than_two_partitions_are_held_at_a_time():
    data, alive = table(7, 1200), list[Any]()

    def frames() -> Iterator[pd.DataFrame]:
        for start in range(0, 1200, 100):
            part = data.iloc[start : start + 100].copy()
            assert sum(ref() is not None for ref in alive) <= 2
            alive[:] = [ref for ref in alive if ref() is not None] + [weakref.ref(part)]
            yield part
            del part

    pm.evaluate_glmer("count ~ x + (1 | g)", frames, [0.5], [0.3, 0.2], "poisson")


def test_memory_does_not_grow_with_the_rows():
    part = table(8, 2000)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            frames = lambda: (part.copy() for _ in range(count))  # noqa: E731
            formula = "count ~ x + (1 | g) + (1 | h)"
            pm.evaluate_glmer(formula, frames, [0.5, 0.3], [0.3, 0.2], "poisson")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)  # what is imported
    few, many = peak(3), peak(30)
    column = 8 * 27 * len(part)  # what the further rows would take in one column
    assert many - few < column


def test_starting_values_come_from_a_sample_of_the_rows(monkeypatch):
    data, formula = table(9), "cbind(s, m - s) ~ x + f + (1 | g)"
    whole = pm.glmer(formula, data, "binomial")
    monkeypatch.setattr(source.RowSource.sample, "__defaults__", (30,))
    parts = pm.glmer(formula, cut(data, 80, 130), "binomial")
    assert_same(parts, whole, "glmm standard errors")


def test_separation_is_found_by_passes(monkeypatch):
    data = table(10)
    data["rare"] = np.where(data.index < 4, 1.0, 0.0)
    data.loc[:3, ["m", "s"]] = [5, 0]
    data.loc[:3, "x"] = 0.1
    formula = "cbind(s, m - s) ~ x + rare + (1 | g)"
    with pytest.raises(pm.SeparationError) as whole:
        pm.glmer(formula, data, "binomial")
    for most in (20_000, 20):
        monkeypatch.setattr(source.RowSource.sample, "__defaults__", (most,))
        with pytest.raises(pm.SeparationError) as parts:
            pm.glmer(formula, cut(data, 60, 120), "binomial")
        assert str(parts.value) == str(whole.value)


def test_a_sample_that_is_separated_does_not_separate_all_rows(monkeypatch):
    data = table(11)
    data["rare"] = np.where(data.index.isin([1, 130, 131]), 1.0, 0.0)  # in no row of the sample
    data.loc[[1, 130], "s"] = data.loc[[1, 130], "m"]
    data.loc[131, ["m", "s"]] = [4, 0]
    formula = "cbind(s, m - s) ~ x + rare + f + (1 | g)"
    monkeypatch.setattr(source.RowSource.sample, "__defaults__", (12,))
    parts = pm.glmer(formula, cut(data, 60, 120), "binomial")
    assert_same(parts, pm.glmer(formula, data, "binomial"), "glmm standard errors")


@pytest.mark.parametrize(
    ("formula", "family", "arguments", "message"),
    [
        ("count ~ x + (1 | g)", "poisson", {"nagq": 5}, "use nagq=1"),
        ("count ~ x + (1 | g)", "poisson", {"nagq": "exact"}, "use nagq=1"),
        ("count ~ x + (1 | g)", "poisson", {"subset": "x > 0"}, "select the rows in the source"),
        ("count ~ x + (1 | g)", "poisson", {"offset": np.zeros(200)}, "into a column"),
        ("k ~ x + (1 | g)", "binomial", {}, "make it 0 and 1"),
        ("cbind(s, m - s) ~ x + (1 | g)", "binomial", {"weights": "m"}, "give the proportion"),
        ("count ~ scale(x) + (1 | g)", "poisson", {}, "compute the column beforehand"),
        ("I(-count) ~ x + (1 | g)", "poisson", {}, "counts from 0"),
    ],
)
def test_what_passes_cannot_do_is_refused_with_the_cure(formula, family, arguments, message):
    with pytest.raises(pm.PymackayError, match=message):
        pm.glmer(formula, cut(table(12), 70), family, **arguments)


def test_the_loop_on_a_generalised_model_refuses_partitions():
    with pytest.raises(pm.PymackayError, match=r"fit the model by pymackay\.glmer"):
        pm.mackay("count ~ x + (1 | g)", cut(table(12), 70), family="poisson")


def test_lmer_takes_a_function_that_returns_frames():
    data = table(13)
    parts, whole = (pm.lmer("z ~ x + (1 | g)", rows) for rows in (cut(data, 70), data))
    np.testing.assert_allclose(parts.beta, whole.beta, rtol=0.0, atol=tol("partitions"))
