"""What the data do not determine, because columns were dropped, is nan and said."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """Two crossed factors without the cell (c, q), unbalanced."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "a": rng.choice(list("abc"), 90),
            "s": rng.choice(list("pq"), 90),
            "x": rng.normal(size=90),
            "g": [f"g{k % 9}" for k in range(90)],
        }
    )
    table = table[(table["a"] != "c") | (table["s"] != "q")].reset_index(drop=True)
    return table.assign(y=table["x"] + (table["a"] == "b") + rng.normal(size=len(table)))


def orders(data: pd.DataFrame) -> list[pd.DataFrame]:
    return [
        data.assign(a=pd.Categorical(data["a"], a), s=pd.Categorical(data["s"], list(s)))
        for a in map(list, itertools.permutations("abc"))
        for s in ("pq", "qp")
    ]


CELLS = pd.DataFrame(itertools.product("abc", "pq"), columns=["a", "s"]).assign(x=0.5, g="g1")


FORMULA = "y ~ x + a * s + (1 | g)"


def test_a_cell_without_rows_is_nan_and_the_others_are_cell_means(data: pd.DataFrame) -> None:
    # the same model with one column for each cell that has rows, which is of full rank
    means = pm.lmer("y ~ 0 + cell + x + (1 | g)", data.assign(cell=data["a"] + data["s"]))
    there = CELLS[:5].assign(cell=CELLS["a"] + CELLS["s"])
    expected = means.predict(there, se_fit=True, interval="prediction")
    for table in orders(data):
        fit = pm.lmer(FORMULA, table)
        with pytest.warns(pm.PymackayWarning, match=rf"row\(s\) 5: .* \({fit.dropped[0]}\)"):
            result = fit.predict(CELLS, se_fit=True, interval="prediction")
        assert result.loc[5].isna().all()
        np.testing.assert_allclose(result[:5], expected, rtol=tol("optimum"))


