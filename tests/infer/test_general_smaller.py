"""Smaller generalised models, influence, simulated residuals, checks and tables of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from scipy.special import expit
from tolerances import tol

import pymackay as pm
from pymackay.reference.columns import table
from pymackay.reference.r.session import session

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
WIDE = "y ~ x * f + z + (x | g) + (1 | h)"


@pytest.fixture(scope="module")
def cbpp() -> pd.DataFrame:
    return pm.load_data("cbpp")


@pytest.fixture(scope="module")
def fit(cbpp: pd.DataFrame) -> pm.Fit:
    return pm.glmer(CBPP, cbpp, "binomial")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    draw = np.random.default_rng(21)
    n, g, h = 240, np.arange(240) % 15, np.arange(240) // 40
    data = pd.DataFrame({"g": g, "h": h, "x": draw.normal(size=n), "z": draw.normal(size=n)})
    data["f"] = draw.choice(list("ab"), n)
    eta = 0.5 + 0.4 * data["x"] + 0.5 * draw.normal(size=15)[g]
    eta += 0.3 * draw.normal(size=15)[g] * data["x"] + 0.4 * draw.normal(size=6)[h]
    return data.assign(y=draw.poisson(np.exp(eta)))


@pytest.fixture(scope="module")
def wide(data: pd.DataFrame) -> pm.Fit:
    return pm.glmer(WIDE, data, "poisson")


@pytest.mark.live
def test_terms_left_out_are_those_of_r(fit, cbpp):
    session().call("source", str(Path(__file__).parents[1] / "support" / "general_probe.R"))
    theirs = session().call("probe_drop1", table(cbpp)).value
    mine = fit.drop1()
    assert list(mine.columns) == ["npar", "AIC", "LRT", "Pr(Chi)"]
    assert list(mine.index) == ["<none>", "period"]
    np.testing.assert_allclose(mine["AIC"], theirs["AIC"], atol=1e-2)  # lme4's lag
    row = np.ravel([theirs["npar"], theirs["LRT"], theirs["p"]])
    np.testing.assert_allclose(mine.loc["period", ["npar", "LRT", "Pr(Chi)"]], row, rtol=1e-3)


def test_terms_left_out_are_fits_without_them(wide, data):
    mine = wide.drop1()
    assert list(mine.index) == ["<none>", "z", "x:f"]
    for label, formula in (
        ("z", "y ~ x * f + (x | g) + (1 | h)"), ("x:f", "y ~ x + f + z + (x | g) + (1 | h)")
    ):  # fmt: skip
        smaller = pm.glmer(formula, data, "poisson")
        assert mine.loc[label, "LRT"] == pytest.approx(smaller.criterion - wide.criterion)
        assert mine.loc[label, "AIC"] == pytest.approx(smaller.aic)


def test_random_effects_left_out_are_fits_without_them(wide, data):
    tests = wide.random_tests()
    formulas = {
        "x in (x | g)": ("y ~ x * f + z + (1 | g) + (1 | h)", 2),
        "(1 | h)": ("y ~ x * f + z + (x | g)", 1),
    }
    assert list(tests.index) == ["<none>", *formulas]
    for label, (formula, df) in formulas.items():
        smaller = pm.glmer(formula, data, "poisson")
        ratio = smaller.criterion - wide.criterion
        assert tests.loc[label, "LRT"] == pytest.approx(ratio, abs=1e-7)
        assert tests.loc[label, "Df"] == df and tests.loc[label, "npar"] == smaller.df
        mixture = 0.5 * (stats.chi2.sf(ratio, df - 1) if df > 1 else 0.0)
        mixture += 0.5 * stats.chi2.sf(ratio, df)
        assert tests.loc[label, "Pr(>Mixture)"] == pytest.approx(mixture)
    one = pm.variance_test(wide, ("g", "x"))
    assert one["Pr(>Mixture)"].iloc[0] == pytest.approx(
        tests.loc["x in (x | g)", "Pr(>Mixture)"], rel=1e-5
    )
    other = wide.variance_test(pm.glmer(formulas["(1 | h)"][0], data, "poisson"))
    assert other["Chisq"].iloc[0] == pytest.approx(tests.loc["(1 | h)", "LRT"], abs=1e-7)


def test_without_any_random_effect_the_model_is_a_linear_one_of_r(fit, cbpp):
    """R's glm has -2 log likelihood 198.0584; here by a plain search."""
    X = fit.problem.model.X
    s, m = cbpp["incidence"].to_numpy(), cbpp["size"].to_numpy()
    value = lambda b: -2.0 * stats.binom.logpmf(s, m, expit(X @ b)).sum()  # noqa: E731
    least = optimize.minimize(value, np.zeros(4), method="BFGS").fun
    ratio = fit.random_tests().loc["(1 | herd)", "LRT"]
    assert ratio == pytest.approx(least - fit.criterion, abs=1e-6)


