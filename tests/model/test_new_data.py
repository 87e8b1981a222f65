"""`build_new`: new data get the columns of the model, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from design_tables import grouped_table
from tolerances import tol

import pymackay as pm
from pymackay.errors import ArgumentError, DataError, FormulaError
from pymackay.model.design.build import build_model
from pymackay.model.design.new_data import build_new
from pymackay.model.stream.sources import sum_source


def test_new_rows_use_what_the_model_remembers() -> None:
    data = grouped_table(o=pd.Categorical(list("abc") * 4, ordered=True))
    model = build_model("y ~ poly(x, 2) + f + o + (scale(x) | g)", data)
    one = build_new(model.blueprint, data.iloc[[4]])
    np.testing.assert_allclose(one.X[0], model.X[4], rtol=tol("design"), atol=tol("design"))
    np.testing.assert_allclose(one.columns[0][0], model.terms[0].columns[4], rtol=tol("design"))


def test_new_rows_beyond_the_old_ones() -> None:
    model = build_model("y ~ scale(x) + ns(x, df = 2) + (1 | g)", grouped_table())
    new = build_new(model.blueprint, {"x": [-3.0, 20.0, 21.0, 22.0], "g": ["a"] * 4})
    step = np.diff(new.X[1:], axis=0)
    np.testing.assert_allclose(step[0], step[1], atol=tol("design"))
    assert np.isfinite(new.X).all()


def test_new_levels_of_a_group_are_named() -> None:
    model = build_model("y ~ x + (1 | g:f)", grouped_table())
    new = build_new(
        model.blueprint, {"x": [1.0] * 4, "g": ["a", "z", None, "b"], "f": list("ppqr")}
    )
    levels = model.factors["g:f"].levels
    assert new.codes["g:f"].tolist() == [levels.index("a:p"), -1, -1, levels.index("b:r")]
    assert new.unseen == {"g:f": ("z:p",)}
    assert new.complete.tolist() == [True, True, False, True]


def test_missing_values_in_new_rows_give_nan() -> None:
    model = build_model("y ~ x * f + (1 | g)", grouped_table())
    new = build_new(model.blueprint, {"x": [1.0, np.nan, 1.0], "f": ["q", "p", None]}, random=False)
    assert np.isnan(new.X).all(axis=1).tolist() == [False, True, True]
    assert new.complete.tolist() == [True, False, False]
    assert new.columns == () and new.codes == {}


def test_new_rows_need_no_response_and_no_dropped_column_differs() -> None:
    data = grouped_table(x2=2 * np.arange(12.0))
    model = build_model("y ~ x2 + x + f + (x | g)", data)
    new = build_new(model.blueprint, data.drop(columns="y"))
    np.testing.assert_array_equal(new.X, model.X)
    assert model.blueprint.term_labels == ("x2", "x", "f")
    assert model.blueprint.assign.tolist() == [0, 1, 3, 3]


def test_offsets_of_new_rows() -> None:
    data = grouped_table(z=np.arange(12.0))
    by_name = build_model("y ~ x + offset(x) + (1 | g)", data, offset="z")
    new = build_new(by_name.blueprint, data)
    np.testing.assert_array_equal(new.offset, by_name.offset)
    by_array = build_model("y ~ x + (1 | g)", data, offset=data["z"].to_numpy())
    with pytest.raises(ArgumentError, match="pass offset"):
        build_new(by_array.blueprint, data)
    new = build_new(by_array.blueprint, data.iloc[:2], offset=[5.0, 6.0])
    assert new.offset is not None and new.offset.tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"f": ["p", "NEW"]},
            "levels in newdata that the model does not know: NEW; it knows p, q, r",
        ),
        ({"x": ["a", "b"]}, "'x' holds numbers in the model, but categories"),
    ],
)
def test_new_data_of_another_kind_are_refused(changes: dict[str, Any], message: str) -> None:
    model = build_model("y ~ x + f + (1 | g)", grouped_table())
    with pytest.raises(DataError, match=message):
        build_new(model.blueprint, grouped_table().iloc[:2].assign(**changes))


def test_levels_as_numbers_in_new_data_are_found_by_name() -> None:
    model = build_model("y ~ k + (1 | g)", grouped_table(k=["1", "2", "3"] * 4))
    new = build_new(model.blueprint, {"k": [3, 1], "g": ["a", "b"]})
    assert new.X.tolist() == [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def test_codes_of_a_factor_keep_their_meaning() -> None:
    data = grouped_table(f=pd.Categorical(["p", "q", "r"] * 4))
    model = build_model("y ~ as.numeric(f) + (1 | g)", data)
    new = build_new(model.blueprint, {"f": ["r", "q"], "g": ["a", "b"]})
    assert new.X[:, 1].tolist() == [3.0, 2.0]


WHOLE_COLUMN_TERMS = [
    "as.numeric(factor(visit))",
    "as.integer(factor(arm))",
    "as.integer(as.ordered(visit))",
    "as.numeric(droplevels(kind))",
    "as.numeric(kind)",
    "poly(as.numeric(factor(visit)), 2)",
    "factor(visit, labels = 'V')",
    "factor(visit, labels = c('a', 'b', 'c'))",
    "ordered(arm, labels = c('x', 'y', 'z'))",
    "relevel(factor(arm), ref = 2)",
    "relevel(kind, 'c')",
    "C(visit, sum)",
    "C(factor(arm), contr.helmert)",
    "as.numeric(interaction(arm, kind))",
    "as.numeric(relevel(factor(arm), 'c'))",
    "as.numeric(factor(ifelse(visit > 2, 'late', arm)))",
    "as.numeric(factor(visit, levels = c(3, 1, 2)))",
    "as.integer(cut(x, 3))",
    "x:as.numeric(factor(visit))",
]


@pytest.mark.parametrize("term", WHOLE_COLUMN_TERMS)
def test_a_subset_of_the_rows_gets_the_columns_of_the_fit(term: str) -> None:
    """The levels and codes of factors made in the formula do not depend on the rows at hand."""
    random = np.random.default_rng(1)
    data = pd.DataFrame(
        {
            "y": random.normal(size=48),
            "x": random.normal(size=48),
            "visit": np.tile([1, 2, 3], 16),
            "arm": np.repeat(["b", "a", "c", "a"], 12),
            "kind": pd.Categorical(np.tile(list("bbcc"), 12), list("dcba")),
            "g": np.tile(list("stuv"), 12),
        }
    )
    model = build_model(f"y ~ {term} + (1 | g)", data)
    for rows in (data.visit == 3, data.arm == "c", data.kind == "b", data.index == 7):
        new = build_new(model.blueprint, data[rows])
        np.testing.assert_allclose(new.X, model.X[rows], rtol=tol("design"), atol=tol("design"))


def test_a_level_without_a_position_at_the_fit_is_refused() -> None:
    data = grouped_table(visit=np.tile([1, 2, 4], 4))
    for term, what in (
        ("as.numeric(factor(visit))", "number"),
        ("factor(visit, labels = 'V')", "label"),
    ):
        model = build_model(f"y ~ {term} + (1 | g)", data)
        with pytest.raises(FormulaError, match=f"levels 3 in newdata, for which .* no {what}"):
            build_new(model.blueprint, data.assign(visit=[3] * 12))


@pytest.mark.parametrize("term", ["as.numeric(factor(visit))", "factor(visit, labels = 'V')"])
def test_positions_of_levels_are_refused_where_rows_come_in_partitions(term: str) -> None:
    data = grouped_table(visit=np.tile([1, 2, 4], 4))
    with pytest.raises(DataError, match="needs all rows at once"):
        sum_source(f"y ~ {term} + (1 | g)", iter([data, data]))
    fixed = "as.numeric(factor(visit, levels = c(1, 2, 4)))"
    assert sum_source(f"y ~ {fixed} + (1 | g)", iter([data, data])).n == 24


def test_labels_of_numbers_are_printed_as_at_the_fit() -> None:
    """R prints 100000 as 1e+05 in a column of doubles, and as 100000 in one of integers."""
    ids = np.tile([100_000, 3_000_000_000, 7], 4)
    model = build_model("y ~ x + (1 | id)", grouped_table(id=ids))
    assert model.factors["id"].levels == ("7", "1e+05", "3e+09")
    new = build_new(model.blueprint, grouped_table(id=[100_000, 7] * 6))
    assert new.unseen == {} and new.codes["id"].tolist() == [1, 0] * 6


def test_numbers_stand_for_the_levels_of_a_factor() -> None:
    data = grouped_table(f=pd.Categorical(np.tile(["20", "10", "30"], 4)))
    model = build_model("y ~ as.numeric(f) + (1 | g)", data)
    new = build_new(model.blueprint, data.assign(f=data.f.astype(str).astype(int)))
    np.testing.assert_array_equal(new.X, model.X)


def test_what_factors_remember_is_kept_in_a_file(tmp_path: Path) -> None:
    table = pd.concat([grouped_table()] * 3, ignore_index=True)
    data = table.assign(
        visit=np.tile([1, 2, 4], 12), noise=np.random.default_rng(0).normal(size=36)
    )
    formula = (
        "y + noise ~ as.numeric(factor(visit)) + factor(visit, labels = 'V') + x:relevel(f, 2) + "
        "I(x > quantile(x, 0.3)) + (1 | g)"
    )
    fit = pm.lmer(formula, data)
    fit.save(tmp_path / "fit")
    again = pm.load_fit(tmp_path / "fit")
    rows = data[data.visit == 4]
    np.testing.assert_allclose(
        again.predict(rows), fit.fitted[rows.index], rtol=tol("design"), atol=tol("design")
    )
