"""`tidy`, `glance`, `augment`, `icc`, `r2`: R's numbers and names (broom.mixed, performance)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table, dense_hat
from oracle import random_design
from tolerances import tol

import pymackay as pm

# R 4.2.2, lme4 1.1-31, broom.mixed 0.2.9.4, performance 0.10.2; all at the theta where lme4's
# default optimiser stops.
SLEEP_THETA = [0.966741773967412343, 0.015169058896036137, 0.230909953207794533]
PASTES_THETA = [3.5269017877317386, 1.5634614020968556]
WEIGHTED_THETA = [1.1352460910812134]

TIDY = [
    ("fixed", np.nan, "(Intercept)", 251.4051048484850, 6.82459669495, 36.8380896463),
    ("fixed", np.nan, "Days", 10.4672859595960, 1.54578964391, 6.7714814890),
    ("ran_pars", "Subject", "sd__(Intercept)", 24.7406579949841, np.nan, np.nan),
    ("ran_pars", "Subject", "cor__(Intercept).Days", 0.0655512382381, np.nan, np.nan),
    ("ran_pars", "Subject", "sd__Days", 5.9221376588981, np.nan, np.nan),
    ("ran_pars", "Residual", "sd__Observation", 25.5917957216753, np.nan, np.nan),
]
LIMITS = [[238.02914111736, 264.7810685796], [7.43759392987, 13.4969779893]]
GLANCE = {
    "nobs": 180,
    "sigma": 25.5917957217,
    "logLik": -871.81413598,
    "AIC": 1755.62827196,
    "BIC": 1774.78601307,
    "REMLcrit": 1743.62827196,
    "df.residual": 174,
}
AUGMENT = {
    0: [253.663655798, -4.10365579839, 0.229304037740, 0.00496313251482, 251.405104848],
    60: [268.245613463, 15.59678653702, 0.229304037740, 0.07169424155292, 251.405104848],
    179: [369.481469281, -5.35786928135, 0.293177188099, 0.01286061600290, 345.610678485],
}
AUGMENT_WEIGHTED = [
    [282.208650328, -32.6486503279, 0.0925451217524, 0.0591508960409, -32.6486503279],
    [292.506543159, -33.8018431591, 0.1762584203779, 0.2930934198973, -47.8030250288],
    [302.804435990, -52.0038359903, 0.0424351437749, 0.0308999271816, -36.7722650764],
]


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


@pytest.fixture(scope="module")
def fit(sleep: pd.DataFrame) -> pm.Fit:
    return pm.evaluate("Reaction ~ Days + (Days | Subject)", sleep, SLEEP_THETA)


def test_tidy_is_broom_s(fit: pm.Fit) -> None:
    columns = ["effect", "group", "term", "estimate", "std.error", "statistic"]
    expected = pd.DataFrame(TIDY, columns=columns)
    pd.testing.assert_frame_equal(
        fit.tidy(), expected, check_dtype=False, rtol=tol("printed digits"), atol=0.0
    )
    pd.testing.assert_frame_equal(fit.tidy(["fixed", "ran_pars"]), fit.tidy())


def test_limits_are_wald_s_and_random_parameters_have_none(fit: pm.Fit) -> None:
    result = fit.tidy(conf_int=True)
    assert list(result.columns[-2:]) == ["conf.low", "conf.high"]
    limits = result[["conf.low", "conf.high"]].to_numpy()
    np.testing.assert_allclose(limits[:2], LIMITS, rtol=tol("printed digits"))
    assert np.isnan(limits[2:]).all()


def test_degrees_of_freedom_come_on_demand(fit: pm.Fit) -> None:
    result = fit.tidy("fixed", ddf="Satterthwaite", conf_int=True)
    expected = pm.coefficients(fit, ddf="Satterthwaite")
    np.testing.assert_array_equal(result["df"], expected["df"])
    np.testing.assert_array_equal(result["p.value"], expected["Pr(>|t|)"])
    normal = fit.tidy("fixed", conf_int=True)
    assert (result["conf.low"] < normal["conf.low"]).all()


def test_variances_in_place_of_sds(fit: pm.Fit) -> None:
    result = fit.tidy("ran_pars", scales="vcov")
    assert result["term"].tolist() == [
        "var__(Intercept)",
        "cov__(Intercept).Days",
        "var__Days",
        "var__Observation",
    ]
    expected = [612.10015802477, 9.60440895116, 35.07171445094, 654.94000825996]
    np.testing.assert_allclose(result["estimate"], expected, rtol=tol("printed digits"))


def test_random_effects_and_coefficients_of_groups(fit: pm.Fit) -> None:
    values = fit.tidy("ran_vals", conf_int=True)
    assert list(values) == [
        "effect",
        "group",
        "level",
        "term",
        "estimate",
        "std.error",
        "conf.low",
        "conf.high",
    ]
    rows = values.iloc[[0, 1, 18, 35]]
    assert rows["level"].tolist() == ["308", "309", "308", "372"]
    assert rows["term"].tolist() == ["(Intercept)", "(Intercept)", "Days", "Days"]
    expected = [2.25855094990, -40.39873807881, 9.19897576557, 1.28402207653]
    np.testing.assert_allclose(rows["estimate"], expected, rtol=tol("printed digits"))
    assert rows["std.error"].iloc[2] == pytest.approx(2.3048390209, rel=tol("printed digits"))
    assert rows["conf.low"].iloc[3] == pytest.approx(-3.23337939459, rel=tol("printed digits"))
    coefs = fit.tidy("ran_coefs").iloc[[0, 1, 18, 35]]
    expected = [253.6636557984, 211.0063667697, 19.6662617252, 11.7513080361]
    np.testing.assert_allclose(coefs["estimate"], expected, rtol=tol("printed digits"))


def test_coefficients_of_effects_without_a_fixed_one() -> None:
    fit = pm.lmer("y ~ z + (x | g) + (0 + z | g) + (1 | h)", crossed_table())
    result = fit.tidy("ran_coefs").set_index(["group", "level", "term"])["estimate"]
    assert result["g", "g0", "x"] == fit.ranef["g"]["x"].iloc[0]
    assert result["g", "g0", "z"] == fit.beta["z"] + fit.ranef["g"]["z"].iloc[0]
    assert result["h", "h1", "z"] == fit.beta["z"]


def test_glance_is_broom_s(fit: pm.Fit, sleep: pd.DataFrame) -> None:
    result = fit.glance()
    assert list(result) == list(GLANCE) and len(result) == 1
    np.testing.assert_allclose(result.iloc[0], list(GLANCE.values()), rtol=tol("printed digits"))
    by_ml = pm.evaluate(fit.formula, sleep, SLEEP_THETA, reml=False).glance()
    assert "deviance" in by_ml and "REMLcrit" not in by_ml


def test_augment_is_broom_s(fit: pm.Fit, sleep: pd.DataFrame) -> None:
    result = fit.augment()
    assert list(result) == [
        *("Reaction", "Days", "Subject", ".fitted", ".resid", ".hat", ".cooksd", ".fixed", ".mu"),
        *(".offset", ".sqrtXwt", ".sqrtrwt", ".weights", ".wtres"),
    ]
    for row, expected in AUGMENT.items():
        np.testing.assert_allclose(
            result.iloc[row][[".fitted", ".resid", ".hat", ".cooksd", ".fixed"]].astype(float),
            expected,
            rtol=tol("printed digits"),
        )
    assert result["Subject"].astype(str).tolist() == sleep["Subject"].astype(str).tolist()
    weighted = pm.evaluate(
        "Reaction ~ Days + (1 | Subject)", sleep, WEIGHTED_THETA, weights=[1.0, 2.0, 0.5] * 60
    ).augment()
    assert list(weighted)[3] == "(weights)"
    np.testing.assert_allclose(
        weighted[[".fitted", ".resid", ".hat", ".cooksd", ".wtres"]].iloc[:3],
        AUGMENT_WEIGHTED,
        rtol=tol("printed digits"),
    )


def test_leverage_from_first_principles() -> None:
    data = crossed_table()
    fit = pm.lmer("y ~ poly(x, 2) + (x | g) + (1 | h)", data, weights="w", offset="o")
    model = fit.problem.model
    expected = np.diag(dense_hat(fit, model.X, random_design(model)))
    result = fit.augment(data)
    np.testing.assert_allclose(result[".hat"], expected, rtol=tol("oracle"))
    fixed = fit.predict(re_form="~0")
    np.testing.assert_allclose(result[".fixed"], fixed, rtol=tol("design"))
    assert {"poly(x, 2)1", "poly(x, 2)2", "g", "h"} <= set(fit.augment())


def test_augment_takes_the_data_s_own_columns() -> None:
    data = crossed_table()
    data.loc[data.index[4], "x"] = np.nan
    fit = pm.lmer("log(z) ~ x + (1 | g)", data)
    result = fit.augment(data)
    assert len(result) == len(data) - 1 and {"y", "x", "h", ".fitted"} <= set(result)
    assert result.index.equals(fit.fitted.index)
    pd.testing.assert_frame_equal(result[data.columns.tolist()], data.drop(index=data.index[4]))
    with pytest.raises(pm.ArgumentError, match="does not hold each of the 119 rows of the model"):
        fit.augment(data.reset_index(drop=True))
    with pytest.raises(pm.ArgumentError, match="data must be a DataFrame"):
        fit.augment({"x": [1.0]})
    with pytest.raises(pm.PymackayError, match="augment needs"):
        fit.replace(problem=None).augment()


def test_icc_and_r2_are_performance_s(fit: pm.Fit) -> None:
    expected = {
        "adjusted": 0.721660259589,
        "conditional": 0.520568864621,
        "Subject": 0.721660259589,
    }
    pd.testing.assert_series_equal(
        pm.icc(fit), pd.Series(expected, name="icc"), rtol=tol("printed digits")
    )
    expected = {"marginal": 0.278651058162, "conditional": 0.799219922783}
    pd.testing.assert_series_equal(
        pm.r2(fit), pd.Series(expected, name="r2"), rtol=tol("printed digits")
    )
    pastes = pm.evaluate("strength ~ 1 + (1 | batch/cask)", pm.load_data("Pastes"), PASTES_THETA)
    result = pm.icc(pastes)
    assert result["cask:batch"] == pytest.approx(0.783144591502, rel=tol("printed digits"))
    assert result["batch"] == pytest.approx(0.153896785528, rel=tol("printed digits"))
    assert pm.r2(pastes)["marginal"] == pytest.approx(0.0, abs=tol("dense algebra"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"effects": "random"}, "effects is 'random', but must be some of fixed, ran_pars"),
        ({"effects": ()}, "effects is"),
        ({"scales": "sd"}, "scales must be one of 'sdcor', 'vcov'"),
        ({"conf_int": True, "conf_level": 95}, "conf_level must be a number between 0 and 1"),
    ],
)
def test_what_tidy_refuses(fit: pm.Fit, arguments: dict, message: str) -> None:
    with pytest.raises(pm.ArgumentError, match=message):
        fit.tidy(**arguments)


def test_other_engines_fits_have_tables(fit: pm.Fit) -> None:
    bare = fit.replace(problem=None)
    pd.testing.assert_frame_equal(bare.tidy(), fit.tidy())
    pd.testing.assert_frame_equal(bare.glance(), fit.glance())