@pytest.mark.parametrize("family", [pm.Gamma("log"), pm.NegativeBinomial()])
def test_without_random_effects_dispersion_and_shape_are_estimated(family):
    draw = np.random.default_rng(4)
    g, x = np.arange(90) % 15, draw.normal(size=90)
    mean = np.exp(1.0 + 0.3 * x + 0.5 * draw.normal(size=15)[g])
    is_gamma = family.name == "Gamma"
    rate = draw.gamma(3.0, mean / 3.0)
    data = pd.DataFrame({"y": rate if is_gamma else draw.poisson(rate), "x": x, "g": g})
    fit = pm.glmer("y ~ x + (1 | g)", data, family)
    y = data["y"].to_numpy()

    def value(b: np.ndarray) -> float:
        mu, shape = np.exp(b[0] + b[1] * x), np.exp(b[2])
        if is_gamma:
            return -2.0 * stats.gamma.logpdf(y, shape, scale=mu / shape).sum()
        return -2.0 * stats.nbinom.logpmf(y, shape, shape / (shape + mu)).sum()

    least = optimize.minimize(value, [1.0, 0.3, 0.5], method="BFGS").fun
    ratio = fit.random_tests().loc["(1 | g)", "LRT"]
    assert ratio == pytest.approx(least - fit.criterion, abs=1e-5)


def test_step_leaves_what_is_needed(data):
    draw = np.random.default_rng(1)
    fit = pm.glmer("y ~ x + w + (1 | g) + (1 | h)", data.assign(w=draw.normal(size=240)), "poisson")
    result = pm.step(fit)
    assert result.formula == "y ~ x + (1 | g) + (1 | h)"
    assert result.fixed.loc["w", "Eliminated"] == 1
    direct = pm.glmer(result.formula, data, "poisson")
    assert result.fit.criterion == pytest.approx(direct.criterion)


def test_a_refit_does_not_fit_smaller_formulas_to_the_former_response(wide):
    again = wide.refit(wide.simulate(1, seed=1)["sim_1"])
    with pytest.raises(pm.PymackayError, match=r"pymackay\.glmer"):
        again.drop1()


def test_directions_of_random_effects(wide):
    V = wide.varcorr["g"].to_numpy()
    sd = wide.random_effects_pca()["g"]["sd"].to_numpy()
    np.testing.assert_allclose(np.sort(sd**2), np.linalg.eigvalsh(V), rtol=tol("oracle"))


def test_influence_is_that_of_fits_without_each_group(fit, cbpp):
    result = fit.influence()
    assert result.by == "herd" and len(result.beta) == 15
    for herd in ("1", "11"):
        without = pm.glmer(CBPP, cbpp[cbpp["herd"].astype(str) != herd], "binomial")
        change = fit.beta - without.beta
        np.testing.assert_allclose(result.beta.loc[herd], without.beta, atol=1e-5)
        np.testing.assert_allclose(result.dfbetas.loc[herd], change / without.std_error, atol=1e-4)
        cooks = float(change @ np.linalg.solve(fit.vcov.to_numpy(), change)) / 4
        assert result.cooks_distance[herd] == pytest.approx(cooks, rel=1e-3)


def test_groups_without_which_there_is_no_estimate_are_named():
    data = pd.DataFrame(
        {"g": np.repeat(list("abcdef"), 6), "f": ["p", "p", "p", "q", "q", "q"] * 6}
    )
    data["y"] = [0, 1, 1, 0, 0, 0] * 5 + [0, 1, 0, 1, 0, 1]  # level q has successes in f alone
    result = pm.glmer("y ~ f + (1 | g)", data, "binomial").influence()
    assert result.failed == ("f",)
    assert result.beta.loc["f"].isna().all() and result.beta.drop("f").notna().all(axis=None)


