"""anova: terms against lmerTest, models against lme4; variances on the boundary."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from inference_references import DATA, cases, fit_at_theirs, load, read_table
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.infer.significance.hypotheses import hypotheses

SLEEP = "Reaction ~ Days + (Days | Subject)"
LADDERS = [data for data in DATA if load(data)["ladder"]]


def by_term(recorded: dict, index: pd.Index) -> pd.DataFrame:
    """Read R's table in our order of terms; no term is missing on either side."""
    theirs = read_table(recorded)
    assert sorted(theirs.index) == sorted(index)
    return theirs.loc[list(index)]


@pytest.mark.parametrize("kind", ["I", "II", "III"])
@pytest.mark.parametrize(("data", "name", "criterion"), cases())
def test_terms_are_tested_as_lmerTest_tests_them(
    data: str, name: str, criterion: str, kind: str
) -> None:
    fit = fit_at_theirs(data, name, criterion)
    for method, answer in load(data)["tests"][name][criterion]["tests"].items():
        result = pm.anova(fit, type=kind, ddf=method)
        if not len(result):
            assert not len(answer["anova"][kind]["rows"])
            continue
        theirs = by_term(answer["anova"][kind], result.index)
        assert list(result.columns) == list(theirs.columns)
        rtol = tol("numerical derivatives" if method == "Satterthwaite" else "lmerTest rounds")
        for column in result.columns:
            exact = column not in ("DenDF", "Pr(>F)")
            np.testing.assert_allclose(
                result[column].to_numpy(float),
                theirs[column],
                rtol=tol("lmerTest rounds") if exact else rtol,
                atol=rtol if column.startswith("Pr(") else 0.0,
                err_msg=f"{method} {column}",
            )


def test_types_by_any_name() -> None:
    fit = fit_at_theirs("cake", "numeric", "reml")
    for number, roman in ((1, "I"), (2, "II"), (3, "III")):
        expected = pm.anova(fit, type=roman)
        for given in (number, str(number), roman.lower()):
            pd.testing.assert_frame_equal(pm.anova(fit, type=given), expected)
        assert expected.heading.startswith(f"Type {roman} analysis of variance with Satterthwaite")
    with pytest.raises(pm.ArgumentError, match="type must be 1, 2, 3"):
        pm.anova(fit, type=4)
    bare = pm.anova(fit, ddf="none")
    assert list(bare.columns) == ["Sum Sq", "Mean Sq", "NumDF", "F value"]


def test_type_three_does_not_depend_on_the_contrasts() -> None:
    cake = pm.load_data("cake").query("angle < 45")
    formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"
    expected = pm.anova(pm.lmer(formula, cake), ddf="Kenward-Roger")
    for contrasts in ({"recipe": "contr.sum"}, {"temperature": "contr.treatment"}):
        other = pm.anova(pm.lmer(formula, cake, contrasts=contrasts), ddf="Kenward-Roger")
        np.testing.assert_allclose(other, expected, rtol=1e-6, atol=1e-9)


def test_type_three_weighs_cells_equally() -> None:
    # with sum-to-zero contrasts in every factor, type III tests the coefficients themselves
    cake = pm.load_data("cake").query("angle < 45")
    contrasts = {"recipe": "contr.sum", "temperature": "contr.sum"}
    fit = pm.lmer("angle ~ recipe * temperature + (1 | replicate)", cake, contrasts=contrasts)
    result, model = pm.anova(fit, ddf="Kenward-Roger"), fit.problem.model
    for k, label in enumerate(result.index):
        L = np.eye(len(fit.beta))[model.blueprint.assign == k + 1]
        by_hand = pm.contrast(fit, L, ddf="Kenward-Roger")
        np.testing.assert_allclose(result.loc[label], by_hand.iloc[0], rtol=1e-7, atol=1e-12)


def test_sequential_hypotheses_are_the_columns_in_turn() -> None:
    model = fit_at_theirs("sleepstudy", "unbalanced", "reml").problem.model
    result = hypotheses(model, 1)
    upper = np.linalg.cholesky(model.X.T @ model.X).T
    expected = upper / np.diag(upper)[:, None]
    np.testing.assert_allclose(result["Days"], expected[[1]], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result["I(Days^2)"], expected[[2]], rtol=1e-9, atol=1e-12)


