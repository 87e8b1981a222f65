"""Marginal means, contrasts, tests of terms and shares of variance of generalised models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import polygamma
from tolerances import tol

import pymackay as pm
from pymackay.reference.columns import table
from pymackay.reference.r.session import session

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
COUNTS = "y ~ f * x + (1 | g) + offset(o)"


@pytest.fixture(scope="module")
def probe():
    session().call("source", str(Path(__file__).parents[1] / "support" / "general_probe.R"))
    return lambda name, *given: session().call(name, *given).value


@pytest.fixture(scope="module")
def cbpp() -> pd.DataFrame:
    return pm.load_data("cbpp")


@pytest.fixture(scope="module")
def fit(cbpp: pd.DataFrame) -> pm.Fit:
    return pm.glmer(CBPP, cbpp, "binomial")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    draw = np.random.default_rng(12)
    n, g = 180, np.arange(180) % 20
    data = pd.DataFrame({"g": g, "x": draw.normal(size=n), "o": draw.uniform(0.0, 1.0, n)})
    data["f"], data["row"] = draw.choice(list("abc"), n), np.arange(n)
    eta = 0.4 + 0.5 * data["x"] + 0.6 * draw.normal(size=20)[g] + data["o"]
    data["y"] = draw.poisson(np.exp(eta + 0.3 * draw.normal(size=n)))
    return data


@pytest.fixture(scope="module")
def counts(data: pd.DataFrame) -> pm.Fit:
    return pm.glmer(COUNTS, data, "poisson")


@pytest.mark.live
@pytest.mark.parametrize(
    ("link", "type"), [("logit", "link"), ("logit", "response"), ("probit", "response")]
)
def test_means_are_those_of_emmeans(cbpp, probe, link, type):
    """At the same fixed effects and covariance, names of the columns included."""
    fit = pm.glmer(CBPP, cbpp, pm.Binomial(link))
    theirs = probe(
        "probe_general_means", table(cbpp), link, type, fit.beta.to_numpy(), fit.vcov.to_numpy()
    )
    means = pm.emmeans(fit, "period", type=type)
    pairs = means.pairs()
    tables = {
        "means": means.table,
        "pairs": pairs.table,
        "intervals": pairs.confint(),
        "effects": means.contrast("eff").table,
    }
    for name, mine in tables.items():
        values = pd.DataFrame(mine).drop(columns=["period", "contrast"], errors="ignore")
        assert list(values.columns) == list(theirs[name]["names"]), name
        other = np.asarray(theirs[name]["values"], dtype=float)
        np.testing.assert_allclose(values.to_numpy(dtype=float), other, rtol=tol("emmeans"))
    joint = pm.joint_tests(fit)[["df1", "F.ratio", "p.value"]].to_numpy(dtype=float)[0]
    F = np.asarray(theirs["joint"], dtype=float)
    np.testing.assert_allclose(joint[:2], F[:2], atol=tol("printed 3"))  # as R rounds it
    np.testing.assert_allclose(joint[2], F[2], rtol=1e-2)


def test_means_of_counts_are_rates_with_the_offset_at_its_mean(counts, data):
    means = pm.emmeans(counts, "f", at={"x": 0.5}, type="response", offset=1.0).table
    for k, level in enumerate("abc"):
        row = pd.DataFrame({"f": [level], "x": [0.5]})
        x = counts.model_matrix(row).to_numpy()[0]
        eta = float(x @ counts.beta) + 1.0
        error = float(np.sqrt(x @ counts.vcov.to_numpy() @ x))
        assert means["rate"].iloc[k] == pytest.approx(np.exp(eta))
        assert means["SE"].iloc[k] == pytest.approx(np.exp(eta) * error)
        reach = stats.norm.isf(0.025) * error
        assert means["asymp.LCL"].iloc[k] == pytest.approx(np.exp(eta - reach))
    mean_offset = pm.emmeans(counts, "f", at={"x": 0.5})._estimates[0]
    expected = np.log(means["rate"].to_numpy(dtype=float)) - 1.0 + data["o"].mean()
    np.testing.assert_allclose(mean_offset, expected)


def test_trends_are_slopes_of_the_linear_predictor(counts):
    trends = pm.emtrends(counts, "f", "x").table["x.trend"].to_numpy(dtype=float)
    b = counts.beta
    np.testing.assert_allclose(trends, [b["x"], b["x"] + b["fb:x"], b["x"] + b["fc:x"]])


def test_limits_of_a_falling_link_are_in_order(data):
    draw = np.random.default_rng(1)
    data = data.assign(t=draw.gamma(8.0, (2.0 + 0.5 * (data["f"] == "b")) / 8.0))
    fit = pm.glmer("t ~ f + (1 | g)", data, "Gamma")
    means = pm.emmeans(fit, "f", type="response").table
    assert (means["asymp.LCL"] < means["response"]).all()
    assert (means["response"] < means["asymp.UCL"]).all()
    link = pm.emmeans(fit, "f").table
    np.testing.assert_allclose(means["asymp.LCL"], 1.0 / link["asymp.UCL"])


def test_contrasts(counts):
    one = counts.contrast({"fb": 1.0, "fc": -1.0}, rhs=0.1)
    row = np.array([0.0, 1.0, -1.0, 0.0, 0.0, 0.0])
    estimate = float(row @ counts.beta)
    error = float(np.sqrt(row @ counts.vcov.to_numpy() @ row))
    z = (estimate - 0.1) / error
    names = ["Estimate", "Std. Error", "z value", "lower", "upper", "Pr(>|z|)"]
    assert list(one.columns) == names
    reach = stats.norm.isf(0.025) * error
    expected = [estimate, error, z, estimate - reach, estimate + reach, 2 * stats.norm.sf(abs(z))]
    np.testing.assert_allclose(one.to_numpy()[0].astype(float), expected)
    both = counts.contrast([{"fb": 1.0}, {"fc": 1.0}])
    b, V = counts.beta[["fb", "fc"]].to_numpy(), counts.vcov.loc[["fb", "fc"], ["fb", "fc"]]
    chisq = float(b @ np.linalg.solve(V.to_numpy(), b))
    expected = [chisq, 2, stats.chi2.sf(chisq, 2)]
    assert list(both.columns) == ["Chisq", "Df", "Pr(>Chisq)"]
    np.testing.assert_allclose(both.to_numpy()[0].astype(float), expected)
    assert list(counts.contrast({"fb": 1}, ddf="none").columns) == names[:3]
    with pytest.raises(pm.ArgumentError, match="no degrees of freedom"):
        counts.contrast({"fb": 1}, ddf="Kenward-Roger")


def test_tests_of_terms_are_walds(counts):
    tests = counts.anova()
    names = ["fb:x", "fc:x"]
    b, V = counts.beta[names].to_numpy(), counts.vcov.loc[names, names].to_numpy()
    chisq = float(b @ np.linalg.solve(V, b))
    assert tests.loc["f:x", "Chisq"] == pytest.approx(chisq)
    assert tests.loc["f:x", "Pr(>Chisq)"] == pytest.approx(stats.chi2.sf(chisq, 2))
    second = counts.anova(type=2)
    assert list(second.index) == ["f", "x", "f:x"] and second["Df"].tolist() == [2, 1, 2]
    assert second.loc["f:x", "Chisq"] == pytest.approx(chisq)


def test_what_the_data_do_not_determine_is_nan(data):
    data = data[~((data["f"] == "c") & (data["x"] > 0.0))].assign(k=lambda d: d["x"] > 0.0)
    fit = pm.glmer("y ~ f * k + (1 | g)", data, "poisson")
    assert fit.dropped
    means = pm.emmeans(fit, ["f", "k"], type="response").table
    lost = means[(means["f"] == "c") & means["k"]]
    assert lost["rate"].isna().all() and means["rate"].notna().sum() == 5
    with pytest.warns(pm.PymackayWarning, match="do not determine"):
        assert fit.contrast({fit.dropped[0]: 1.0})["z value"].isna().all()


def test_model_matrix(fit, cbpp):
    pd.testing.assert_frame_equal(
        fit.model_matrix(cbpp), fit.model_matrix(), check_index_type=False
    )
    Z = fit.model_matrix(part="random")
    assert Z.shape == (56, 15)
    eta = fit.model_matrix() @ fit.beta + Z.to_numpy() @ fit.ranef["herd"].to_numpy()[:, 0]
    np.testing.assert_allclose(eta, fit.predict(type="link"), rtol=tol("oracle"))


def test_shares_of_variance_by_hand(fit, counts, data):
    fixed = np.var(fit.model_matrix() @ fit.beta, ddof=1)
    between = fit.varcorr["herd"].iloc[0, 0]
    total = fixed + between + np.pi**2 / 3
    assert pm.r2(fit).tolist() == pytest.approx([fixed / total, (fixed + between) / total])
    assert pm.icc(fit)["adjusted"] == pytest.approx(between / (between + np.pi**2 / 3))
    null = pm.glmer("y ~ 1 + (1 | g) + offset(o)", data, "poisson")
    rate = np.exp(null.beta.iloc[0] + data["o"].mean() + 0.5 * null.varcorr["g"].iloc[0, 0])
    residuals = {"lognormal": np.log1p(1 / rate), "delta": 1 / rate,
                 "trigamma": polygamma(1, rate)}  # fmt: skip
    v = counts.varcorr["g"].iloc[0, 0]
    for method, residual in residuals.items():
        expected = v / (v + residual)
        assert pm.icc(counts, method=method)["adjusted"] == pytest.approx(expected, rel=1e-6)
    assert pm.icc(counts).equals(pm.icc(counts, method="lognormal"))
    with pytest.raises(pm.ArgumentError, match="'lognormal' or 'delta'"):
        pm.icc(counts, method="theoretical")
    with pytest.raises(pm.ArgumentError, match="residual variance"):
        pm.r2(pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff")), method="delta")


def test_an_effect_of_each_row_is_residual_variance(data):
    fit = pm.glmer("y ~ x + (1 | g) + (1 | row)", data, "poisson")
    v, extra = fit.varcorr["g"].iloc[0, 0], fit.varcorr["row"].iloc[0, 0]
    null = pm.glmer("y ~ 1 + (1 | g) + (1 | row)", data, "poisson")
    spread = null.varcorr["g"].iloc[0, 0] + null.varcorr["row"].iloc[0, 0]
    rate = np.exp(null.beta.iloc[0] + 0.5 * spread)
    assert list(pm.icc(fit).index) == ["adjusted", "conditional", "g"]
    expected = v / (v + extra + np.log1p(1 / rate))
    assert pm.icc(fit)["adjusted"] == pytest.approx(expected, rel=1e-6)
