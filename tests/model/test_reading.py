"""A reading pass that is interrupted: it goes on where it was, and never with other rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.model.design.arguments import Arguments
from pymackay.model.stream import reading, sources
from pymackay.model.stream.sources import sum_source
from pymackay.solve.iterative.control import IterativeControl

FORMULA = "y ~ x + (x | u) + (1 | i)"


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def table(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = 900
    u, i = rng.integers(0, 40, n), rng.integers(0, 25, n)
    y = 50.0 + rng.normal(size=40)[u] + rng.normal(size=25)[i] + rng.normal(size=n)
    items = [f"item {k}" for k in i]
    return pd.DataFrame({"y": y, "x": rng.normal(size=n), "u": u * 3, "i": items})


def pieces(data: pd.DataFrame, stop: int | None = None) -> Iterator[pd.DataFrame]:
    """Yield up to six partitions, or fewer and then an error."""
    for k in range(6):
        if k == stop:
            raise Interrupted
        if len(data) > 150 * k:
            yield data.iloc[150 * k : 150 * (k + 1)]


@pytest.fixture
def summed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one with every partition that is summed."""
    seen: list[int] = []
    sum_partition = sources.sum_partition

    def counted(*args: Any) -> Any:
        seen.append(len(seen))
        return sum_partition(*args)

    monkeypatch.setattr(sources, "sum_partition", counted)
    return seen


def assert_equal(first: Any, second: Any) -> None:
    """Compare two sums to the last digit."""
    assert first.n == second.n
    for name in ("diagonals", "dense", "transforms"):
        for a, b in zip(getattr(first.gram, name), getattr(second.gram, name), strict=True):
            np.testing.assert_array_equal(a, b)
    for key, pairs in first.gram.pairs.items():
        np.testing.assert_array_equal(pairs.indices, second.gram.pairs[key].indices)
        np.testing.assert_array_equal(pairs.values, second.gram.pairs[key].values)
    for group, factor in first.model.factors.items():
        assert factor.levels == second.model.factors[group].levels


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_an_interrupted_pass_goes_on_with_the_next_partition(stop, tmp_path, summed):
    data, path = table(), tmp_path / "fit.npz"
    with pytest.raises(Interrupted):
        sum_source(FORMULA, pieces(data, stop), checkpoint=path)
    assert len(summed) == stop
    result = sum_source(FORMULA, pieces(data), checkpoint=path)
    assert len(summed) == 6
    assert_equal(result, sum_source(FORMULA, pieces(data)))


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_levels_of_later_partitions_survive_an_interruption(stop, tmp_path, summed):
    formula = "y ~ f * x + (0 + f | u) + (1 | i)"
    data = table().assign(f=np.repeat(["c", "b", "a"], 300))
    data.loc[:149, "x"] = np.nan
    path = tmp_path / "fit.npz"
    with pytest.raises(Interrupted):
        sum_source(formula, pieces(data, stop), checkpoint=path)
    again = sum_source(formula, pieces(data), checkpoint=path)
    whole = sum_source(formula, pieces(data))
    assert_equal(again, whole)
    assert (
        again.model.fixed == whole.model.fixed == ("(Intercept)", "fb", "fc", "x", "fb:x", "fc:x")
    )
    assert again.model.messages == ("dropped 150 of 900 rows with missing values",)
    np.testing.assert_array_equal(again.gram.dense_gram, whole.gram.dense_gram)


def test_a_fit_goes_on_and_cleans_up(tmp_path, summed):
    data = table()
    control = IterativeControl(checkpoint=tmp_path / "fit.npz")
    with pytest.raises(Interrupted):
        pm.lmer(FORMULA, pieces(data, 4), control=control)
    assert (tmp_path / "fit.npz.sums").exists()
    fit = pm.lmer(FORMULA, pieces(data), control=control)
    assert len(summed) == 6
    straight = pm.lmer(FORMULA, pieces(data), solver="iterative")
    np.testing.assert_array_equal(fit.theta, straight.theta)
    np.testing.assert_array_equal(fit.beta, straight.beta)
    assert fit.criterion == straight.criterion
    assert list(tmp_path.iterdir()) == []


