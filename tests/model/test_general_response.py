"""Responses of generalised models: R's conventions for binomial ones, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.errors import PymackayWarning
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import build_model
from pymackay.model.design.general import build_general

_TABLE = pd.DataFrame(
    {
        "s": [2, 0, 5, 1],
        "f": [1, 4, 0, 0],
        "m": [3, 4, 5, 1],
        "w": [1.0, 2.0, 0.0, 1.0],
        "x": [0.0, 1.0, 2.0, 3.0],
        "g": ["a", "a", "b", "b"],
        "hit": [True, False, True, False],
        "answer": pd.Categorical(["no", "yes", "maybe", "no"], ["no", "maybe", "yes"]),
        "text": ["n", "y", "y", "n"],
    }
)


def read(formula: str, support: str = "binomial", weights: object = None, data: object = _TABLE):
    return build_general(formula, Table(data), Arguments(weights=weights), support).response


def test_cbind_is_a_proportion_weighted_by_its_totals():
    for formula in ("cbind(s, f) ~ x + (1 | g)", "cbind(s, m - s) ~ x + (1 | g)"):
        response = read(formula)
        np.testing.assert_array_equal(response.y, [2 / 3, 0.0, 1.0, 1.0])
        np.testing.assert_array_equal(response.weights, [3.0, 4.0, 5.0, 1.0])
        np.testing.assert_array_equal(response.totals, [3.0, 4.0, 5.0, 1.0])
        assert response.given == "cbind"


def test_weights_multiply_the_totals_of_cbind():
    response = read("cbind(s, f) ~ x + (1 | g)", weights="w")
    np.testing.assert_array_equal(response.weights, [3.0, 8.0, 0.0, 1.0])
    np.testing.assert_array_equal(response.totals, [3.0, 4.0, 5.0, 1.0])


def test_rows_without_trials_stay_with_weight_zero():
    data = _TABLE.assign(s=[2, 0, 5, 0], f=[1, 4, 0, 0])
    response = read("cbind(s, f) ~ x + (1 | g)", data=data)
    np.testing.assert_array_equal(response.y, [2 / 3, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(response.weights, [3.0, 4.0, 5.0, 0.0])


def test_totals_are_the_weights_where_no_row_has_two_trials():
    data = _TABLE.assign(s=[1, 0, 1, 1], f=[0, 1, 0, 0])
    response = read("cbind(s, f) ~ x + (1 | g)", weights=[2.0, 1.0, 3.0, 1.0], data=data)
    np.testing.assert_array_equal(response.totals, [2.0, 1.0, 3.0, 1.0])


def test_a_proportion_with_totals_as_weights_is_cbind():
    proportion = read("I(s / m) ~ x + (1 | g)", weights="m")
    pair = read("cbind(s, f) ~ x + (1 | g)")
    np.testing.assert_allclose(proportion.y, pair.y, rtol=1e-15)
    np.testing.assert_array_equal(proportion.weights, pair.weights)
    np.testing.assert_array_equal(proportion.totals, pair.totals)
    assert proportion.given == "proportion"


@pytest.mark.parametrize(
    ("left", "y", "given", "success"),
    [
        ("hit", [1, 0, 1, 0], "logical", ""),
        ("answer", [0, 1, 1, 0], "factor", "maybe or yes"),
        ("text", [0, 1, 1, 0], "factor", "y"),
        ("as.numeric(hit)", [1, 0, 1, 0], "zero-one", ""),
        ("x > 0.5", [0, 1, 1, 1], "logical", ""),
    ],
)
def test_two_outcomes(left: str, y: list[int], given: str, success: str):
    response = read(f"{left} ~ x + (1 | g)")
    np.testing.assert_array_equal(response.y, y)
    np.testing.assert_array_equal(response.weights, np.ones(4))
    assert (response.given, response.success) == (given, success)


def test_a_row_of_weight_zero_has_proportion_zero():
    response = read("hit ~ x + (1 | g)", weights="w")
    np.testing.assert_array_equal(response.y, [1.0, 0.0, 0.0, 0.0])


def test_counts_and_numbers_stay_what_they_are():
    for support in ("count", "real"):
        response = read("s ~ x + (1 | g)", support)
        np.testing.assert_array_equal(response.y, [2.0, 0.0, 5.0, 1.0])
        assert response.totals is None
    np.testing.assert_array_equal(read("m ~ 1 + (1 | g)", "positive").y, [3.0, 4.0, 5.0, 1.0])


@pytest.mark.parametrize(
    ("formula", "support", "message"),
    [
        ("I(s + 0.5) ~ x + (1 | g)", "count", "non-integer counts in the response .* 4 of 4 rows"),
        ("cbind(s + 0.5, f) ~ x + (1 | g)", "binomial", "non-integer counts in the response"),
        ("I(x / 3) ~ 1 + (1 | g)", "binomial", "non-integer numbers of successes .* 2 of 4 rows"),
    ],
)
def test_numbers_that_should_be_whole_are_told(formula: str, support: str, message: str):
    with pytest.warns(PymackayWarning, match=message):
        general = build_general(formula, Table(_TABLE), Arguments(), support)
    assert any("non-integer" in note for note in general.model.messages)


@pytest.mark.parametrize(
    ("formula", "support", "weights", "message"),
    [
        ("cbind(s, f - 2) ~ x + (1 | g)", "binomial", None, "negative counts in 3 of 4 rows"),
        ("cbind(s, f, m) ~ x + (1 | g)", "binomial", None, "has 3 columns, but a binomial"),
        ("cbind(s - s, f - f) ~ x + (1 | g)", "binomial", None, "no trial in any row"),
        ("s ~ x + (1 | g)", "binomial", None, "outside 0 to 1 in 2 of 4 rows .*from 0 to 5"),
        ("hit ~ x + (1 | g)", "binomial", [1.0, -1.0, 1.0, 1.0], "1 of 4 are; correct them"),
        ("hit ~ x + (1 | g)", "binomial", [0.0, 0.0, 0.0, 0.0], "weights are all zero"),
        ("I(s - 1) ~ x + (1 | g)", "count", None, "is negative in 1 of 4 rows"),
        ("s ~ x + (1 | g)", "positive", None, "is zero or negative in 1 of 4 rows"),
        ("answer ~ x + (1 | g)", "count", None, "holds categories"),
        ("cbind(s, f) ~ x + (1 | g)", "count", None, "belongs to family 'binomial'"),
        ("s ~ offset(log(s)) + (1 | g)", "count", None, "infinite in 1 rows"),
        ("s ~ x + (x | m) + (1 | g)", "count", None, "8 random effects .* as many as rows at most"),
    ],
)
def test_what_a_family_cannot_have_is_refused(formula, support, weights, message):
    with pytest.raises(pm.PymackayError, match=message):
        read(formula, support, weights)


def test_a_response_of_one_level_is_refused():
    with pytest.raises(pm.PymackayError, match="only the level 'n' in the rows that are used"):
        read("text ~ 1 + (1 | g)", data=_TABLE.assign(text="n"))


def test_as_many_levels_as_rows_are_legal():
    general = build_general("s ~ x + (1 | m)", Table(_TABLE), Arguments(), "count")
    assert len(general.model.factors["m"].levels) == 4
    with pytest.raises(pm.PymackayError, match="fewer levels than rows"):
        build_model("s ~ x + (1 | m)", _TABLE)


def test_rows_with_a_missing_count_are_dropped():
    data = _TABLE.assign(f=[1.0, np.nan, 0.0, 0.0])
    general = build_general("cbind(s, f) ~ 1 + (1 | g)", Table(data), Arguments(), "binomial")
    np.testing.assert_array_equal(general.response.totals, [3.0, 5.0, 1.0])
    assert list(general.model.rows) == [0, 2, 3]
    np.testing.assert_array_equal(general.model.weights, general.response.weights)


def test_a_linear_model_refuses_two_columns_and_names_glmer():
    with pytest.raises(pm.PymackayError, match="for successes and failures use glmer"):
        build_model("cbind(s, f) ~ 1 + (1 | g)", _TABLE)


def test_us_is_a_plain_term():
    assert read("cbind(s, f) ~ x + us(1 | g)").given == "cbind"
