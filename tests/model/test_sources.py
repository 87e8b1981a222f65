"""Rows that come in partitions: the same fit as from one frame, wherever the rows are cut."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.model.columns.table import is_source
from pymackay.model.design.build import build_model
from pymackay.model.stream.level_keys import LevelKeys
from pymackay.model.stream.sources import sum_source
from pymackay.model.sums.gram import cross_products
from pymackay.model.sums.sparse_gram import sparse_cross_products


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return 900 rows with a large mean, text and numbers as levels, weights, a missing value."""
    rng = np.random.default_rng(3)
    n = 900
    u, i = rng.integers(0, 40, n), (25 * rng.random(n) ** 2).astype(int)
    x = rng.integers(0, 3, n) * 1.0
    y = 1e4 + rng.normal(size=40)[u] * (1.0 + 0.5 * x) + rng.normal(size=25)[i]
    data = pd.DataFrame(
        {
            "y": y + rng.normal(size=n),
            "x": x,
            "f": np.array(["a", "b", "c"])[rng.integers(0, 3, n)],
            "u": u * 7 - 20,
            "i": [f"item {k}" for k in i],
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.normal(size=n),
        }
    )
    data.loc[5, "y"] = np.nan
    return data


def pieces(data: pd.DataFrame, size: int = 200) -> list[pd.DataFrame]:
    return [data.iloc[start : start + size] for start in range(0, len(data), size)]


def assert_same(first: pm.Fit, second: pm.Fit) -> None:
    assert abs(first.criterion - second.criterion) < tol("tight criterion")
    assert list(first.beta.index) == list(second.beta.index)
    assert (np.abs(first.beta - second.beta) / first.std_error).max() < tol("partitions")
    assert list(first.theta.index) == list(second.theta.index)
    assert np.abs(first.theta - second.theta).max() < tol("partitions")
    assert first.sigma == pytest.approx(second.sigma, rel=tol("partitions"))
    for group, effects in first.ranef.items():
        assert list(effects.index) == list(second.ranef[group].index)
        assert np.abs(effects - second.ranef[group]).max(axis=None) < tol("partitions")
        assert np.abs(first.pev[group] - second.pev[group]).max() < tol("partitions")


