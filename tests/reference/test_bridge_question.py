"""What is asked of lme4: formulas in a normal form, the columns they use, arguments checked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.formula.normal import normal_formula
from pymackay.reference.question import Question

DATA = pd.DataFrame(
    {
        "y": [1.0, 2.0, 3.0, 4.0],
        "x": [0.5, 1.5, 2.5, 3.0],
        "g": pd.Categorical(["a", "b", "a", "b"]),
        "two words": [1, 2, 3, 4],
        "größe": [1, 2, 3, 4],
        ".w": [1.0, 1.0, 2.0, 2.0],
        "dates": pd.date_range("2000", periods=4),
    }
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("y~x+(1|g)", " y ~  x + ( 1 | g ) "),
        ("y ~ x + (x||g)", "y~x+(x || g)"),
        ("y ~ I(x^2)+(1|g)", "y ~ I( x ^ 2 ) + (1|g)"),
        ("y ~ `x` + (1|g)", "y ~ x + (1|g)"),
        ("y ~ 1.5e-3*x + (1|g)", "y ~ 1.5e-3 * x + (1|g)"),
        ("y ~ x %in% g + (1|g)", "y ~ x%in%g + (1|g)"),
    ],
)
def test_same_formula(a: str, b: str) -> None:
    assert normal_formula(a) == normal_formula(b)
    assert normal_formula(normal_formula(a)) == normal_formula(a)
    assert Question(a, DATA).key == Question(b, DATA).key


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("y ~ x + (x||g)", "y ~ x + (x|g)"),
        ("y ~ `a b` + (1|g)", "y ~ `ab` + (1|g)"),
        ("y ~ f(x, 'a b') + (1|g)", "y ~ f(x, 'ab') + (1|g)"),
        ("y ~ x1 + (1|g)", "y ~ x 1 + (1|g)"),
        ("y ~ x + (1|g)", "Y ~ x + (1|g)"),
    ],
)
def test_other_formula(a: str, b: str) -> None:
    assert normal_formula(a) != normal_formula(b)


@pytest.mark.parametrize(
    ("formula", "columns"),
    [
        ("y ~ x + (1 | g)", {"y", "x", "g"}),
        ("log(y) ~ poly(x, degree = 2) + (1 | g)", {"y", "x", "g"}),
        ("y ~ `two words` + (größe | g)", {"y", "two words", "größe", "g"}),
        ("y ~ splines::ns(x) + (1|g)", {"y", "x", "g"}),
        ("y ~ .w + (1|g)", {"y", ".w", "g"}),
        ("y ~ 1 + (1|g) + unknown", {"y", "g"}),
    ],
)
def test_only_the_columns_that_are_used_cross(formula: str, columns: set[str]) -> None:
    assert {column.name for column in Question(formula, DATA).table.columns} == columns


def test_a_dot_means_all_columns() -> None:
    data = DATA.drop(columns="dates")
    question = Question("y ~ . + (1|g)", data)
    assert [column.name for column in question.table.columns] == list(data.columns)
    assert question.key != Question("y ~ . + (1|g)", data[list(data.columns)[::-1]]).key


def test_arguments_bring_their_columns() -> None:
    question = Question("y ~ 1 + (1|g)", DATA, weights=".w", offset="x", subset="`two words` > 1")
    names = {column.name for column in question.table.columns}
    assert names == {"y", "g", ".w", "x", "two words"}


def test_arguments_make_another_key() -> None:
    arguments = [
        {},
        {"reml": False},
        {"weights": ".w"},
        {"weights": [1, 1, 2, 2]},
        {"weights": [1, 1, 2, 3]},
        {"offset": ".w"},
        {"subset": "x > 1"},
        {"subset": [True, True, False, True]},
        {"contrasts": {"g": "contr.sum"}},
        {"contrasts": {"g": [[1.0], [-1.0]]}},
        {"start": [0.5]},
        {"control": {"optimizer": "bobyqa"}},
        {"control": {"optimizer": "bobyqa", "optCtrl": {"maxfun": 100}}},
    ]
    keys = [Question("y ~ x + (1|g)", DATA, **given).key for given in arguments]
    assert len(set(keys)) == len(keys)


def test_long_weights_differ_in_any_value() -> None:
    data = pd.DataFrame({"y": np.arange(500.0), "g": ["a", "b"] * 250})
    weights = np.ones(500)
    keys = {Question("y ~ 1 + (1|g)", data, weights=weights).key}
    weights[499] = np.nextafter(1.0, 2.0)
    keys.add(Question("y ~ 1 + (1|g)", data, weights=weights).key)
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weights": "w"}, pm.DataError, "no column 'w'.*y, x, g"),
        ({"weights": [1.0, 2.0]}, pm.ArgumentError, r"4 rows is expected, not .*\(2,\)"),
        ({"weights": ["a"] * 4}, pm.ArgumentError, "weights: numbers are expected"),
        ({"offset": [[1.0] * 4]}, pm.ArgumentError, r"offset: .*\(1, 4\)"),
        ({"subset": [1, 0, 1, 1]}, pm.ArgumentError, "subset: True and False"),
        ({"subset": [True]}, pm.ArgumentError, "subset: one value for each of the 4 rows"),
        ({"weights": [True] * 4}, pm.ArgumentError, "weights: numbers are expected"),
        ({"offset": [None, "a", 1, 2]}, pm.DataError, "'offset' holds objects that are mixed"),
        ({"contrasts": {"h": "contr.sum"}}, pm.DataError, "contrasts: the data have no column 'h'"),
        ({"contrasts": "contr.sum"}, pm.ArgumentError, "contrasts: a dict"),
        ({"contrasts": {"g": [1.0, -1.0]}}, pm.ArgumentError, "matrix levels"),
        ({"control": ["bobyqa"]}, pm.ArgumentError, "control: a dict"),
        ({"start": "x"}, pm.ArgumentError, "start: numbers"),
        ({"reml": "yes"}, pm.ArgumentError, "reml must be True or False"),
    ],
)
def test_bad_arguments_say_what_is_wrong(arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Question("y ~ x + (1|g)", DATA, **arguments).arguments  # noqa: B018


@pytest.mark.parametrize("name", ["weights", "offset", "subset"])
def test_a_series_goes_by_its_labels_or_is_refused(name: str) -> None:
    values = DATA["x"] > 1 if name == "subset" else DATA["x"]
    expected = Question("y ~ 1 + (1|g)", DATA, **{name: values.to_numpy()})
    aligned = Question("y ~ 1 + (1|g)", DATA, **{name: values})
    assert aligned.key == expected.key
    for other in (values[::-1], values.rename(lambda label: label + 1)):
        with pytest.raises(pm.ArgumentError, match=f"{name} is a Series with another index"):
            Question("y ~ 1 + (1|g)", DATA, **{name: other}).arguments  # noqa: B018


def test_values_that_are_missing() -> None:
    question = Question(
        "y ~ 1 + (1|g)",
        DATA,
        weights=pd.array([1, None, 2, 3], dtype="Int64"),
        subset=pd.array([True, None, False, True], dtype="boolean"),
    )
    np.testing.assert_array_equal(question.arguments["weights"], [1.0, np.nan, 2.0, 3.0])
    assert question.arguments["subset"].tolist() == [True, False, False, True]


@pytest.mark.parametrize("name", ["weights", "offset", "subset"])
def test_text_is_a_column_before_it_is_an_expression(name: str) -> None:
    def asked(text: str) -> Question:
        return Question("y ~ 1 + (1|g)", DATA, **{name: text})

    column, expression = asked("two words"), asked("1/`two words`")
    assert column.arguments[name] == "`two words`"
    assert expression.arguments[name] == "1/`two words`"
    for question in (column, expression):
        assert "two words" in {c.name for c in question.table.columns}
    assert asked("1 / `two words`").key == expression.key != column.key


def test_bad_formula_and_data() -> None:
    with pytest.raises(pm.ArgumentError, match="formula: a string"):
        Question(3, DATA)
    with pytest.raises(pm.ArgumentError, match=r"must be a pandas DataFrame.*not list"):
        Question("y ~ x + (1|g)", [1])
    columns = {name: DATA[name] for name in ("y", "x", "g")}
    assert Question("y ~ x + (1|g)", columns).table.columns[0].name == "y"
    with pytest.raises(pm.DataError, match="'dates' is of type datetime64"):
        Question("y ~ dates + (1|g)", DATA).table  # noqa: B018
    with pytest.raises(pm.DataError, match="'dates'"):
        Question("y ~ . + (1|g)", DATA).table  # noqa: B018
