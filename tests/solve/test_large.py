"""Data frames of many rows: what a fit adds to their memory, and that it changes nothing."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.model.columns.column import as_factor
from pymackay.model.columns.table import read_column
from pymackay.model.sums.level_pairs import GrowingPairs, compact, sum_pairs

FORMULA = "rating ~ 1 + (1 | user) + (1 | item)"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows be what a million are else."""
    monkeypatch.setattr("pymackay.model.bases.scaling._ROWS", 1000)
    monkeypatch.setattr("pymackay.model.design.side.SHARED", 1000)
    monkeypatch.setattr("pymackay.model.sums.sparse_gram._CHUNK", 3000)


@pytest.mark.parametrize("solver", ["exact", "iterative"])
@pytest.mark.parametrize("weights", [None, "w"])
def test_many_rows_are_fitted_as_few_are(solver, weights, request):
    data = pm.datasets.simulate_crossed(8000, 90, 60, seed=4)
    data["w"] = np.random.default_rng(4).uniform(0.5, 2.0, len(data))
    data["rating"] += 1e4
    few = pm.lmer(FORMULA, data, solver=solver, weights=weights)
    request.getfixturevalue("small_chunks")
    many = pm.lmer(FORMULA, data, solver=solver, weights=weights)
    assert not many.problem.model.terms[0].columns.flags.writeable
    assert abs(few.criterion - many.criterion) < tol("tight criterion")
    assert np.abs(few.theta - many.theta).max() < tol("partitions")
    assert (np.abs(few.beta - many.beta) / few.std_error).max() < tol("partitions")
    for group, effects in few.ranef.items():
        assert list(effects.index) == list(many.ranef[group].index)
        assert np.abs(effects - many.ranef[group]).max(axis=None) < tol("partitions")
    assert np.abs(few.residuals - many.residuals).max() < tol("partitions")
    assert np.abs(few.fitted - many.fitted).max() < tol("partitions") * few.sigma
    new = data.head(50).assign(user=data["user"].iloc[0])
    assert np.abs(pm.predict(few, new) - pm.predict(many, new)).max() < tol("partitions")


def test_a_fit_adds_less_to_a_frame_than_four_times_its_columns(monkeypatch):
    data = pm.datasets.simulate_crossed(1_100_000, 2000, 1000, seed=1)
    data = data[["rating", "user", "item"]]
    columns = int(data.memory_usage(index=False).sum())
    monkeypatch.setattr("pymackay.model.bases.scaling._ROWS", 100_000)
    monkeypatch.setattr("pymackay.model.sums.sparse_gram._CHUNK", 200_000)
    pm.lmer(FORMULA, data.head(50_000), solver="iterative")  # what is loaded once
    tracemalloc.start()
    fit = pm.lmer(FORMULA, data, solver="iterative")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(fit.residuals) == len(data)
    assert peak < 4 * columns


@pytest.mark.parametrize(
    "values",
    [
        np.array([7, -3, 7, 0, 2**31 + 5], dtype=np.int64),
        np.array([2**63 + 9, 2**63 + 1, 2**63 + 9], dtype=np.uint64),
        np.array([-(2**63), -(2**63) + 40, -(2**63)], dtype=np.int64),
        np.array([100, -128, 127, 100], dtype=np.int8),
        np.array([2**32 - 1, 2**32 - 3], dtype=np.uint32),
    ],
)
def test_whole_numbers_are_numbered_in_rising_order(values, small_chunks):
    repeated = np.tile(values, 700)
    factor = as_factor(read_column(repeated, "g"), "g")
    distinct, codes = np.unique(repeated, return_inverse=True)
    assert factor.codes.tolist() == codes.tolist()
    assert [float(level) for level in factor.levels] == distinct.astype(float).tolist()


def test_counts_beyond_what_float32_holds_stay_exact():
    one, most = np.zeros(1, dtype=np.int32), np.full((1, 1, 1), 2.0**24 - 1.0)
    sums = GrowingPairs()
    for value in (most, most, np.full((1, 1, 1), 1.0)):
        sums.add(one, one, value, (1, 1))
    assert sums.compressed().values.item() == 2.0**25 - 1.0
    assert compact(np.array([3.0, -7.0])).dtype == np.float32
    for values in ([0.5, 1.0], [2.0**24], [1.0, 0.1]):
        assert compact(np.array(values)).dtype == np.float64


@pytest.mark.parametrize("same", [True, False])
def test_numbers_at_equal_places_are_added_up(same):
    rng = np.random.default_rng(8)
    rows, columns = rng.integers(0, 9, 300), rng.integers(0, 11, 300)
    values = np.full(300, 0.3) if same else rng.normal(size=300)
    result = sum_pairs(rows.astype(np.int32), columns.astype(np.int32), values, (9, 11))
    expected = np.zeros((9, 11))
    np.add.at(expected, (rows, columns), values)
    assert result.has_sorted_indices
    assert result.nnz == len(set(zip(rows.tolist(), columns.tolist(), strict=True)))
    np.testing.assert_allclose(result.toarray(), expected, rtol=1e-14)