def test_a_term_without_columns_has_no_test() -> None:
    sleep = pm.load_data("sleepstudy").assign(twice=lambda d: 2.0 * d["Days"])
    fit = pm.lmer("Reaction ~ Days + twice + (1 | Subject)", sleep)
    result = pm.anova(fit, type=1)
    assert fit.dropped == ("twice",)
    assert result.loc["twice"].isna().all()
    assert result.loc["Days"].notna().all()
    for kind in (2, 3):  # which of the two is dropped depends on their order alone
        with pytest.warns(pm.PymackayWarning, match=r"test\(s\) of Days: .* \(twice\)"):
            assert pm.anova(fit, type=kind).isna().all(axis=None)
    assert not len(pm.anova(pm.lmer("Reaction ~ 1 + (1 | Subject)", sleep)))


def test_terms_need_the_model() -> None:
    fit = fit_at_theirs("sleepstudy", "slopes", "reml").replace(problem=None)
    with pytest.raises(pm.PymackayError, match=r"with pymackay\.lmer"):
        pm.anova(fit, ddf="normal")
    with pytest.raises(pm.ArgumentError, match="Fit"):
        pm.anova("fit")


# ---- models against each other -------------------------------------------------------------------


@pytest.mark.parametrize("data", LADDERS)
def test_likelihood_ratios_are_those_of_lme4(data: str) -> None:
    ladder = load(data)["ladder"]
    fits = [pm.lmer(formula, pm.load_data(data)) for formula in ladder["formulas"]]
    result, theirs = pm.anova(*fits), read_table(ladder["table"])
    assert list(result.index) == list(theirs.index)
    assert list(result.columns) == list(theirs.columns)
    for column in result.columns:
        np.testing.assert_allclose(
            result[column].to_numpy(float), theirs[column], atol=tol("certified"), err_msg=column
        )
    assert [message.split(":")[0] for message in result.messages] == [
        f"fit{k + 1}" for k in range(len(fits))
    ]
    assert "refitted by ML (instead of REML)" in repr(result)


def test_a_larger_model_with_a_higher_deviance_is_not_tested() -> None:
    sleep = pm.load_data("sleepstudy")
    small = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep, reml=False)
    larger = "Reaction ~ Days + (1 + Days | Subject)"
    large = pm.evaluate(larger, sleep, [5.0, -0.5, 3.0], reml=False)
    assert large.criterion > small.criterion
    table = small.anova(large, names=["small", "large"])
    assert table.loc["large", ["Chisq", "Pr(>Chisq)"]].isna().all()
    assert table.loc["large", "Df"] == 2
    (message,) = table.messages
    assert "large: its deviance is" in message
    assert "start=" in message


def test_ml_fits_are_compared_as_they_are() -> None:
    sleep = pm.load_data("sleepstudy")
    large = pm.lmer(SLEEP, sleep, reml=False)
    small = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep, reml=False)
    result = pm.anova(large, small, names=["large", "small"])
    assert list(result.index) == ["small", "large"]
    assert result.messages == ()
    ratio = small.criterion - large.criterion
    np.testing.assert_allclose(result.loc["large", "Chisq"], ratio, rtol=1e-12)
    np.testing.assert_allclose(result.loc["large", "Pr(>Chisq)"], stats.chi2.sf(ratio, 2))
    recorded = large.replace(problem=None), small.replace(problem=None)
    np.testing.assert_array_equal(pm.anova(*recorded), pm.anova(large, small))
    same = pm.anova(small, small)
    assert same["Df"].iloc[1] == 0
    assert np.isnan(same["Pr(>Chisq)"].iloc[1])


def test_reml_criteria_are_compared_where_that_means_something() -> None:
    sleep = pm.load_data("sleepstudy")
    large, small = pm.lmer(SLEEP, sleep), pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    result = pm.anova(large, small, refit=False)
    ratio = small.criterion - large.criterion
    np.testing.assert_allclose(result["Chisq"].iloc[1], ratio, rtol=1e-12)
    with pytest.raises(pm.ArgumentError, match="different fixed parts cannot be compared"):
        pm.anova(large, pm.lmer("Reaction ~ 1 + (1 | Subject)", sleep), refit=False)
    with pytest.raises(pm.ArgumentError, match="some by ML"):
        pm.anova(large, pm.lmer(SLEEP, sleep, reml=False), refit=False)


