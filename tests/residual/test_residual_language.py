"""What the argument `residual` may be, and what is refused with the cure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    teeth = pm.load_data("Orthodont")
    visit = ((teeth["age"] - 6) / 2).astype(int)
    half = teeth["age"] / 3.0
    return teeth.assign(visit=visit, half=half, name=[f"v{k}" for k in visit], one="a")


REFUSED = [
    (3, pm.ArgumentError, "must be a structure"),
    ("", pm.FormulaError, "is empty"),
    ("ar1(visit)", pm.FormulaError, "must be a structure"),
    ("visit | Subject", pm.FormulaError, "must be a structure"),
    ("ar1(visit || Subject)", pm.FormulaError, "double bar"),
    ("ar1(visit | Subject, het = TRUE)", pm.FormulaError, "hom"),
    ("ar1(1 | Subject)", pm.FormulaError, r"ar1\(visit \| group\)"),
    ("cs(1 | Subject)", pm.FormulaError, r"cs\(visit \| group\)"),
    ("ar1(visit | Subject) + cs(1 | Subject, hom = TRUE)", pm.FormulaError, "one structure"),
    ("varident(Sex) + us(visit | Subject)", pm.FormulaError, "both varident"),
    ("varident(Sex) + varident(Sex)", pm.FormulaError, "once"),
    ("propto(0 + Subject | visit)", pm.FormulaError, "the structures are us"),
    ("rr(visit | Subject)", pm.FormulaError, "the structures are us"),
    ("varident(1 | Sex)", pm.FormulaError, "no bar"),
    ("ar1(visit | 3)", pm.FormulaError, "no variable"),
    ("varident(one)", pm.DataError, "two strata"),
    ("ar1(half | Subject)", pm.DataError, r"write ou\(half \| Subject\)"),
    ("ou(name | Subject)", pm.DataError, "a column of numbers"),
    ("us(visit | Sex)", pm.DataError, "needs one row"),
    ("ar1(visit | nobody)", pm.DataError, "nobody"),
]


@pytest.mark.parametrize(("residual", "error", "match"), REFUSED)
def test_what_cannot_be_is_refused(residual, error, match, data):
    with pytest.raises(error, match=match):
        pm.lmer("distance ~ age", data, residual=residual)


def test_other_arguments_are_refused_where_they_mean_nothing(data):
    with pytest.raises(pm.ArgumentError, match="solver"):
        pm.lmer("distance ~ age", data, residual="varident(Sex)", solver="iterative")
    with pytest.raises(pm.ArgumentError, match="no random terms"):
        pm.lmer("distance ~ age", data, residual="varident(Sex)", start=[1.0])
    with pytest.raises(pm.FormulaError, match="no random term"):
        pm.lmer("distance ~ age", data)


def test_a_block_that_does_not_fit_into_memory_is_refused(monkeypatch):
    """One parameter and m rows: 7 matrices of m x m numbers, here of 2.7 GiB for 7,200 rows."""
    monkeypatch.setattr("pymackay.solve.marginal.clusters.free_memory", lambda: 4.0 * 2**30)
    long = pd.DataFrame({"y": np.sin(np.arange(7200.0)), "g": 1, "t": np.arange(7200)})
    with pytest.raises(pm.ArgumentError, match=r"7,200 rows are joined.*2\.7 GiB.*4\.0 GiB"):
        pm.lmer("y ~ 1", long, residual="ar1(t | g)")
    long["g"] = np.arange(7200) // 8  # only the largest block matters
    assert pm.lmer("y ~ 1", long, residual="ar1(t | g)").convergence.converged


def test_every_row_alone_has_no_correlation(data):
    each = data.assign(row=np.arange(len(data)))
    with pytest.raises(pm.DataError, match="each row is its own group"):
        pm.lmer("distance ~ age", each, residual="ar1(visit | row)")


SAME = [
    ("~ ar1(visit | Subject)", "ar1(visit | Subject)"),
    ("ar1(visit | Subject, hom = TRUE)", "ar1(visit | Subject)"),
    ("us(name | Subject)", "us(visit | Subject)"),
    ("diag(visit | Subject)", "varident(visit)"),
    ("ar1(visit | Subject) + varident(Sex)", "varident(Sex) + ar1(visit | Subject)"),
    ("ar1(visit | Subject:Sex)", "ar1(visit | Subject)"),
    ("ar1(name | Subject)", "ar1(visit | Subject)"),
    ("cs(visit | Subject, hom = TRUE)", "cs(1 | Subject, hom = TRUE)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_ways_to_write_one_model(one, other, data):
    fits = [pm.lmer("distance ~ age", data, residual=text) for text in (one, other)]
    np.testing.assert_allclose(fits[0].criterion, fits[1].criterion, rtol=tol("optimum"))
    assert fits[0].df == fits[1].df


def test_rows_with_a_missing_time_are_dropped(data):
    gaps = data.assign(visit=data["visit"].astype(float).where(data.index % 9 != 0))
    fit = pm.lmer("distance ~ age", gaps, residual="ar1(visit | Subject)")
    assert fit.n_obs == len(data) - 12
    assert any("dropped 12 of 108 rows" in message for message in fit.messages)


def test_the_sign_of_a_correlation_at_even_lags_is_positive(data):
    fit = pm.lmer("distance ~ age", data, residual="ar1(age | Subject)")
    neighbours = pm.lmer("distance ~ age", data, residual="ar1(visit | Subject)")
    rho = fit.residual_covariance.par["ar1.rho"]
    np.testing.assert_allclose(rho**2, neighbours.residual_covariance.par["ar1.rho"], rtol=1e-7)
    assert rho > 0.0