def test_what_a_search_was_interrupted_in_is_not_read_again(tmp_path, summed, monkeypatch):
    data = table()
    control = IterativeControl(checkpoint=tmp_path / "fit.npz")

    def fails(*args: Any, **more: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr("pymackay.solve.choose.IterativeSolver", fails)
        pm.lmer(FORMULA, pieces(data), control=control)
    assert len(summed) == 6
    pm.lmer(FORMULA, pieces(data), control=control)
    assert len(summed) == 6


def test_parquet_goes_on_too(tmp_path, summed, monkeypatch):
    monkeypatch.setattr(sources, "_BATCH", 200)
    data, path = table(), tmp_path / "fit.npz"
    data.to_parquet(tmp_path / "rows.parquet")
    counted = sources.sum_partition

    def dies(*args: Any) -> Any:
        if len(summed) == 3:
            raise KeyboardInterrupt
        return counted(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sources, "sum_partition", dies)
        sum_source(FORMULA, tmp_path / "rows.parquet", checkpoint=path)
    result = sum_source(FORMULA, tmp_path / "rows.parquet", checkpoint=path)
    assert len(summed) == 5
    assert_equal(result, sum_source(FORMULA, tmp_path / "rows.parquet"))


def test_dask_sums_only_what_is_missing(tmp_path, summed, monkeypatch):
    import dask.dataframe as dask

    data, path = table(), tmp_path / "fit.npz"
    source = dask.from_pandas(data, npartitions=5)
    add = reading.Reading.add

    def dies(self: Any, *args: Any) -> None:
        if len(self.done) == 2:
            raise Interrupted
        add(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(reading.Reading, "add", dies)
        sum_source(FORMULA, source, checkpoint=path)
    summed.clear()
    result = sum_source(FORMULA, source, checkpoint=path)
    assert len(summed) == 3
    assert_equal(result, sum_source(FORMULA, source))
    with pytest.raises(pm.ArgumentError, match="another model or other data"):
        sum_source(FORMULA, source.repartition(npartitions=4), checkpoint=path)
    with pytest.raises(pm.ArgumentError, match="partition 1 of the source has other rows"):
        sum_source(FORMULA, dask.from_pandas(table(1), npartitions=5), checkpoint=path)


def test_sums_of_other_rows_or_another_model_are_refused(tmp_path):
    data, path = table(), tmp_path / "fit.npz"
    with pytest.raises(Interrupted):
        sum_source(FORMULA, pieces(data, 3), checkpoint=path)
    for k, name in enumerate(["y", "x", "u", "i"]):
        other = data.copy()
        other.loc[150 + k, name] = other[name].iloc[0] if name == "i" else 1
        with pytest.raises(pm.ArgumentError, match="partition 2 of the source has other rows"):
            sum_source(FORMULA, pieces(other), checkpoint=path)
    with pytest.raises(pm.ArgumentError, match="of 3 partitions, but the source has 2"):
        sum_source(FORMULA, pieces(data.iloc[:300]), checkpoint=path)
    for formula, more in (
        ("y ~ x + (1 | u) + (1 | i)", {}),
        (FORMULA, {"weights": "w"}),
        (FORMULA, {"offset": "w"}),
    ):
        with pytest.raises(pm.ArgumentError, match="delete it, or name another"):
            sum_source(formula, pieces(data.assign(w=1.0)), Arguments(**more), checkpoint=path)
    unused = data.assign(z=np.arange(900.0))
    assert_equal(
        sum_source(FORMULA, pieces(unused), checkpoint=path), sum_source(FORMULA, pieces(data))
    )


def test_a_file_that_is_none_of_ours_is_told(tmp_path):
    path = tmp_path / "fit.npz"
    (tmp_path / "fit.npz.sums").write_text("no sums")
    with pytest.raises(pm.ArgumentError, match="cannot be read"):
        sum_source(FORMULA, pieces(table()), checkpoint=path)
    with pytest.raises(pm.ArgumentError, match="folder that does not exist"):
        sum_source(FORMULA, pieces(table()), checkpoint=tmp_path / "nowhere" / "fit.npz")


def test_sums_are_never_saved_by_halves(tmp_path, summed, monkeypatch):
    data, path = table(), tmp_path / "fit.npz"
    monkeypatch.setattr(reading, "_EVERY", 0.0)
    monkeypatch.setattr(reading, "_SHARE", 1e9)  # after every partition
    add = reading.Accumulator.add

    def by_halves(self: Any, part: Any) -> None:
        add(self, part)
        if len(summed) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reading.Accumulator, "add", by_halves)
        sum_source(FORMULA, pieces(data), checkpoint=path)
    with monkeypatch.context() as patch, pytest.raises(pm.ArgumentError, match="no room"):
        patch.setattr("pymackay._files.os.fsync", _no_room)
        sum_source(FORMULA, pieces(data), checkpoint=path)
    summed.clear()
    result = sum_source(FORMULA, pieces(data), checkpoint=path)
    assert len(summed) == 3
    assert_equal(result, sum_source(FORMULA, pieces(data)))


def _no_room(descriptor: int) -> None:
    raise OSError(28, "no room")


def test_numbers_and_labels_survive_in_any_case(tmp_path):
    data, path = table(), tmp_path / "fit.npz"
    data["u"] = data["u"] + 2**31
    with pytest.raises(Interrupted):
        sum_source("y ~ x + (1 | u) + (x || i)", pieces(data, 2), checkpoint=path)
    result = sum_source("y ~ x + (1 | u) + (x || i)", pieces(data), checkpoint=path)
    assert_equal(result, sum_source("y ~ x + (1 | u) + (x || i)", pieces(data)))
    whole = pm.lmer("y ~ x + (1 | u) + (x || i)", data)
    assert list(result.model.factors["u"].levels) == list(whole.ranef["u"].index)
    assert result.gram.y_scale == pytest.approx(
        whole.problem.solver.bases.y_scale, rel=tol("partitions")
    )
