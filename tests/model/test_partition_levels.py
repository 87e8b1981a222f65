"""Levels of factors that are made in the formula, where the rows come in partitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import build_model
from pymackay.model.stream.sources import sum_source


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    n = 240
    categories = ["late", "c:d", "a"]
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "number": rng.choice([2, 10, 100], n),
            "digits": rng.choice(["2", "10", "100"], n),
            "text": rng.choice(["p", "q:r", "é"], n),
            "category": pd.Categorical(rng.choice(categories, n), categories=categories),
            "truth": rng.random(n) < 0.5,
        }
    )


def pieces(data: pd.DataFrame) -> list[pd.DataFrame]:
    return [data.iloc[:7], data.iloc[7:100], data.iloc[100:]]


GROUPS = [
    "number:category", "category:number", "number:(digits:category)", "category / number",
    "text:number", "truth:digits", "digits:truth", "category:text",
    "factor(number):category", "factor(number)", "ordered(category)", "digits", "truth", "text",
]  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_levels_of_an_interaction_are_in_the_order_of_the_whole(
    table: pd.DataFrame, group: str
) -> None:
    formula = f"y ~ x + (1 | {group})"
    whole = build_model(formula, table)
    parts = sum_source(formula, pieces(table)).model
    assert {name: f.levels for name, f in parts.factors.items()} == {
        name: f.levels for name, f in whole.factors.items()
    }


def test_a_fit_of_partitions_is_the_same_model_as_that_of_the_rows(table: pd.DataFrame) -> None:
    data = table.assign(y=table["y"] + table["number"].map({2: 0.0, 10: 3.0, 100: -2.0}))
    formula = "y ~ x + (1 | number:category)"
    comparison = pm.compare(pm.lmer(formula, pieces(data)), pm.lmer(formula, data))
    assert comparison.verdict == "same optimum"


def test_digits_that_are_text_are_sorted_as_text(table: pd.DataFrame) -> None:
    """Where each partition has its levels in an order that is right for numbers too."""
    frames = [table[table["digits"].isin(["2", "100"])].replace({"digits": {"100": "3"}})]
    frames.append(table[table["digits"] == "10"])
    formula = "y ~ digits + (1 | truth)"
    whole = build_model(formula, pd.concat(frames))
    assert sum_source(formula, frames).model.fixed == whole.fixed


def test_contrasts_of_a_column_that_the_formula_lacks(table: pd.DataFrame, tmp_path) -> None:
    table.to_parquet(tmp_path / "rows.parquet")
    contrasts = {"category": "contr.sum"}
    whole = build_model("y ~ x + (1 | text)", table, contrasts=contrasts)
    parts = sum_source(
        "y ~ x + (1 | text)", tmp_path / "rows.parquet", Arguments(contrasts=contrasts)
    ).model
    assert parts.messages == whole.messages
    assert "contrasts of 'category' are ignored" in whole.messages[0]


def test_functions_that_ask_too_much_of_one_partition(table: pd.DataFrame) -> None:
    frames = [table.head(1), table.tail(-1)]
    for term in ("bs(x, df = 4)", "ns(x, df = 3)", "poly(x, 2)", "cut(x, 3)"):
        with pytest.raises(pm.DataError, match="needs all rows at once"):
            sum_source(f"y ~ {term} + (1 | text)", frames)
    frames = [table[table["text"] != "p"], table]
    for order in (frames, frames[::-1]):
        with pytest.raises(pm.DataError, match=r"not among the levels(.|\n)*categories in every"):
            sum_source("y ~ relevel(factor(text), ref = 'p') + (1 | number)", order)


@pytest.mark.parametrize("text", ["p", "q:r", "é"])
def test_new_rows_need_not_have_the_reference_level(table: pd.DataFrame, text: str) -> None:
    formula = "y ~ relevel(factor(text), ref = 'q:r') + x + (1 | number)"
    whole = pm.lmer(formula, table)
    parts = pm.lmer(formula, [table.head(100), table.tail(-100)])
    rows = table[table["text"] == text]
    np.testing.assert_allclose(
        parts.predict(rows), whole.predict(rows), atol=tol("partitions") * whole.sigma
    )


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4, 1e8])
@pytest.mark.parametrize("first", [4, 40])
def test_columns_that_depend_on_others_at_any_scale(
    table: pd.DataFrame, scale: float, first: int
) -> None:
    """Cross-products keep half of the digits of a column, and their rounding is not a column."""
    x = scale * (table["x"] + 1.0)
    data = table.assign(x=x, twin=2.0 * x - scale, y=table["y"] + table["x"])
    formula = "y ~ x + twin + category + (1 | number)"
    whole = pm.lmer(formula, data)
    parts = pm.lmer(formula, [data.head(first), data.tail(-first)])
    assert parts.dropped == whole.dropped == ("twin",)
    np.testing.assert_allclose(parts.beta, whole.beta, rtol=tol("partitions"))


@pytest.mark.parametrize("cuts", [[2, 5], [120], [1, 2, 3, 4, 5, 6]])
def test_empty_cells_are_dropped(table: pd.DataFrame, cuts: list[int]) -> None:
    empty = (table["category"] == "a") & (table["text"] == "p")
    empty |= (table["category"] == "late") & (table["text"] == "é")
    data = table[~empty].reset_index(drop=True)
    frames = [data.iloc[i:j] for i, j in pairwise([0, *cuts, len(data)])]
    for formula in ("y ~ text:category + (1 | number)", "y ~ text * category * x + (1 | number)"):
        whole, parts = build_model(formula, data), sum_source(formula, frames).model
        assert parts.dropped == whole.dropped
        assert len(whole.dropped) >= 2
        assert parts.fixed == whole.fixed