def test_simulated_residuals_are_uniform_and_see_overdispersion(data):
    draw = np.random.default_rng(7)
    right = data.assign(y=draw.poisson(2.0, 240))
    wrong = data.assign(y=draw.negative_binomial(0.7, 0.7 / (0.7 + 4.0), 240))
    formula = "y ~ x + (1 | g)"
    good = pm.simulated_residuals(pm.glmer(formula, right, "poisson"))
    assert good.tests["p.value"].min() > 0.01
    assert good.scaled.between(0.0, 1.0).all()
    bad = pm.simulated_residuals(pm.glmer(formula, wrong, "poisson"))
    assert bad.tests.loc["dispersion", "statistic"] > 2.0
    assert bad.tests.loc["dispersion", "p.value"] < 0.01
    assert bad.scaled.equals(pm.simulated_residuals(pm.glmer(formula, wrong, "poisson")).scaled)


def test_check_says_what_is_wrong(fit, data):
    result = pm.check(fit)
    assert list(result.sentences) == [
        "mean", "variance", "normal residuals", "normal effects", "influence"
    ]  # fmt: skip
    assert "herd 11 moves the fixed effects most" in result.sentences["influence"]
    assert result.p_values[["mean", "variance", "normal residuals"]].min() > 0.01
    bent = data.assign(y=np.random.default_rng(3).poisson(np.exp(1.0 + data["x"] ** 2)))
    curved = pm.check(pm.glmer("y ~ x + z + (1 | g)", bent, "poisson"))
    assert curved.p_values["variance"] < 0.01


def test_approximate_influence_has_the_order_of_the_exact_one(fit):
    approximate, exact = pm.check(fit).influence["herd"], fit.influence().cooks_distance
    rank = stats.spearmanr(approximate[exact.index], exact).statistic
    assert rank > 0.8 and approximate.index[0] == exact.idxmax()


def test_fits_side_by_side(fit, wide):
    frame = pm.etable([fit, wide], names=["cbpp", "wide"]).frame
    rows = [name for block, name in frame.index if block == "Random effects"]
    assert "SD residual" not in rows and "SD (Intercept) | herd" in rows
    assert frame.loc[("Fixed effects", "period2"), "cbpp"] == "-0.992**"
    assert frame.loc[("Fit", "R² marginal"), "cbpp"] == f"{pm.r2(fit)['marginal']:.3f}"
    reach = stats.norm.isf(0.025) * fit.std_error["period2"]
    ends = pm.etable(fit, intervals=True).frame["(1)"].tolist()
    low, high = (fit.beta["period2"] + side * reach for side in (-1.0, 1.0))
    assert f"[{low:.3f}, {high:.3f}]" in ends


def test_a_model_without_fixed_effects(data):
    fit = pm.glmer("y ~ 0 + (1 | g)", data, "poisson")
    for end in fit.confint().loc[".sig01"]:  # the only parameter: the criterion itself
        at = pm.evaluate_glmer(fit.formula, data, [end], [], "poisson")
        rise = at.criterion - fit.criterion
        assert rise == pytest.approx(stats.chi2.isf(0.05, 1), abs=tol("profile rise"))
    assert "no fixed effects" in pm.check(fit).sentences["influence"]
    assert (fit.influence().cooks_distance == 0.0).all()


def test_a_fit_elsewhere_is_refitted_before_it_is_compared(fit, cbpp):
    """By MacKay's loop with modes, or at parameters that were given."""
    loop = pm.mackay(CBPP, cbpp, family="binomial")
    joint = pm.glmer(CBPP, cbpp, "binomial", nagq=0)
    for tests, of in ((loop.random_tests(), joint.random_tests()), (loop.drop1(), joint.drop1())):
        assert "refitted" in tests.messages[0]
        np.testing.assert_allclose(tests["LRT"].iloc[1], of["LRT"].iloc[1], rtol=1e-6)
    away = pm.evaluate_glmer(CBPP, cbpp, [0.9], fit.beta, "binomial")
    ratio = away.variance_test("herd")
    assert "refitted" in ratio.messages[0]
    assert ratio["Chisq"].iloc[0] == pytest.approx(fit.random_tests()["LRT"].iloc[1], rel=1e-6)
    with pytest.warns(pm.PymackayWarning, match="refitted"):
        drawn = away.bootstrap(2, seed=1)
    np.testing.assert_allclose(drawn.estimate[fit.beta.index], fit.beta, rtol=1e-5)