FORMULAS = {
    "crossed": ("y ~ x + f + (1 | u) + (1 | i)", {}),
    "slopes, weights, offset": ("y ~ x + (x | i) + (x || u)", {"weights": "w", "offset": "o"}),
    "one factor": ("y ~ x + offset(o) + (x | u)", {"weights": "w"}),
    "no intercept, sum contrasts": (
        "y ~ 0 + f + log(w) + (1 | u) + (1 | i)",
        {"contrasts": {"f": "contr.sum"}},
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_partitions_give_the_fit_of_the_whole(table, name):
    formula, more = FORMULAS[name]
    whole = pm.lmer(formula, table, **more)
    parts = pm.lmer(formula, iter(pieces(table)), **more)
    assert_same(whole, parts)
    assert parts.n_obs == 899
    assert "dropped 1 of 900 rows with missing values" in parts.messages
    assert parts.residuals.isna().all()
    assert "not kept" in parts.not_offered["fitted"]


def test_where_the_rows_are_cut_does_not_matter(table):
    formula = "y ~ x + f + (1 | u) + (1 | i)"
    fits = [pm.lmer(formula, pieces(table, size)) for size in (300, 77)]
    assert_same(*fits)


def test_the_iterative_solver_takes_partitions_too(table, tmp_path):
    formula = "y ~ x + (x | u) + (1 | i)"
    table.to_parquet(tmp_path / "all.parquet")
    whole = pm.lmer(formula, table, solver="iterative")
    for source in (pieces(table), tmp_path / "all.parquet"):
        parts = pm.lmer(formula, source, solver="iterative")
        assert list(whole.theta.index) == list(parts.theta.index)
        assert np.abs(whole.theta - parts.theta).max() < tol("iterative")
        assert np.abs(whole.beta - parts.beta).max() < tol("iterative")
        for group, effects in whole.ranef.items():
            assert list(effects.index) == list(parts.ranef[group].index)
            assert np.abs(effects - parts.ranef[group]).max(axis=None) < tol("iterative")


def test_interactions_group_by_both_columns(table):
    data = table.assign(k=table["x"].map({0.0: "p", 1.0: "q", 2.0: "r"}))
    whole = pm.lmer("y ~ f + (1 | u) + (1 | u:k)", data)
    parts = pm.lmer("y ~ f + (1 | u) + (1 | u:k)", pieces(data))
    assert abs(whole.criterion - parts.criterion) < tol("tight criterion")
    effects = parts.ranef["u:k"].loc[whole.ranef["u:k"].index]
    assert np.abs(effects - whole.ranef["u:k"]).max(axis=None) < tol("partitions")


LEVELS = {
    "whole numbers": [[7, 100000, -3], [100000, 12], [5, 7]],
    "beyond 32 bits, late": [[7, 100000, -3], [100000, 2**31 + 1], [5, 7]],
    "beyond 63 bits": [[2**63 + 1, 2**63 + 2], [5, 2**63 + 1], [2**63 + 2, 5]],
    "a gap makes one partition float": [[7, 100000], [100000, None, 12], [3, 7]],
    "nullable": [["Int64", 7, 100000], ["Int64", 100000, None, 12], ["Int64", 3, 7]],
    "fractions that print alike": [[0.1 + 0.2, 0.1], [0.3, 1e-20], [0.1, 2.5]],
    "text": [["b", "a"], ["a", "c"], ["b"]],
    "truth": [[True, False], [True], [False]],
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_those_of_the_whole(name):
    parts = []
    for values in LEVELS[name]:
        dtype, values = ("Int64", values[1:]) if values[0] == "Int64" else (None, values)
        g = pd.concat([pd.Series(values, dtype=dtype)] * 12, ignore_index=True)
        x = np.arange(len(g)) % 5
        parts.append(pd.DataFrame({"y": np.sin(1.0 + np.arange(len(g))), "g": g, "h": x}))
    formula = "y ~ 1 + (1 | g) + (1 | h)"
    whole = build_model(formula, pd.concat(parts, ignore_index=True))
    found = sum_source(formula, parts)
    assert found.model.factors["g"].levels == whole.factors["g"].levels
    gram = sparse_cross_products(whole)
    for ours, theirs in zip(found.gram.diagonals, gram.diagonals, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    for key, pairs in gram.pairs.items():
        difference = found.gram.pairs[key].matrix() - pairs.matrix()
        assert np.abs(difference.toarray()).max() < 1e-12


def test_levels_that_are_numbers_here_and_text_there_are_labels():
    keys = LevelKeys()
    assert keys.add(np.array([3, 20]), True).tolist() == [0, 1]
    assert keys.add(("20", "x"), False).tolist() == [1, 2]
    assert keys.add(np.array([3, 5]), True).tolist() == [0, 3]
    assert keys.order(None)[0] == ["20", "3", "5", "x"]


def test_categories_keep_their_order(table):
    order = [f"item {k}" for k in range(24, -1, -1)]
    data = table.assign(i=pd.Categorical(table["i"], categories=order))
    whole = pm.lmer("y ~ x + (1 | u) + (1 | i)", data)
    assert_same(whole, pm.lmer("y ~ x + (1 | u) + (1 | i)", pieces(data)))


def test_parquet_files_and_folders(table, tmp_path, monkeypatch):
    monkeypatch.setattr("pymackay.model.stream.sources._BATCH", 256)
    formula = "y ~ x + (1 | u) + (1 | i)"
    whole = pm.lmer(formula, table, weights="w")
    table.to_parquet(tmp_path / "all.parquet")
    assert_same(whole, pm.lmer(formula, tmp_path / "all.parquet", weights="w"))
    folder = tmp_path / "folder"
    folder.mkdir()
    for k, part in enumerate(pieces(table, 450)):
        part.to_parquet(folder / f"{k}.parquet")
    assert_same(whole, pm.lmer(formula, str(folder), weights="w"))


def test_dask_without_a_cluster(table):
    import dask.dataframe as dask

    formula = "y ~ x + (1 | u) + (1 | i)"
    source = dask.from_pandas(table, npartitions=4)
    assert_same(pm.lmer(formula, table), pm.lmer(formula, source))


def test_a_formula_that_was_read_is_not_parsed_again(table, monkeypatch, tmp_path):
    formula = "y ~ x + log(w) + (x | i) + (1 | u)"
    first = pm.lmer(formula, table, weights="w")
    table.to_parquet(tmp_path / "all.parquet")

    def parses(text: str) -> None:
        raise AssertionError(f"{text} is parsed again")

    monkeypatch.setattr("pymackay.formula.parser.tokenize", parses)
    for data in (table, pieces(table), tmp_path / "all.parquet"):
        assert_same(first, pm.lmer(formula, data, weights="w"))


def test_weights_may_have_a_name_that_is_no_name_in_r(table, tmp_path):
    data = table.rename(columns={"w": "my w"})
    data.to_parquet(tmp_path / "all.parquet")
    formula = "y ~ x + (1 | u) + (1 | i)"
    whole = pm.lmer(formula, data, weights="my w")
    assert_same(whole, pm.lmer(formula, tmp_path / "all.parquet", weights="my w"))


def test_what_is_a_source(table):
    assert is_source("rows.parquet")
    assert is_source(iter([table]))
    assert is_source([table])
    for other in (table, {"y": [1.0]}, [], [1.0], 3):
        assert not is_source(other)


def test_what_partitions_cannot_do_is_told_with_the_cure(table, tmp_path):
    formula = "y ~ x + (1 | u)"
    parts = pieces(table)
    with pytest.raises(pm.ArgumentError, match="subset is not offered"):
        pm.lmer(formula, parts, subset="x > 0")
    with pytest.raises(pm.ArgumentError, match="put the numbers into a column"):
        pm.lmer(formula, parts, weights=np.ones(900))
    with pytest.raises(pm.DataError, match="compute the column beforehand"):
        pm.lmer("y ~ scale(x) + (1 | u)", parts)
    with pytest.raises(pm.DataError, match="has no rows"):
        pm.lmer(formula, iter([]))
    with pytest.raises(pm.ArgumentError, match="gave a int"):
        pm.lmer(formula, iter([1]))
    with pytest.raises(pm.ArgumentError, match="does not exist"):
        pm.lmer(formula, tmp_path / "nothing.parquet")
    with pytest.raises(pm.DataError, match="depend on the others"):
        pm.lmer("y ~ x + I(2 * x) + (1 | u)", parts)
    late = [part.assign(f="a" if k == 0 else "b") for k, part in enumerate(parts)]
    with pytest.raises(pm.DataError, match="has only the level"):
        pm.lmer("y ~ f + (1 | u)", late)
    late[0] = late[0].assign(f=np.where(np.arange(len(late[0])) < 50, "a", "c"))
    with pytest.raises(pm.DataError, match="the first partition has not: b"):
        pm.lmer("y ~ f + (1 | u)", late)
    exact = [part.assign(y=2.0 * part["x"]) for part in parts]
    with pytest.raises(pm.DataError, match="exact linear function"):
        pm.lmer(formula, exact)
    with pytest.raises(pm.DataError, match="only the level"):
        pm.lmer("y ~ x + (1 | g)", [part.assign(g=1) for part in parts])


def test_text_that_is_no_parquet_is_told(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("y,u\n1,2\n")
    with pytest.raises(pm.ArgumentError, match="not Parquet"):
        pm.lmer("y ~ 1 + (1 | u)", path)


def partition_maker(flag: Path | None) -> Callable[[int], pd.DataFrame]:
    """Return a function that makes partitions; it travels to a worker as it stands.

    The first worker that makes partition 3 dies of it, as from a lack of memory.
    """

    def rows(k: int) -> pd.DataFrame:
        if flag is not None and k == 3 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        rng = np.random.default_rng(k)
        u, i = rng.integers(0, 30, 150), rng.integers(0, 20, 150)
        y = np.sin(u) + np.cos(3.0 * i) + rng.normal(size=150)
        return pd.DataFrame({"y": y, "u": u, "i": i})

    return rows


def test_a_killed_worker_costs_a_retry_and_not_the_fit(tmp_path):
    import dask.dataframe as dask
    import distributed

    formula = "y ~ 1 + (1 | u) + (1 | i)"
    rows, flag = partition_maker(None), tmp_path / "died"
    whole = pm.lmer(formula, [rows(k) for k in range(8)])
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        source = dask.from_map(partition_maker(flag), range(8), meta=rows(0).iloc[:0])
        fit = pm.lmer(formula, source)
    assert flag.exists()
    assert_same(whole, fit)


def test_a_fit_of_partitions_is_compared_without_its_rows(table):
    formula = "y ~ x + (1 | u) + (1 | i)"
    comparison = pm.compare(pm.lmer(formula, pieces(table)), pm.lmer(formula, table))
    assert comparison.verdict == "same optimum"
    assert "not offered" in str(comparison)


NEW_ROWS = {
    "crossed": ("y ~ x + f + (1 | u) + (1 | i)", {}, {}),
    "slopes, weights, offset": (
        "y ~ x + (x | i) + (x || u)",
        {"weights": "w", "offset": "o"},
        {"weights": "w"},
    ),
    "functions": ("y ~ log(w) + I(x^2) + offset(o) + (1 | u) + (0 + f | i)", {}, {}),
}


@pytest.mark.parametrize("solver", ["exact", "iterative"])
@pytest.mark.parametrize("name", NEW_ROWS)
def test_new_rows_are_predicted_without_the_old_ones(table, name, solver):
    formula, arguments, more = NEW_ROWS[name]
    whole = pm.lmer(formula, table, solver=solver, **arguments)
    parts = pm.lmer(formula, pieces(table), solver=solver, **arguments)
    new = table.drop(columns="y").iloc[::7].assign(x=1.5)
    new.iloc[3, new.columns.get_loc("o")] = np.nan
    close = {"rtol": 0.0, "atol": tol("iterative" if solver == "iterative" else "partitions")}
    for re_form in (None, "~0", "~ (1 | u)"):
        ours, theirs = (pm.predict(fit, new, re_form=re_form) for fit in (parts, whole))
        np.testing.assert_allclose(ours, theirs, **close)
        assert list(ours.index) == list(theirs.index)
    intervals = [
        pm.predict(fit, new, se_fit=True, interval="prediction", **more) for fit in (parts, whole)
    ]
    np.testing.assert_allclose(*intervals, rtol=0.0, atol=2.0 * close["atol"])
    strange = new.head(2).assign(u=[10**6, 1], i=["no item", "item 3"])
    with pytest.raises(pm.DataError, match="levels of 'u' that the model was not fitted to"):
        pm.predict(parts, strange)
    np.testing.assert_allclose(
        pm.predict(parts, strange, allow_new_levels=True),
        pm.predict(whole, strange, allow_new_levels=True),
        **close,
    )


def test_what_needs_the_rows_says_so(table):
    formula = "y ~ x + (1 | u) + (1 | i)"
    fit = pm.lmer(formula, pieces(table), weights="w")
    with pytest.raises(pm.PymackayError, match=r"not kept\. Pass newdata"):
        fit.predict()
    with pytest.raises(pm.PymackayError, match=r"simulate needs the rows .* Fit a data frame"):
        fit.simulate(1)
    with pytest.raises(pm.PymackayError, match=r"refit needs the rows .* Fit a data frame"):
        fit.refit(table["y"])
    with pytest.raises(pm.ArgumentError, match="the model has prior weights"):
        fit.predict(table, interval="prediction")


def test_dense_sums_of_sparse_ones_are_those_of_the_rows(table):
    model = build_model("y ~ x + (x | u) + (1 | i) + (0 + x | f)", table)
    ours, direct = sparse_cross_products(model).dense_form(), cross_products(model)
    np.testing.assert_allclose(ours.A, direct.A, rtol=0.0, atol=1e-10)
    np.testing.assert_allclose(ours.C.toarray(), direct.C.toarray(), rtol=0.0, atol=1e-10)
    np.testing.assert_allclose(ours.D, direct.D, rtol=0.0, atol=1e-10)