def test_rows_that_break_a_linear_dependence_are_nan(data: pd.DataFrame) -> None:
    table = data.assign(twice=2.0 * data["x"] + 1.0)
    fit = pm.lmer("y ~ x + twice + (1 | g)", table)
    new = pd.DataFrame({"x": [0.0, 1.0, 1e6, np.nan], "twice": [1.0, 3.1, 2e6 + 1, 1.0], "g": "g1"})
    with pytest.warns(pm.PymackayWarning, match=r"row\(s\) 1: "):
        result = fit.predict(new)
    assert result.isna().tolist() == [False, True, False, True]
    plain = pm.lmer("y ~ x + (1 | g)", data).predict(new)
    np.testing.assert_allclose(result[[0, 2]], plain[[0, 2]], rtol=tol("optimum"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(fit.predict(table), fit.fitted, rtol=tol("oracle"))
        assert fit.predict(new, random_only=True).notna()[:3].all()


def test_contrasts(data: pd.DataFrame) -> None:
    means = pm.lmer("y ~ 0 + cell + x + (1 | g)", data.assign(cell=data["a"] + data["s"]))
    expected = pm.contrast(means, {"cellbq": 1, "cellbp": -1})
    first = data.assign(a=pd.Categorical(data["a"], list("cab")))
    fit = pm.lmer(FORMULA, first)
    assert fit.dropped == ("ab:sq",)
    result = pm.contrast(fit, {"sq": 1, "ab:sq": 1})
    np.testing.assert_allclose(result, expected, rtol=tol("optimum"))
    with pytest.warns(pm.PymackayWarning, match=r"function\(s\) sq: .* \(ab:sq\)"):
        both = pm.contrast(fit, [{"sq": 1}, {"x": 1}], joint=False)
    assert both.loc["sq"].isna().all()
    np.testing.assert_allclose(both.loc[["x"]], pm.contrast(fit, {"x": 1}), rtol=1e-12)
    for ddf in ("Satterthwaite", "Kenward-Roger"):
        with pytest.warns(pm.PymackayWarning, match=r"function\(s\) ab:sq: "):
            assert pm.contrast(fit, [{"ab:sq": 1}, {"x": 1}], ddf=ddf).isna().all(axis=None)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_terms_with_an_empty_cell_do_not_depend_on_the_order_of_levels(
    data: pd.DataFrame, kind: int
) -> None:
    tables = [pm.anova(pm.lmer(FORMULA, table), type=kind) for table in orders(data)]
    assert tables[0].notna().all(axis=None)
    for table in tables[1:]:
        np.testing.assert_allclose(
            table[["NumDF", "F value"]], tables[0][["NumDF", "F value"]], rtol=tol("optimum")
        )


def test_a_fit_that_was_saved_still_knows(data: pd.DataFrame, tmp_path: Path) -> None:
    pm.lmer(FORMULA, data).save(tmp_path / "fit")
    with pytest.warns(pm.PymackayWarning, match="do not determine"):
        assert np.isnan(pm.load_fit(tmp_path / "fit").predict(CELLS)[5])


# ---- rows in partitions, generalised models


def in_parts(data: pd.DataFrame) -> list[pd.DataFrame]:
    return [data[:25], data[25:60], data[60:]]


@pytest.mark.parametrize("saved", [False, True])
def test_rows_in_partitions_know_what_is_undetermined(
    data: pd.DataFrame, tmp_path: Path, saved: bool
) -> None:
    table = data.assign(twice=2.0 * data["x"] + 1.0)
    formula = "y ~ x + a * s + twice + (1 | g)"
    fit, summed = pm.lmer(formula, table), pm.lmer(formula, iter(in_parts(table)))
    assert summed.dropped == fit.dropped == ("twice", "ac:sq")
    if saved:
        summed.save(tmp_path / "fit")
        summed = pm.load_fit(tmp_path / "fit")
    rows = pd.concat([CELLS.assign(twice=2.0), CELLS.assign(twice=2.1)], ignore_index=True)
    result = []
    for one in (fit, summed):
        with pytest.warns(pm.PymackayWarning, match=r"\(twice, ac:sq\)") as told:
            predicted = one.predict(rows, se_fit=True)
        with pytest.warns(pm.PymackayWarning, match=r"function\(s\) x: .* \(twice\)"):
            tested = one.contrast([{"x": 1}, {"x": 1, "twice": 2}, {"sq": 1}], joint=False)
        result.append((predicted, tested, str(told[0].message)))
    (predicted, tested, message), (of_sums, tested_of_sums, message_of_sums) = result
    np.testing.assert_allclose(of_sums, predicted, rtol=tol("optimum"))
    np.testing.assert_allclose(tested_of_sums["Estimate"], tested["Estimate"], rtol=tol("optimum"))
    assert predicted.isna().all(axis=1).tolist() == [False] * 5 + [True] * 7
    assert message == message_of_sums


def test_marginal_means_of_rows_in_partitions(data: pd.DataFrame) -> None:
    fit, summed = pm.lmer(FORMULA, data), pm.lmer(FORMULA, iter(in_parts(data)))
    expected = pm.emmeans(fit, "a", ddf="none").table
    result = pm.emmeans(summed, "a", ddf="none", data=data).table
    assert result["emmean"].isna().tolist() == [False, False, True]
    np.testing.assert_allclose(result["emmean"], expected["emmean"], rtol=tol("optimum"))
    assert "dropped (ac:sq)" in result.messages[-1]
    with pytest.raises(pm.ArgumentError, match="76 complete rows, but the model was fitted to 77"):
        pm.emmeans(summed, "a", data=data[1:])


def test_generalised_models_know_it_too(data: pd.DataFrame, tmp_path: Path) -> None:
    counts = np.random.default_rng(1).poisson(np.exp(0.3 * data["x"] + 0.5))
    fit = pm.glmer("k ~ x + a * s + (1 | g)", data.assign(k=counts), "poisson")
    assert fit.dropped == ("ac:sq",)
    fit.save(tmp_path / "fit")
    for one in (fit, pm.load_fit(tmp_path / "fit")):
        with pytest.warns(pm.PymackayWarning, match=r"row\(s\) 5: .* \(ac:sq\)"):
            assert one.predict(CELLS).isna().tolist() == [False] * 5 + [True]
