"""What `build_model` refuses: each error names the cure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from design_tables import grouped_table

from pymackay.errors import ArgumentError, DataError, FormulaError, PymackayError
from pymackay.model.design.build import build_model

OTHER_INDEX = pd.Series(np.arange(12.0), index=range(1, 13))
nan, inf = float("nan"), float("inf")
REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], type[PymackayError], str]] = [
    ("y ~ weigth + (1 | g)", {"weight": 1.0}, {}, DataError, "did you mean weight?"),
    ("y ~ zzz + (1 | g)", {}, {}, DataError, "they have y, x, g, f"),
    ("y ~ x + (1 | gg)", {}, {}, DataError, "no column 'gg'"),
    ("f ~ x + (1 | g)", {}, {}, DataError, "response 'f' holds text"),
    ("poly(x, 2) ~ x + (1 | g)", {}, {}, DataError, "several columns"),
    ("y ~ x + (1 | g)", {"x": [inf] + [1.0] * 11}, {}, DataError, "'x' is infinite in 1 rows"),
    ("y ~ log(x) + (1 | g)", {}, {}, DataError, r"'log\(x\)' is infinite"),
    ("y ~ x + (1 | g)", {"x": [nan] * 12}, {}, DataError, "x: 12 of 12"),
    ("y ~ x + (1 | g)", {"g": "a"}, {}, DataError, "only the level 'a'"),
    ("y ~ x + (1 | g)", {"g": list("abcdefghijkl")}, {}, DataError, "12 levels for 12 rows"),
    ("y ~ x + (f + x | g)", {}, {}, DataError, "12 random effects"),
    ("y ~ f2 + (1 | g)", {"f2": list("abcdefghijkl")}, {}, DataError, "12 columns for 12 rows"),
    ("y ~ f2 + (1 | g)", {"f2": "a"}, {}, DataError, "only the level 'a'"),
    ("y ~ d + (1 | g)", {"d": pd.date_range("2020", periods=12)}, {}, DataError, "days since"),
    ("y ~ d + (1 | g)", {"d": pd.timedelta_range("1s", periods=12)}, {}, DataError, "timedelta"),
    ("y ~ d + (1 | g)", {"d": np.arange(12) * 1j}, {}, DataError, "complex"),
    ("y ~ d + (1 | g)", {"d": ["a", 1] * 6}, {}, DataError, "int and str"),
    ("y ~ d + (1 | g)", {"d": [[1]] * 12}, {}, DataError, "type list"),
    ("y ~ f + x^f + (1 | g)", {}, {}, FormulaError, "whole number"),
    ("y ~ log(f) + (1 | g)", {}, {}, FormulaError, "needs numbers, but gets text"),
    ("y ~ log(2) + (1 | g)", {}, {}, FormulaError, "one value for each"),
    ("y ~ scale(z) + (1 | g)", {"z": 1.0}, {}, FormulaError, "constant"),
    ("y ~ poly(x, 12) + (1 | g)", {}, {}, FormulaError, "less than the number"),
    (
        "y ~ poly(z, 2) + (1 | g)",
        {"z": [nan] + [1.0, 2, 3] * 3 + [0.0] * 2},
        {},
        FormulaError,
        "mis",
    ),
    ("y ~ poly(x, degre = 2) + (1 | g)", {}, {}, FormulaError, "no argument 'degre'"),
    ("y ~ relevel(f, 'z') + (1 | g)", {}, {}, FormulaError, "not among the levels p, q, r"),
    ("y ~ ns(x, knots = 40) + (1 | g)", {}, {}, FormulaError, "between the boundary"),
    ("y ~ I(f > 'a' && x) + (1 | g)", {}, {}, FormulaError, "for columns write '&'"),
    ("y ~ I(h < 'b') + (1 | g)", {"h": pd.Categorical(list("ab") * 6)}, {}, FormulaError, "order"),
    ("y ~ x + (1 | a:b)", {"a": ["u:v", "u"] * 6, "b": ["w", "v:w"] * 6}, {}, DataError, "'u:v:w'"),
    ("y ~ x + (1 | g)", {}, {"weights": "w"}, DataError, "no column 'w'"),
    ("y ~ x + (1 | g)", {"w": -1.0}, {"weights": "w"}, DataError, "must be positive"),
    ("y ~ x + (1 | g)", {"w": 0.0}, {"weights": "w"}, DataError, "zero or negative"),
    ("y ~ x + (1 | g)", {"w": inf}, {"weights": "w"}, DataError, r"'\(weights\)' is infinite"),
    ("y ~ x + (1 | g)", {}, {"weights": "f"}, DataError, "holds categories"),
    (
        "y ~ x + (1 | g)",
        {},
        {"weights": [1.0, 2.0]},
        ArgumentError,
        "2 values, but the data have 12",
    ),
    ("y ~ x + (1 | g)", {}, {"weights": 3}, ArgumentError, "one value for each row, not int"),
    ("y ~ x + (1 | g)", {}, {"offset": ["a"] * 12}, ArgumentError, "offset must be"),
    (
        "y ~ x + (1 | g)",
        {},
        {"offset": pd.Series(range(12), index=range(1, 13))},
        ArgumentError,
        "index",
    ),
    ("y ~ x + (1 | g)", {}, {"subset": "x"}, ArgumentError, "true or false"),
    ("y ~ x + (1 | g)", {}, {"subset": "x > 100"}, DataError, "no row"),
    ("y ~ x + (1 | g)", {}, {"subset": "x >"}, FormulaError, "too early"),
    ("y ~ x + (1 | g)", {}, {"subset": [1, 2, 3]}, ArgumentError, "3 values"),
    ("y ~ x + (1 | g)", {}, {"subset": list(range(12))}, ArgumentError, "boolean"),
    ("y ~ f + (1 | g)", {}, {"contrasts": "contr.sum"}, ArgumentError, "dict"),
    ("y ~ f + (1 | g)", {}, {"contrasts": {"f": "contr.some"}}, ArgumentError, "contr.helmert"),
    ("y ~ f + (1 | g)", {}, {"contrasts": {"ff": "contr.sum"}}, ArgumentError, "did you mean f?"),
    ("y ~ x + (1 | g)", {}, {"contrasts": {"x": "contr.sum"}}, ArgumentError, r"factor\(x\)"),
    ("y ~ f + (1 | g)", {}, {"contrasts": {"f": np.ones((2, 1))}}, ArgumentError, "p, q, r"),
    ("y ~ f + (1 | g)", {}, {"contrasts": {"f": [["a"]]}}, ArgumentError, "matrix of numbers"),
    ("y ~ f + (1 | g)", {}, {"contrasts": {"f": np.full((3, 1), nan)}}, ArgumentError, "finite"),
    ("y ~ f + (1 | g)", {}, {"contrasts": {"f": [1.0, 1.0, 1.0]}}, ArgumentError, "differ"),
]


@pytest.mark.parametrize(("formula", "changes", "arguments", "kind", "message"), REFUSED)
def test_refusal_names_the_cure(
    formula: str,
    changes: dict[str, Any],
    arguments: dict[str, Any],
    kind: type[PymackayError],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        build_model(formula, grouped_table(**changes), **arguments)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (None, ArgumentError, "a mapping of column names to arrays, not NoneType"),
        ([1, 2], ArgumentError, "not list"),
        (grouped_table().iloc[:0], DataError, "no rows"),
        ({}, DataError, "no columns"),
        ({"y": [1.0, 2.0], "g": [1]}, DataError, "y: 2, g: 1"),
        ({"y": 1.0, "g": [1]}, DataError, "'y' of data must be an array"),
        ({"y": np.ones((2, 2)), "g": [1, 2]}, DataError, "2 dimensions"),
        (
            pd.concat([grouped_table(), grouped_table()[["x"]]], axis=1),
            DataError,
            "more than one column called 'x'",
        ),
        (pd.concat({"a": grouped_table()}, axis=1), DataError, "several levels"),
    ],
)
def test_data_that_are_none(data: Any, kind: type[PymackayError], message: str) -> None:
    with pytest.raises(kind, match=message):
        build_model("y ~ 1 + (1 | g)", data)


def test_contrasts_by_rows_out_of_order() -> None:
    rows = pd.DataFrame({".a": [1.0, 2.0, 3.0]}, index=["r", "p", "q"])
    model = build_model("y ~ f + (1 | g)", grouped_table(), contrasts={"f": rows})
    assert model.fixed == ("(Intercept)", "f.a")
    assert model.X[:3, 1].tolist() == [2.0, 3.0, 1.0]
