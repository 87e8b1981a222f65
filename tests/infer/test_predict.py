"""`predict`: means, standard errors against first principles, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table, dense_errors
from oracle import random_design
from scipy.stats import norm
from tolerances import tol

import pymackay as pm

FORMULA = "y ~ x + f + (x | g) + (1 | h)"
CASES = [
    pytest.param(FORMULA, {}, id="crossed"),
    pytest.param("y ~ poly(x, 2) + (x || g) + (f | h)", {"weights": "w", "offset": "o"}, id="all"),
    pytest.param("y ~ x + (1 | g:h) + (1 | h)", {"reml": False}, id="nested, ML"),
    pytest.param("y ~ x + (x | g)", {"weights": "w"}, id="one group"),
]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return crossed_table()


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer(FORMULA, data)


@pytest.mark.parametrize(("formula", "given"), CASES)
def test_errors_of_prediction_are_those_of_first_principles(
    data: pd.DataFrame, formula: str, given: dict[str, Any]
) -> None:
    fit = pm.lmer(formula, data, **given)
    model = fit.problem.model
    expected = dense_errors(fit, model.X, random_design(model))
    own = fit.predict(se_fit=True)
    new = fit.predict(data, se_fit=True)
    for table in (own, new):
        np.testing.assert_allclose(table["se"], expected, rtol=tol("oracle"))
        np.testing.assert_allclose(table["fit"], fit.fitted, rtol=tol("oracle"))
        assert table.index.equals(data.index)


def test_subsets_of_effects_leave_the_others_out_of_both(fit: pm.Fit, data: pd.DataFrame) -> None:
    model = fit.problem.model
    Z = random_design(model)
    slopes = np.zeros(Z.shape[1])
    slopes[1:18:2] = 1.0  # nine groups, intercept and slope
    b = np.concatenate([fit.ranef["g"].to_numpy().ravel(), fit.ranef["h"].to_numpy().ravel()])
    nothing = np.zeros(Z.shape[1])
    first = np.concatenate([np.ones(18), np.zeros(5)])
    for form, kept in {
        "~ (0 + x | g)": slopes,
        "~ (1 | g)": first - slopes,
        "~ (x | g)": first,
        "~ (1 | h) + (1 | g)": 1.0 - slopes,
        "~0": nothing,
    }.items():
        result = fit.predict(data, re_form=form, se_fit=True)
        fixed = model.X @ fit.beta.to_numpy()
        np.testing.assert_allclose(result["fit"], fixed + (Z * kept) @ b, rtol=tol("oracle"))
        expected = dense_errors(fit, model.X, Z * kept)
        np.testing.assert_allclose(result["se"], expected, rtol=tol("oracle"), err_msg=form)
        random = fit.predict(data, re_form=form, random_only=True)
        np.testing.assert_allclose(random, (Z * kept) @ b, rtol=tol("oracle"), atol=1e-12)


def test_no_random_effects_has_several_names(fit: pm.Fit) -> None:
    expected = fit.predict(re_form="~0")
    for none in (False, float("nan"), pd.NA, "NA", "~ 0"):
        pd.testing.assert_series_equal(fit.predict(re_form=none), expected)


def test_effects_of_factors_are_chosen_by_term(data: pd.DataFrame) -> None:
    fit = pm.lmer("y ~ x + (f | g)", data)
    every = fit.predict(data, re_form="~ (f | g)")
    pd.testing.assert_series_equal(every, fit.predict(data))
    intercept = fit.predict(data, re_form="~ (1 | g)", random_only=True)
    b = fit.ranef["g"]["(Intercept)"].loc[data["g"]]
    np.testing.assert_allclose(intercept, b, rtol=tol("design"))
    with pytest.raises(pm.ArgumentError, match="codes the factor in 'f' otherwise"):
        fit.predict(data, re_form="~ (0 + f | g)")


def test_new_levels_are_named_or_at_the_mean_with_their_variance(
    fit: pm.Fit, data: pd.DataFrame
) -> None:
    new = data.iloc[:3].assign(g=["nobody", "g1", None])
    with pytest.raises(pm.DataError, match=r"levels of 'g' .* not fitted to: nobody; it knows g0"):
        fit.predict(new)
    with pytest.raises(pm.DataError, match=r"'g' is missing in 1 rows of newdata"):
        fit.predict(new.iloc[1:])
    result = fit.predict(new, allow_new_levels=True, se_fit=True)
    elsewhere = fit.predict(new, re_form="~ (1 | h)", se_fit=True)
    for row in (0, 2):
        assert result["fit"].iloc[row] == pytest.approx(elsewhere["fit"].iloc[row], rel=1e-12)
        column = np.array([1.0, new["x"].iloc[row]])
        added = column @ fit.varcorr["g"].to_numpy() @ column
        expected = elsewhere["se"].iloc[row] ** 2 + added
        assert result["se"].iloc[row] ** 2 == pytest.approx(expected, rel=tol("oracle"))
    assert fit.predict(new.drop(columns="g"), re_form="~ (1 | h)").equals(elsewhere["fit"])


def test_missing_values_stay_at_their_place(fit: pm.Fit, data: pd.DataFrame) -> None:
    new = data.iloc[[3, 1, 0, 2]].copy()
    new.iloc[1, new.columns.get_loc("x")] = np.nan
    new.iloc[3, new.columns.get_loc("f")] = None
    result = fit.predict(new, se_fit=True, interval="confidence")
    assert result.index.equals(new.index)
    assert result.isna().all(axis=1).tolist() == [False, True, False, True]
    whole = fit.predict(data, se_fit=True, interval="confidence")
    pd.testing.assert_frame_equal(result.iloc[[0, 2]], whole.loc[result.index[[0, 2]]])


def test_bases_are_those_of_the_model_s_data(data: pd.DataFrame) -> None:
    fixed = "poly(x, 2) + scale(z) + ns(z, df = 3) + bs(x, df = 4) + log(z)"
    fit = pm.lmer(f"y ~ {fixed} + (scale(x) | g)", data)
    one_by_one = [fit.predict(data.iloc[[i]]).iloc[0] for i in range(0, len(data), 17)]
    np.testing.assert_allclose(one_by_one, fit.fitted.iloc[::17], rtol=tol("oracle"))


def test_intervals(fit: pm.Fit, data: pd.DataFrame) -> None:
    result = fit.predict(data, se_fit=True, interval="confidence", level=0.9)
    reach = norm.ppf(0.95) * result["se"]
    np.testing.assert_allclose(result["upper"], result["fit"] + reach, rtol=tol("design"))
    np.testing.assert_allclose(result["lower"], result["fit"] - reach, rtol=tol("design"))
    wide = fit.predict(data, interval="prediction", level=0.9)
    assert list(wide) == ["fit", "lower", "upper"]
    reach = norm.ppf(0.95) * np.sqrt(result["se"] ** 2 + fit.sigma**2)
    np.testing.assert_allclose(wide["upper"] - wide["fit"], reach, rtol=tol("design"))


@pytest.mark.parametrize("form", ["~0", "~ (1 | h)", "~ (x | g)", "~ (1 | g) + (1 | h)"])
def test_a_new_observation_has_the_variance_of_effects_left_out(
    fit: pm.Fit, data: pd.DataFrame, form: str
) -> None:
    mean = fit.predict(data, re_form=form, se_fit=True, interval="confidence")
    wide = fit.predict(data, re_form=form, interval="prediction")
    pd.testing.assert_frame_equal(wide, fit.predict(re_form=form, interval="prediction"))
    z = np.column_stack([np.ones(len(data)), data["x"]])
    left_out = z * ["(1 | g)" not in form and "(x | g)" not in form, "(x | g)" not in form]
    variance = np.einsum("na,ab,nb->n", left_out, fit.varcorr["g"].to_numpy(), left_out)
    variance += 0.0 if "h" in form else fit.varcorr["h"].to_numpy()[0, 0]
    reach = norm.ppf(0.975) * np.sqrt(mean["se"] ** 2 + variance + fit.sigma**2)
    np.testing.assert_allclose(wide["upper"] - wide["fit"], reach, rtol=tol("design"))
    narrow = norm.ppf(0.975) * mean["se"]
    np.testing.assert_allclose(mean["upper"] - mean["fit"], narrow, rtol=tol("design"))


@pytest.mark.parametrize("form", ["~0", "~ (1 | g)", "~ (1 | h)", None])
def test_a_new_level_has_the_limits_of_the_population(
    fit: pm.Fit, data: pd.DataFrame, form: str | None
) -> None:
    new = data.iloc[:9].assign(g="nobody", h="nowhere")
    result = fit.predict(new, re_form=form, allow_new_levels=True, interval="prediction")
    expected = fit.predict(new.drop(columns=["g", "h"]), re_form="~0", interval="prediction")
    np.testing.assert_allclose(result, expected, rtol=tol("oracle"))


def test_prediction_intervals_know_the_weights(data: pd.DataFrame) -> None:
    fit = pm.lmer("y ~ x + (1 | g)", data, weights="w")
    own = fit.predict(interval="prediction")
    pd.testing.assert_frame_equal(own, fit.predict(data, interval="prediction", weights="w"))
    given = fit.predict(data, interval="prediction", weights=data["w"].to_numpy())
    pd.testing.assert_frame_equal(own, given)
    with pytest.raises(pm.ArgumentError, match="pass weights, a column of newdata"):
        fit.predict(data, interval="prediction")
    with pytest.raises(pm.DataError, match="weights of new rows must be positive"):
        fit.predict(data, interval="prediction", weights=-data["w"].to_numpy())


def test_offsets_follow_new_rows(data: pd.DataFrame) -> None:
    by_name = pm.lmer("y ~ x + offset(z) + (1 | g)", data, offset="o")
    np.testing.assert_allclose(by_name.predict(data), by_name.fitted, rtol=tol("oracle"))
    by_array = pm.lmer("y ~ x + (1 | g)", data, offset=data["o"].to_numpy())
    with pytest.raises(pm.ArgumentError, match="pass offset"):
        by_array.predict(data)
    result = by_array.predict(data, offset="o")
    np.testing.assert_allclose(result, by_array.fitted, rtol=tol("oracle"))


@pytest.mark.parametrize(
    ("changes", "arguments", "error", "message"),
    [
        ({"x": None}, {}, pm.DataError, "no column 'x'"),
        ({"g": None}, {}, pm.DataError, "no column 'g'"),
        ({"x": "text"}, {}, pm.DataError, "'x' holds numbers in the model, but categories"),
        ({"f": "z"}, {}, pm.DataError, r"'f' has levels .* does not know: z; it knows a, b, c"),
        ({}, {"re_form": "~ (1 | f)"}, pm.ArgumentError, "grouping factors are 'g', 'h'"),
        ({}, {"re_form": "~ (z | g)"}, pm.ArgumentError, r"asks for 'z' .* only \(Intercept\), x"),
        ({}, {"re_form": "(1 | g)"}, pm.ArgumentError, "no one-sided formula"),
        ({}, {"re_form": "~ (1 | g"}, pm.ArgumentError, "cannot be read"),
        ({}, {"re_form": "~ x + (1 | g)"}, pm.ArgumentError, "has fixed terms"),
        ({}, {"re_form": 3}, pm.ArgumentError, "re_form is 3"),
        ({}, {"re_form": True}, pm.ArgumentError, "re_form is True"),
        (
            {},
            {"interval": "both"},
            pm.ArgumentError,
            "interval must be one of 'confidence', 'prediction'",
        ),
        ({}, {"level": 95}, pm.ArgumentError, "level must be a number between 0 and 1"),
        (
            {},
            {"interval": "prediction", "random_only": True},
            pm.ArgumentError,
            "a prediction interval is for a new observation",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    fit: pm.Fit,
    data: pd.DataFrame,
    changes: dict[str, Any],
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    dropped = [name for name, value in changes.items() if value is None]
    given = {name: value for name, value in changes.items() if value is not None}
    with pytest.raises(error, match=message):
        fit.predict(data.iloc[:4].drop(columns=dropped).assign(**given), **arguments)


def test_newdata_must_be_a_table(fit: pm.Fit) -> None:
    with pytest.raises(pm.ArgumentError, match="must be a pandas DataFrame"):
        fit.predict([1, 2, 3])
    for name in ("offset", "weights"):
        with pytest.raises(pm.ArgumentError, match=f"{name} go(es)? with newdata"):
            fit.predict(interval="prediction", **{name: [1.0]})


def test_a_fit_without_its_problem_gives_what_it_has(fit: pm.Fit, data: pd.DataFrame) -> None:
    bare = fit.replace(problem=None)
    pd.testing.assert_series_equal(bare.predict(), fit.predict())
    with pytest.raises(pm.PymackayError, match=r"predict needs .* Fit the same formula"):
        bare.predict(data)
    with pytest.raises(pm.ArgumentError, match="needs a Fit"):
        pm.predict("a fit", data)  # type: ignore[arg-type]


def test_singular_effects_have_no_error(data: pd.DataFrame) -> None:
    fit = pm.evaluate("y ~ x + (x | g)", data, [1.0, 0.0, 0.0])
    slopes = fit.predict(data, re_form="~ (0 + x | g)", random_only=True, se_fit=True)
    assert (slopes == 0.0).all().all()


def test_fits_by_the_iterative_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    formula, data = "diameter ~ 1 + (1 | plate) + (1 | sample)", pm.load_data("Penicillin")
    result = pm.lmer(formula, data, solver="iterative")
    exact = pm.evaluate(formula, data, result.theta)
    expected = exact.predict(se_fit=True)["se"] * result.sigma / exact.sigma
    np.testing.assert_allclose(result.predict(se_fit=True)["se"], expected, rtol=tol("oracle"))
    monkeypatch.setattr("pymackay.infer.problem._DENSE", 3)
    with pytest.raises(pm.PymackayError, match=r"dense matrix of 7 rows, .* solver='exact'"):
        result.replace().predict(se_fit=True)
    assert result.predict(re_form="~0", se_fit=True)["se"].iloc[0] == result.std_error.iloc[0]


def test_fits_that_keep_no_rows_say_so(data: pd.DataFrame) -> None:
    parts = [data.iloc[:70], data.iloc[70:]]
    fit = pm.lmer("y ~ x + (1 | g) + (1 | h)", parts)
    for ask in (fit.predict, fit.simulate, fit.augment, lambda: fit.refit(data["y"])):
        with pytest.raises(pm.PymackayError, match=r"needs the rows .* summed up and not kept"):
            ask()
    assert fit.tidy()["estimate"].notna().all()
    assert "Scaled residuals" not in str(fit.summary())
