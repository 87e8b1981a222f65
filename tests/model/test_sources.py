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
from pymackay.formula.expression import Name
from pymackay.model.columns.table import is_source
from pymackay.model.design.build import build_model
from pymackay.model.stream.level_keys import LevelKeys
from pymackay.model.stream.level_order import GroupOrder
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
    result = sum_source(formula, parts)
    assert result.model.factors["g"].levels == whole.factors["g"].levels
    gram = sparse_cross_products(whole)
    for ours, theirs in zip(result.gram.diagonals, gram.diagonals, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    for key, pairs in gram.pairs.items():
        difference = result.gram.pairs[key].matrix() - pairs.matrix()
        assert np.abs(difference.toarray()).max() < 1e-12


def test_levels_that_are_numbers_here_and_text_there_are_labels():
    keys = LevelKeys()
    assert keys.add(np.array([3, 20]), True).tolist() == [0, 1]
    assert keys.add(("20", "x"), False).tolist() == [1, 2]
    assert keys.add(np.array([3, 5]), True).tolist() == [0, 3]
    assert keys.order(GroupOrder.of(Name("g"), {}, {}))[0] == ["20", "3", "5", "x"]


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
    exact = [part.assign(y=2.0 * part["x"]) for part in parts]
    with pytest.raises(pm.DataError, match="exact linear function"):
        pm.lmer(formula, exact)
    with pytest.raises(pm.DataError, match="only the level"):
        pm.lmer("y ~ x + (1 | g)", [part.assign(g=1) for part in parts])


LATE = {
    "sorted by the factor": ("y ~ x + f + (1 | u)", "f", {}),
    "numbers as levels": ("y ~ x + factor(v) + (1 | i)", "v", {}),
    "sum contrasts": ("y ~ f * x + (1 | u)", "f", {"contrasts": {"f": "contr.sum"}}),
    "C()": ("y ~ C(f, helmert) + (1 | u)", "u", {}),
    "interaction": ("y ~ f * i2 + x:f + (1 | u)", "f", {}),
    "no intercept, dummies": ("y ~ 0 + f + f:x + (1 | u)", "f", {}),
    "random effects": ("y ~ x + (0 + f | u) + (x | i)", "f", {"weights": "w"}),
    "random effects, two factors": ("y ~ f + (f | i2) + (1 | u)", "f", {}),
    "large numbers": ("y ~ f + f:big + (1 | u)", "f", {}),
    "sorted by a number": ("y ~ x + z + (1 | u)", "z", {}),
    "dependent columns": ("y ~ x + I(2 * x) + f + (1 | u)", "f", {}),
    "a factor without a term": ("y ~ x + f - f + (1 | u)", "f", {}),
    "missing in the first rows": ("y ~ x + m + f + (1 | u)", "v", {}),
    "missing in the last rows": ("y ~ x + m + (1 | u)", "backwards", {}),
}


def sorted_table(table: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    first = {"a": "c", "b": "a", "c": "b"}  # so that the first level comes last
    v = rng.permutation(np.arange(900) % 12) + 1
    return table.assign(
        f=table["f"].map(first),
        v=v,
        i2=np.array(["p", "q", "r"])[rng.integers(0, 3, 900)],
        z=np.floor(v / 6.0),
        big=1e5 + rng.normal(size=900),
        m=np.where(v > 5, rng.normal(size=900), np.nan),
        backwards=-v,
    )


@pytest.mark.parametrize("dtype", [None, "category"])
@pytest.mark.parametrize("name", LATE)
def test_levels_may_appear_in_any_partition(table, name, dtype):
    formula, by, more = LATE[name]
    data = sorted_table(table)
    data = data.sort_values(by, ascending=by != "f", kind="stable", ignore_index=True)
    if dtype:
        data["f"] = pd.Categorical(data["f"], categories=["b", "c", "a"])
    whole = pm.lmer(formula, data, **more)
    parts = pm.lmer(formula, pieces(data, 90), **more)
    assert_same(whole, parts)
    assert parts.dropped == whole.dropped
    assert parts.messages == whole.messages
    assert parts.model.contrasts == whole.model.contrasts
    new = data.iloc[::70]
    np.testing.assert_allclose(
        parts.predict(new, re_form="~0"), whole.predict(new, re_form="~0"), atol=tol("partitions")
    )


def test_dask_and_parquet_take_levels_from_any_partition(table, tmp_path, monkeypatch):
    import dask.dataframe as dask

    monkeypatch.setattr("pymackay.model.stream.sources._BATCH", 128)
    data = sorted_table(table).sort_values("v", ignore_index=True)
    data["year"] = (2000 + data["v"]).astype(str)
    formula = "y ~ x + m + year + (1 | u) + (1 | i)"
    whole = pm.lmer(formula, data)
    assert_same(whole, pm.lmer(formula, dask.from_pandas(data, npartitions=9)))
    data.to_parquet(tmp_path / "plain.parquet")
    assert_same(whole, pm.lmer(formula, tmp_path / "plain.parquet"))
    data.assign(year=data["year"].astype("category")).to_parquet(tmp_path / "coded.parquet")
    assert_same(whole, pm.lmer(formula, tmp_path / "coded.parquet"))


def test_what_is_wrong_with_the_whole_is_told_of_the_whole(table):
    parts = pieces(table)
    with pytest.raises(pm.DataError, match="has only the level 'a' in the rows that are used"):
        pm.lmer("y ~ f + (1 | u)", [part.assign(f="a") for part in parts])
    with pytest.raises(pm.DataError, match=r"no row is complete in the whole source.* 900 rows"):
        pm.lmer("y ~ x + (1 | u)", [part.assign(x=np.nan) for part in parts])
    with pytest.raises(pm.ArgumentError, match="neither a variable of the fixed part"):
        pm.lmer("y ~ x + (1 | u)", iter(parts), contrasts={"g": "contr.sum"})
    late = [*parts[:3], parts[3].assign(x="high"), parts[4]]
    with pytest.raises(pm.DataError, match=r"'x' holds text .* give the column one type"):
        pm.lmer("y ~ x + (1 | u)", late)
    with pytest.raises(pm.DataError, match=r"'x' holds text .* give the column one type"):
        pm.lmer("y ~ 1 + (x | u)", late)
    one = [part.assign(f="ab"[k > 0]) for k, part in enumerate(parts)]
    for late in (one, [part.astype({"f": pd.CategoricalDtype(["a", "b"])}) for part in one]):
        with pytest.raises(pm.DataError, match="by the argument contrasts"):
            pm.lmer("y ~ C(f, sum) + (1 | u)", late)
    matrix = np.array([[0.0], [1.0]])
    late = [parts[0].assign(f="b"), parts[1].assign(f="c"), parts[2].assign(f="a")]
    with pytest.raises(pm.ArgumentError, match="one row for each"):
        pm.lmer("y ~ f + (1 | u)", late, contrasts={"f": matrix})


def test_fits_of_other_rows_are_not_tested_against_each_other(table, tmp_path):
    data = table.assign(a=table["x"].where(table.index != 7), b=table["w"].where(table.index != 8))
    formulas = ("y ~ a + (1 | u)", "y ~ a + b + (1 | u)", "y ~ b + (1 | u)")
    first, both, second = (pm.lmer(formula, pieces(data)) for formula in formulas)
    with pytest.raises(pm.DataError, match=r"different (data|responses)"):
        pm.anova(first, second)
    with pytest.raises(pm.DataError, match="different data"):
        pm.anova(first, both)
    with pytest.raises(pm.DataError, match=r"different (data|responses)"):
        pm.anova(first, pm.lmer(formulas[2], data))
    other = data.assign(y=data["y"] * 3.0)
    with pytest.raises(pm.DataError, match=r"different (data|responses)"):
        pm.anova(first, pm.lmer("y ~ a + f + (1 | u)", pieces(other)))
    more = "y ~ a + f + (1 | u)"
    expected = pm.anova(pm.lmer(formulas[0], data), pm.lmer(more, data))
    for fits in (
        (first, pm.lmer(more, pieces(data))),
        (first, pm.lmer(more, pieces(data, 77))),
        (first, pm.lmer(more, data)),
        (first, pm.load_fit(pm.lmer(more, pieces(data)).save(tmp_path / "fit"))),
        (first, pm.load_fit(pm.lmer(more, data).save(tmp_path / "fit", rows=False))),
    ):
        tested = pm.anova(*fits)
        np.testing.assert_allclose(
            tested.to_numpy(float), expected.to_numpy(float), atol=tol("partitions")
        )


def test_swapped_rows_of_equal_responses_are_seen(table):
    data = table.dropna().assign(y=np.round(np.sin(np.arange(899.0))))
    rows = np.flatnonzero(data["y"] == 1.0)[:2]
    with_gaps = [data["x"].where(np.arange(899) != row) for row in rows]
    data = data.assign(a=with_gaps[0], b=with_gaps[1])
    fits = [pm.lmer(f"y ~ {name} + (1 | u)", pieces(data)) for name in "ab"]
    with pytest.raises(pm.DataError, match=r"different (data|responses)"):
        pm.anova(*fits)


def test_text_that_is_no_parquet_is_told(tmp_path):
    path = tmp_path / "rows.parquet"
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
