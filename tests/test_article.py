"""Tests of the article's table: every printed digit, and that a wrong one would be seen."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import tol

import pymackay as pm
from pymackay import article
from pymackay.article import ArticleTable, article_table
from pymackay.errors import RUnavailableError
from pymackay.sleepstudy import SleepReg


@pytest.fixture(scope="module")
def table() -> ArticleTable:
    return article_table()


def test_every_printed_digit_comes_out(table: ArticleTable) -> None:
    assert list(table.frame.columns) == ["article", "pymackay", "lme4"]
    assert len(table.frame) == 21
    assert table.ok
    for key, row in table.frame.iterrows():
        decimals = table.decimals[key]
        assert f"{row['pymackay']:.{decimals}f}" == f"{row['article']:.{decimals}f}", key


def test_lme4_agrees_at_the_same_variances(table: ArticleTable) -> None:
    first = table.frame.loc[table.frame.index.get_level_values(0).str.startswith("Listing 1")]
    np.testing.assert_allclose(first["lme4"], first["pymackay"], rtol=0, atol=tol("statistic"))


def test_lme4s_variances_are_larger_than_the_loops(table: ArticleTable) -> None:
    second = table.frame.loc[table.frame.index[-1][0]]
    reml = {
        "variance of (Intercept)": 612.08993866,
        "variance of Days": 35.0716605,
        "residual variance": 654.94102708,
    }
    for name, value in reml.items():
        assert second.loc[name, "lme4"] == pytest.approx(value, rel=tol("lme4 stops"))
    for name in ("beta (Intercept)", "beta Days"):
        assert second.loc[name, "lme4"] == pytest.approx(
            second.loc[name, "pymackay"], abs=tol("printed")
        )


def test_text_has_three_columns_and_the_printed_digits(table: ArticleTable) -> None:
    text = str(table)
    assert text == repr(table)
    assert text.count("article        pymackay            lme4") == 2
    assert "variance of (Intercept)        302.9045408     302.9045408     612." in text
    assert "  b 350 (Intercept)               -13.065620      -13.065620      -13.065620" in text
    assert "Every printed digit comes out." in text
    assert max(map(len, text.splitlines()[:-3])) <= 80


@pytest.mark.parametrize("place", range(21))
def test_a_changed_digit_is_seen(table: ArticleTable, place: int) -> None:
    frame = table.frame.copy()
    last_digit = 10.0 ** -table.decimals.iloc[place]
    frame.iloc[place, frame.columns.get_loc("article")] += last_digit
    changed = ArticleTable(frame, table.decimals, table.notes)
    assert not changed.ok
    assert "DIFFER" in str(changed)


def absent(*_: object, **__: object) -> None:
    raise RUnavailableError("R is not there: install it.")


def test_without_r_the_column_has_what_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pm.lme4, "evaluate", absent)
    table = article.run_listings(SleepReg())
    assert table.ok
    listings = table.frame.index.get_level_values(0)
    assert table.frame["lme4"].isna()[listings.str.startswith("Listing 1")].all()
    assert table.frame["lme4"].notna()[listings.str.startswith("Listing 2")].all()
    assert "lme4, listing 1: no answer. R is not there: install it." in str(table)
    assert "      251.405105               -" in str(table)


def test_without_any_answer_the_column_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pm.lme4, "evaluate", absent)
    monkeypatch.setattr(pm.lme4, "lmer", absent)
    table = article.run_listings(SleepReg())
    assert table.ok
    assert table.frame["lme4"].isna().all()
    assert "lme4, listing 2: no answer. R is not there: install it." in str(table)
