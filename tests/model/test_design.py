"""`build_model`: kinds of columns, the arguments, rank, the parity cases, speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from case_files import case_names, load_case
from design_tables import grouped_table

from pymackay.errors import PymackayError
from pymackay.model.bases.scaling import independent_columns
from pymackay.model.design.build import build_model
from pymackay.model.model import Model


def levels_of(values: Any) -> tuple[str, ...]:
    return build_model("y ~ x + (1 | k)", grouped_table(k=values)).factors["k"].levels


# ---- kinds of columns ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([10, 9, 2] * 4, ("2", "9", "10")),
        (np.array([100000, 9, 2] * 4, dtype=np.int32), ("2", "9", "100000")),
        (np.array([3000000000, 9, 2] * 4), ("2", "9", "3e+09")),
        (np.array([2**53 + 1, 2**53, 2] * 4), ("2", "9007199254740992", "9007199254740993")),
        (np.array([2**64 - 1, 2**64 - 2, 5] * 4, dtype=np.uint64), None),
        (np.array([127, -128, 0] * 4, dtype=np.int8), ("-128", "0", "127")),
        (np.array([100000.0, 0.1, -2.5] * 4), ("-2.5", "0.1", "1e+05")),
        (np.array([0.1, 0.2, 0.5] * 4, dtype=np.float32), None),
        (np.array([0.3, 0.1 + 0.2, 1.0] * 4), ("0.3", "1")),
        ([True, False, False] * 4, ("FALSE", "TRUE")),
        (pd.array([True, False, None] * 4, dtype="boolean"), ("FALSE", "TRUE")),
        (["b", "B", "é"] * 4, ("B", "b", "é")),
        (np.array(["b", "B", "_"] * 4, dtype=object), ("B", "_", "b")),
        (np.array(["b", "B", "_"] * 4), ("B", "_", "b")),
        (pd.array(["b", "B", None] * 4, dtype="string"), ("B", "b")),
        (["b", "B", None] * 4, ("B", "b")),
        (pd.array([10, 9, None] * 4, dtype="Int64"), ("9", "10")),
        (pd.array([10.5, 9, None] * 4, dtype="Float64"), ("9", "10.5")),
        (pd.Categorical(["z", "y", "x"] * 4, categories=["z", "no", "x", "y"]), ("z", "x", "y")),
        (pd.Categorical([3, 1, 2] * 4, categories=[3, 2, 1, 0]), ("3", "2", "1")),
        (pd.Categorical([1e5, 0.5, 2] * 4), ("0.5", "2", "1e+05")),
        (pd.Categorical([True, False, True] * 4), ("FALSE", "TRUE")),
        ([True, False, None] * 4, ("FALSE", "TRUE")),
        ([1, None, 3] * 4, ("1", "3")),
        (pd.array(["u", "v", "w"] * 4, dtype="string[python]"), ("u", "v", "w")),
    ],
    ids=str,
)
def test_levels_of_a_grouping_column(values: Any, levels: tuple[str, ...] | None) -> None:
    result = levels_of(values)
    if levels is None:
        assert len(result) == 3
    else:
        assert result == levels


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12, dtype=np.int16),
        np.arange(12, dtype=np.float32),
        pd.array(np.arange(12), dtype="Int32"),
        pd.array(np.arange(12.0), dtype="Float64"),
        pd.Series(list(range(12)), dtype=object),
        pd.arrays.SparseArray(np.arange(12.0)),
    ],
    ids=lambda values: str(values.dtype),
)
def test_numbers_of_any_type_are_float64(values: Any) -> None:
    model = build_model("y ~ k + (1 | g)", grouped_table(k=values))
    assert model.X.dtype == np.float64
    assert model.X[:, 1].tolist() == list(range(12))


def test_arrow_columns() -> None:
    data = grouped_table().convert_dtypes(dtype_backend="pyarrow")
    plain, arrow = (
        build_model("y ~ x * f + (x | g)", grouped_table()),
        build_model("y ~ x * f + (x | g)", data),
    )
    assert plain.fixed == arrow.fixed
    np.testing.assert_array_equal(plain.X, arrow.X)
    assert plain.factors["g"].levels == arrow.factors["g"].levels


def test_a_mapping_of_arrays_is_data() -> None:
    data = {name: column.to_numpy() for name, column in grouped_table().items()}
    model = build_model("y ~ x + (1 | g)", data)
    assert model.rows.equals(pd.RangeIndex(12))
    np.testing.assert_array_equal(model.X, build_model("y ~ x + (1 | g)", grouped_table()).X)


def test_the_index_stays_with_the_rows() -> None:
    data = grouped_table().set_index(pd.Index([f"r{i}" for i in range(12)]))
    data.loc["r3", "x"] = np.nan
    model = build_model("y ~ x + (1 | g)", data, subset="f != 'q'")
    assert model.rows.tolist() == ["r0", "r2", "r5", "r6", "r8", "r9", "r11"]
    assert model.messages == ("dropped 1 of 8 rows with missing values",)


def test_data_are_not_changed_and_not_shared() -> None:
    data = grouped_table(w=1.0)
    before = data.copy(deep=True)
    model = build_model("y ~ x + I(x^2) + (x | g)", data, weights="w", offset="x")
    pd.testing.assert_frame_equal(data, before)
    for array in (model.y, model.X, model.weights, model.offset, model.terms[0].columns):
        assert array is not None
        assert array.flags.writeable
        for name in ("y", "x", "w"):
            assert not np.shares_memory(array, data[name].to_numpy())


def test_arrays_beside_the_formula() -> None:
    data = grouped_table()
    weights = np.linspace(1.0, 2.0, 12)
    chosen = np.arange(12) % 4 > 0
    model = build_model(
        "y ~ x + (1 | g)", data, weights=weights, offset=list(weights), subset=chosen
    )
    assert model.weights is not None and model.offset is not None
    np.testing.assert_array_equal(model.weights, weights[chosen])
    np.testing.assert_array_equal(model.offset, weights[chosen])
    named = build_model(
        "y ~ x + (1 | g)",
        data,
        weights=pd.Series(weights),
        subset=pd.Series(chosen).astype("boolean"),
    )
    assert named.weights is not None
    np.testing.assert_array_equal(model.weights, named.weights)


def test_columns_called_like_arguments_are_columns() -> None:
    data = grouped_table(weights=np.arange(12.0), offset=np.arange(12.0) ** 2)
    data.loc[3, "weights"] = np.nan
    model = build_model("y ~ weights + offset + (1 | g)", data, weights=np.ones(12))
    assert model.fixed == ("(Intercept)", "weights", "offset")
    assert model.X.shape == (11, 3)


@pytest.mark.filterwarnings("error")
def test_huge_numbers_are_numbers() -> None:
    model = build_model("y ~ x + (1 | g)", grouped_table(x=np.arange(12.0) * 1e307 - 5e307))
    assert model.fixed == ("(Intercept)", "x")


def test_or_inside_a_function_is_logic() -> None:
    model = build_model("y ~ I(x > 8 | f == 'p') + (1 | g)", grouped_table())
    assert model.fixed == ("(Intercept)", 'I(x > 8 | f == "p")TRUE')
    expected = [
        float(x > 8 or f == "p") for x, f in zip(grouped_table().x, grouped_table().f, strict=True)
    ]
    assert model.X[:, 1].tolist() == expected


def test_grouping_by_an_expression_needs_no_column_of_the_frame() -> None:
    assert levels_of([1.0, 2.0, 3.0] * 4) == ("1", "2", "3")
    model = build_model(
        "y ~ x + (1 | factor(k)) + (1 | interaction(f, g))", grouped_table(k=[2, 1] * 6)
    )
    assert model.factors["factor(k)"].levels == ("1", "2")
    assert model.factors["interaction(f, g)"].levels[:4] == ("p.a", "q.a", "r.a", "p.b")


def test_intercept_alone_under_a_double_bar() -> None:
    assert build_model("y ~ x + (1 || g)", grouped_table()).terms[0].effects == ("(Intercept)",)


def test_dot_says_that_the_group_is_fixed_too() -> None:
    model = build_model("y ~ . + (1 | g)", grouped_table())
    assert model.fixed == ("(Intercept)", "x", "gb", "gc", "fq", "fr")
    assert "take it out with '. - g'" in model.messages[0]


def test_dropped_columns_are_named() -> None:
    model = build_model("y ~ x + x2 + f + (1 | g)", grouped_table(x2=2 * np.arange(12.0)))
    assert model.dropped == ("x2",)
    assert model.messages == (
        "fixed-effect model matrix is rank deficient so dropping 1 column / coefficient: x2",
    )
    assert model.X.shape == (12, 4)


# ---- rank ----------------------------------------------------------------------------------------


def test_rank_rule_on_the_triangle_is_the_rule_on_the_rows() -> None:
    """A column is kept or dropped by the share of its norm that is left, far from rounding."""
    rng = np.random.default_rng(5)
    for share, kept in [(1e-5, True), (1e-6, True), (2e-7, True), (5e-8, False), (0.0, False)]:
        X = rng.normal(size=(500, 4))
        direction = rng.normal(size=500)
        direction -= X @ np.linalg.lstsq(X, direction, rcond=None)[0]
        column = X @ rng.normal(size=4)
        column += direction * share * np.linalg.norm(column) / np.linalg.norm(direction)
        result = independent_columns(np.column_stack([X, column, X[:, :2]]))
        assert result.tolist() == ([0, 1, 2, 3, 4] if kept else [0, 1, 2, 3])


# ---- parity cases --------------------------------------------------------------------------------


def build_case(name: str) -> tuple[Model, dict[str, Any]]:
    case = load_case(name)
    arguments = {key: value for key, value in case.arguments.items() if key != "reml"}
    return build_model(case.meta["formula"], case.data, **arguments), case.expected


@pytest.mark.parametrize("name", case_names())
def test_case_has_the_expected_design(name: str) -> None:
    case = load_case(name)
    if case.meta["expect"] == "error":
        with pytest.raises(PymackayError):
            build_case(name)
        return
    model, expected = build_case(name)
    reference = expected["lme4"]
    assert list(model.fixed) == reference["beta"]["names"]
    assert list(model.dropped) == expected["dropped_columns"]
    assert len(model.y) == reference["nobs"]
    assert [t.name for t in model.terms] == list(reference["varcorr"])
    assert [list(t.effects) for t in model.terms] == [
        term["terms"] for term in reference["varcorr"].values()
    ]
    assert {n: len(f.levels) for n, f in model.factors.items()} == reference["ngrps"]
    for group, table in reference["ranef"].items():
        levels, recorded = list(model.factors[group].levels), table["levels"]
        # Of many levels the cases record the first 15 and the last 5.
        assert recorded == (levels if len(recorded) == len(levels) else levels[:15] + levels[-5:])


# ---- size ----------------------------------------------------------------------------------------


def test_a_million_rows_are_built() -> None:
    n = 1_000_000
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "g": rng.integers(0, 100_000, n),
            "f": pd.Categorical.from_codes(rng.integers(0, 3, n), ["a", "b", "c"]),
        }
    )
    model = build_model("y ~ x * f + (x | g)", data)
    f = data["f"].cat.codes.to_numpy()
    x = data["x"].to_numpy()
    np.testing.assert_array_equal(model.X[:, 1], x)
    np.testing.assert_array_equal(model.X[:, 4], x * (f == 1))
    levels = np.array(model.factors["g"].levels, dtype=int)
    np.testing.assert_array_equal(levels[model.factors["g"].codes], data["g"])