def test_models_of_different_data_are_refused() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer(SLEEP, sleep)
    with pytest.raises(pm.DataError, match=r"180 rows .* and 144 rows"):
        pm.anova(fit, pm.lmer(SLEEP, sleep, subset="Days < 8"))
    with pytest.raises(pm.DataError, match=r"different responses: Reaction .* and log"):
        pm.anova(fit, pm.lmer("log(Reaction) ~ Days + (1 | Subject)", sleep))
    moved = sleep.assign(Reaction=sleep["Reaction"].to_numpy()[::-1])
    with pytest.raises(pm.DataError, match="different responses"):
        pm.anova(fit, pm.lmer(SLEEP, moved))
    with pytest.raises(pm.ArgumentError, match="2 different names"):
        pm.anova(fit, fit, names=["a", "a"])
    with pytest.raises(pm.ArgumentError, match="Fit"):
        pm.anova(fit, SLEEP)


def test_models_with_other_weights_are_refused() -> None:
    sleep = pm.load_data("sleepstudy").assign(w=lambda d: 1.0 + d["Days"])
    plain, weighted = pm.lmer(SLEEP, sleep), pm.lmer(SLEEP, sleep, weights="w")
    with pytest.raises(pm.DataError, match="different prior weights"):
        pm.anova(plain, weighted)
    with pytest.raises(pm.DataError, match="different prior weights"):
        pm.variance_test(weighted, pm.lmer("Reaction ~ Days + (1 | Subject)", sleep))
    one = pm.lmer("Reaction ~ 1 + (Days | Subject)", sleep.assign(w=1.0), weights="w")
    assert pm.anova(plain, one)["Df"].iloc[1] == 1


@pytest.mark.parametrize(
    ("small", "large", "part"),
    [
        ("Reaction ~ z + (1 | Subject)", "Reaction ~ Days + I(Days^2) + (1 | Subject)", "fixed"),
        ("Reaction ~ z + (1 | Subject)", "Reaction ~ Days + (1 | Subject)", "fixed"),
        ("Reaction ~ offset(z) + (1 | Subject)", "Reaction ~ Days + (1 | Subject)", "fixed"),
        ("Reaction ~ 1 + (1 | half)", "Reaction ~ 1 + (Days | Subject)", "random"),
        ("Reaction ~ 1 + (0 + z | Subject)", "Reaction ~ 1 + (Days | Subject)", "random"),
        ("Reaction ~ 1 + (Days | Subject)", "Reaction ~ z * half + (Days || Subject)", "random"),
        ("Reaction ~ 1 + (1 | Subject:half)", "Reaction ~ z + (1 | Subject)", "random"),
    ],
)
def test_models_that_are_not_nested_are_refused(small: str, large: str, part: str) -> None:
    sleep = pm.load_data("sleepstudy")
    sleep["z"] = np.random.default_rng(3).normal(size=len(sleep))
    sleep["half"] = [f"h{k % 6}" for k in range(len(sleep))]
    fits = pm.lmer(large, sleep, reml=False), pm.lmer(small, sleep, reml=False)
    with pytest.raises(pm.ArgumentError, match=rf"not nested: the {part} part .* fit\.aic"):
        pm.anova(*fits)


def test_a_variance_is_not_tested_against_another_offset() -> None:
    sleep = pm.load_data("sleepstudy").assign(z=np.arange(180.0) % 7)
    small = pm.lmer("Reaction ~ offset(z) + Days + (1 | Subject)", sleep)
    with pytest.raises(pm.ArgumentError, match="not nested: the fixed part"):
        pm.variance_test(pm.lmer(SLEEP, sleep), small)


def test_nested_models_are_compared_whatever_their_columns_are_called() -> None:
    machines, sleep = pm.load_data("Machines"), pm.load_data("sleepstudy")
    for small, large, data, df in (
        ("score ~ 1 + (1 | Worker)", "score ~ 0 + Machine + (1 | Worker)", machines, 2),
        ("score ~ 1 + (1 | Worker)", "score ~ 1 + (0 + Machine | Worker)", machines, 5),
        ("score ~ 1 + (1 | Worker/Machine)", "score ~ 1 + (Machine | Worker)", machines, 4),
        ("Reaction ~ Days + (1 | Subject)", "Reaction ~ poly(Days, 2) + (1 | Subject)", sleep, 1),
        ("Reaction ~ offset(Days) + (1 | Subject)", "Reaction ~ Days + (1 | Subject)", sleep, 1),
        ("Reaction ~ 1 + (Days || Subject)", "Reaction ~ 1 + (Days | Subject)", sleep, 1),
    ):
        assert pm.anova(pm.lmer(large, data), pm.lmer(small, data))["Df"].iloc[1] == df


def test_fits_that_kept_no_rows_are_compared_by_their_sums() -> None:
    sleep = pm.load_data("sleepstudy").assign(Reaction=lambda d: d["Reaction"].round())
    sleep["z"] = np.random.default_rng(3).normal(size=len(sleep))
    small = "Reaction ~ Days + (1 | Subject)"

    def parts(data: pd.DataFrame) -> list[pd.DataFrame]:
        return [data.iloc[:70], data.iloc[70:]]

    expected = pm.anova(pm.lmer(small, sleep), pm.lmer(SLEEP, sleep))
    streamed = pm.lmer(small, parts(sleep))
    for other in (parts(sleep), sleep):
        result = pm.anova(streamed, pm.lmer(SLEEP, other))
        np.testing.assert_allclose(result, expected, rtol=tol("optimum"))
    again = pm.lmer(small, parts(sleep.iloc[::-1]))  # the same rows in other parts
    np.testing.assert_allclose(pm.anova(streamed, again)["Chisq"].iloc[1], 0.0, atol=1e-6)
    with pytest.raises(pm.ArgumentError, match="not nested"):
        pm.anova(streamed, pm.lmer("Reaction ~ z + (1 | Subject)", parts(sleep)))
    with pytest.raises(pm.DataError, match="cannot be shown"):
        pm.anova(streamed, streamed.replace(problem=None))

    swapped = sleep["Reaction"].to_numpy()[np.r_[1, 0, 2:180]]
    for changed in (
        {"Reaction": swapped},
        {"Reaction": 2.0 * sleep["Reaction"]},
        {"Subject": sleep["Subject"].to_numpy()[np.r_[100, 1:100, 0, 101:180]]},
    ):
        other = pm.lmer("Reaction ~ Days + z + (1 | Subject)", parts(sleep.assign(**changed)))
        with pytest.raises(pm.DataError, match="their sums differ"):
            pm.anova(streamed, other)
    row = np.arange(180)
    holes = sleep.assign(z=sleep["z"].where(row != 7), Days=sleep["Days"].where(row != 8))
    one, other = (pm.lmer(f"Reaction ~ {x} + (1 | Subject)", parts(holes)) for x in ("z", "Days"))
    with pytest.raises(pm.DataError, match="their sums differ"):
        pm.anova(one, other)


# ---- a variance on the boundary ------------------------------------------------------------------


def test_a_slope_beside_an_intercept_is_tested_by_a_mixture() -> None:
    sleep = pm.load_data("sleepstudy")
    large, small = pm.lmer(SLEEP, sleep), pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    ratio = small.criterion - large.criterion
    for reduced in (small, ("Subject", "Days"), pm.lmer(small.formula, sleep, reml=False)):
        result = pm.variance_test(large, reduced).iloc[0]
        np.testing.assert_allclose(result["Chisq"], ratio, atol=tol("certified"))
        assert result["Df"] == 2
        assert result["Mixture"] == "0.5 chi2(1) + 0.5 chi2(2)"
        expected = 0.5 * stats.chi2.sf(ratio, 1) + 0.5 * stats.chi2.sf(ratio, 2)
        np.testing.assert_allclose(result["Pr(>Mixture)"], expected, rtol=1e-5)
        np.testing.assert_allclose(result["Pr(>Chisq)"], stats.chi2.sf(ratio, 2), rtol=1e-5)


@pytest.mark.parametrize("reml", [True, False])
def test_the_only_variance_is_tested_against_least_squares(reml: bool) -> None:
    pastes = pm.load_data("Pastes")
    fit = pm.lmer("strength ~ cask + (1 | batch)", pastes, reml=reml)
    result = pm.variance_test(fit, "batch").iloc[0]
    X, y = fit.problem.model.X, fit.problem.model.y
    rss = float(np.linalg.lstsq(X, y, rcond=None)[1][0])
    n, p = X.shape
    nu = n - p if reml else n
    alone = nu * (1 + np.log(2 * np.pi * rss / nu)) + reml * np.linalg.slogdet(X.T @ X)[1]
    ratio = alone - fit.criterion
    np.testing.assert_allclose(result["Chisq"], ratio, atol=tol("rounding of a criterion"))
    assert result["Mixture"] == "0.5 chi2(0) + 0.5 chi2(1)"
    np.testing.assert_allclose(result["Pr(>Mixture)"], 0.5 * stats.chi2.sf(ratio, 1), rtol=1e-7)


def test_one_of_two_variances() -> None:
    penicillin = pm.load_data("Penicillin")
    fit = pm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", penicillin)
    small = pm.lmer("diameter ~ 1 + (1 | plate)", penicillin)
    for reduced in ("sample", small):
        result = pm.variance_test(fit, reduced).iloc[0]
        np.testing.assert_allclose(result["Chisq"], small.criterion - fit.criterion, atol=1e-7)
        assert result["Df"] == 1


def test_a_variance_of_zero_has_a_p_value_of_one() -> None:
    fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"))
    result = pm.variance_test(fit, "Batch").iloc[0]
    assert result["Chisq"] == 0.0
    assert result["Pr(>Mixture)"] == 1.0


def test_the_mixture_is_what_simulated_ratios_follow() -> None:
    # one-way tables without a variance: half the ratios are zero, the rest chi-square of one
    # (levels × rows): the ratio has a closed form, so that thousands cost nothing
    rng = np.random.default_rng(6)
    levels, rows = 40, 10
    y = rng.normal(size=(4000, levels, rows))
    within = y.var(axis=2, ddof=1).mean(axis=1)
    between = rows * y.mean(axis=2).var(axis=1, ddof=1)
    a, w = levels - 1, levels * (rows - 1)
    pooled = (a * between + w * within) / (a + w)
    ratio = (a + w) * np.log(pooled) - a * np.log(between) - w * np.log(within)
    ratio[between < within] = 0.0
    p = np.where(ratio > 0.0, 0.5 * stats.chi2.sf(ratio, 1), 1.0)
    for size in (0.01, 0.05, 0.2):
        assert abs((p <= size).mean() - size) < 4 * np.sqrt(size * (1 - size) / len(p)) + 0.1 * size
    assert (stats.chi2.sf(ratio, 1) <= 0.05).mean() < 0.035  # the usual test is too cautious
    frame = pd.DataFrame(
        {"y": y[0].ravel(), "g": np.repeat([f"g{k:02}" for k in range(levels)], rows)}
    )
    result = pm.variance_test(pm.lmer("y ~ 1 + (1 | g)", frame), "g").iloc[0]
    np.testing.assert_allclose(result["Pr(>Mixture)"], p[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("reduced", "says"),
    [
        ("Days", r"expected a fit, a random term \(Subject\)"),
        ("Subject", r"name the one to test, as in \('Subject', 'Days'\)"),
        (("Subject", "Week"), "has no effect 'Week'"),
        (7, "expected a fit"),
    ],
)
def test_what_is_no_effect(reduced: object, says: str) -> None:
    fit = fit_at_theirs("sleepstudy", "slopes", "reml")
    with pytest.raises(pm.ArgumentError, match=says):
        pm.variance_test(fit, reduced)


def test_models_that_differ_in_more_than_one_effect() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer(SLEEP, sleep)
    with pytest.raises(pm.ArgumentError, match="the fixed parts differ"):
        pm.variance_test(fit, pm.lmer("Reaction ~ 1 + (1 | Subject)", sleep))
    with pytest.raises(pm.ArgumentError, match="must differ in one random effect"):
        pm.variance_test(fit, fit)
    machines = pm.load_data("Machines")
    large = pm.lmer("score ~ Machine + (Machine | Worker)", machines)
    with pytest.raises(pm.ArgumentError, match="one effect after the other"):
        pm.variance_test(large, pm.lmer("score ~ Machine + (1 | Worker)", machines))
    small = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    with pytest.raises(pm.ArgumentError, match="must differ in one random effect"):
        pm.variance_test(small, fit)
