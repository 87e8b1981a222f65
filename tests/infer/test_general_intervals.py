"""Profiles, refits, bootstrap and power of generalised models: against lme4 and plain searches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from tolerances import tol

import pymackay as pm
from pymackay.infer.intervals.parameters import list_parameters
from pymackay.infer.intervals.profile import curve_of
from pymackay.reference.columns import table
from pymackay.reference.r.session import session

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
LME4 = np.array(  # confint() of the fit by lme4 1.1-31, which takes it ten seconds
    [
        [0.346073203, 1.099974648],
        [-1.901211955, -0.947754006],
        [-1.616783256, -0.407763068],
        [-1.801024366, -0.511536071],
        [-2.500750563, -0.800755315],
    ]
)
QUANTILE = float(stats.norm.isf(0.025))


@pytest.fixture(scope="module")
def cbpp() -> pd.DataFrame:
    return pm.load_data("cbpp")


@pytest.fixture(scope="module")
def fit(cbpp: pd.DataFrame) -> pm.Fit:
    return pm.glmer(CBPP, cbpp, "binomial")


@pytest.fixture(scope="module")
def slopes() -> pm.Fit:
    """Counts with intercepts and slopes that correlate, in units far apart."""
    draw = np.random.default_rng(3)
    g, x = np.repeat(np.arange(25), 8), draw.normal(3.0, 1.0, 200)
    b = draw.multivariate_normal([0.0, 0.0], [[0.5, -0.15], [-0.15, 0.2]], 25)
    y = draw.poisson(np.exp(0.3 + 0.2 * x + b[g, 0] + b[g, 1] * (x - 3.0)))
    return pm.glmer("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": 1000.0 * x, "g": g}), "poisson")


@pytest.fixture(scope="module")
def gamma() -> pm.Fit:
    draw = np.random.default_rng(5)
    g, x = np.arange(60) % 10, draw.normal(size=60)
    mean = np.exp(1.0 + 0.4 * x + 0.5 * draw.normal(size=10)[g])
    data = pd.DataFrame({"y": draw.gamma(3.0, mean / 3.0), "x": x, "g": g})
    return pm.glmer("y ~ x + (1 | g)", data, pm.Gamma("log"))


@pytest.fixture(scope="module")
def probe():
    session().call("source", str(Path(__file__).parents[1] / "support" / "general_probe.R"))
    return lambda name, *given: session().call(name, *given).value


def held_deviance(fit: pm.Fit, place: int, value: float) -> float:
    """Minimise −2 log likelihood of (sds, correlations, log sigma, beta), one of them held.

    By SciPy's search over `pymackay.evaluate_glmer`, in coordinates of its own.
    """
    model, data = fit.problem.model, fit.problem.model.given["data"]
    q = len(model.terms[0].effects)
    has_phi = fit.has_residual
    V = fit.varcorr[model.terms[0].name].to_numpy()
    sd = np.sqrt(np.diag(V))
    start = [sd[0]] if q == 1 else [sd[0], V[1, 0] / sd[0] / sd[1], sd[1]]
    start += [fit.sigma] * has_phi
    start = np.array([*start, *fit.beta])
    scale = np.array([*np.maximum(np.abs(start[: len(start) - len(fit.beta)]), 0.1)])
    scale = np.concatenate([scale, fit.std_error])
    free = np.delete(np.arange(len(start)), place)

    def value_at(moved: np.ndarray) -> float:
        x = start.copy()
        x[place] = value
        x[free] = start[free] + scale[free] * moved
        theta = [x[0]]
        if q == 2:
            if abs(x[1]) >= 1.0:
                return 1e10
            theta = [x[0], x[1] * x[2], x[2] * np.sqrt(1.0 - x[1] ** 2)]
        phi = x[len(theta)] ** 2 if has_phi else None
        beta = x[len(theta) + has_phi :]
        family = fit.general.family
        return pm.evaluate_glmer(fit.formula, data, theta, beta, family, phi=phi).criterion

    found = optimize.minimize(value_at, np.zeros(len(free)), method="BFGS", options={"gtol": 1e-5})
    return float(found.fun)


def test_profile_intervals_are_those_of_lme4(fit):
    """Of lme4's criterion, whose factor is one step old, and read off a spline."""
    ends = fit.confint()
    assert list(ends.index) == [".sig01", "(Intercept)", "period2", "period3", "period4"]
    assert list(ends.columns) == ["2.5 %", "97.5 %"]
    length = (ends.iloc[:, 1] - ends.iloc[:, 0]).to_numpy()[:, None]
    np.testing.assert_allclose((ends - LME4) / length, 0.0, atol=tol("glmer profile"))


@pytest.mark.parametrize(("name", "place"), [(".sig02", 1), (".sig03", 2), ("x", 4)])
def test_profiles_of_slopes_are_plain_minima(slopes, name, place):
    """At both ends −2 log likelihood has risen by the quantile, all else at its best."""
    for end in slopes.confint(parm=name).loc[name]:
        rise = held_deviance(slopes, place, end) - slopes.criterion
        assert rise == pytest.approx(QUANTILE**2, abs=tol("profile rise"))


def test_profile_of_a_dispersion(gamma):
    for name, place in ((".sigma", 1), ("x", 3)):
        for end in gamma.confint(parm=name, level=0.9).loc[name]:
            rise = held_deviance(gamma, place, end) - gamma.criterion
            assert rise == pytest.approx(stats.chi2.isf(0.1, 1), abs=tol("profile rise"))


def test_profile_table(fit):
    profile = fit.profile(["period2", ".sig01"], points=5, max_zeta=2.0)
    rows = profile.frame
    assert list(rows["parameter"].unique()) == [".sig01", "period2"]
    np.testing.assert_allclose(rows["zeta"], [-2, -1, 0, 1, 2] * 2, atol=1e-8)
    middle = rows[(rows["parameter"] == "period2") & (rows["zeta"] == 0.0)].iloc[0]
    np.testing.assert_allclose(middle[list(fit.beta.index)].astype(float), fit.beta, rtol=1e-6)
    assert profile.labels[".sig01"] == "sd_(Intercept)|herd"
    for _, row in rows.iterrows():  # the values are those of minima: the criterion is theirs
        beta = row[list(fit.beta.index)].to_numpy(dtype=float)
        at = pm.evaluate_glmer(CBPP, pm.load_data("cbpp"), [row[".sig01"]], beta, "binomial")
        rise = at.criterion - fit.criterion
        assert rise == pytest.approx(row["zeta"] ** 2, abs=tol("profile rise"))


def test_the_lower_end_of_a_small_variance_is_zero():
    draw = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.arange(80) % 8, "y": draw.poisson(3.0, 80)})
    ends = pm.glmer("y ~ 1 + (1 | g)", data, "poisson").confint(parm=".sig01")
    assert ends.iloc[0, 0] == 0.0 < ends.iloc[0, 1]


def test_profiles_by_quadrature(cbpp, fit):
    exact = pm.glmer(CBPP, cbpp, "binomial", nagq="exact").confint(parm=".sig01")
    nodes = pm.glmer(CBPP, cbpp, "binomial", nagq=25).confint(parm=".sig01")
    np.testing.assert_allclose(nodes, exact, rtol=tol("likelihood ends"))
    assert np.abs(exact.to_numpy() - fit.confint(parm=".sig01").to_numpy()).max() > 1e-3


def test_fits_without_a_likelihood_of_all_parameters_have_no_profile(cbpp, gamma):
    joint = pm.glmer(CBPP, cbpp, "binomial", nagq=0)
    with pytest.raises(pm.PymackayError, match="nagq=1"):
        joint.profile()
    data = gamma.problem.model.given["data"]
    theirs = pm.glmer(gamma.formula, data, pm.Gamma("log"), dispersion="lme4")
    with pytest.raises(pm.PymackayError, match="dispersion='ml'"):
        theirs.confint()
    assert theirs.confint("wald").notna().any(axis=None)
    with pytest.raises(pm.ArgumentError, match="period2"):
        joint.confint("wald", parm="nobody")


def test_a_fit_at_other_parameters_is_refitted_first(cbpp, fit):
    away = pm.evaluate_glmer(CBPP, cbpp, [0.9], fit.beta + 0.1, "binomial")
    table = away.confint(parm="period3")
    np.testing.assert_allclose(table, fit.confint(parm="period3"), rtol=tol("two searches"))
    assert "refitted" in table.messages[0]


@pytest.mark.live
def test_refit_is_that_of_lme4(fit, cbpp, probe):
    successes = fit.simulate(1, seed=2).iloc[:, 0]
    again = fit.refit(successes)
    theirs = probe("probe_refit", table(cbpp), successes.to_numpy())
    distance = (again.beta - np.asarray(theirs["beta"])) / again.std_error
    np.testing.assert_allclose(distance, 0.0, atol=tol("glmer stops"))
    assert again.criterion <= theirs["criterion"] + tol("rounding of a criterion")
    assert again.criterion == pytest.approx(theirs["criterion"], abs=1e-3)


@pytest.mark.parametrize(
    ("formula", "family", "column"),
    [
        ("cbind(s, m - s) ~ x + (1 | g)", "binomial", ["s", "failures"]),
        ("share ~ x + (1 | g)", "binomial", "share"),
        ("hit ~ x + (1 | g)", "binomial", "hit"),
        ("s ~ x + (1 | g)", "poisson", "s"),
        ("s ~ x + (1 | g)", pm.NegativeBinomial(), "s"),
        ("size ~ x + (1 | g)", pm.Gamma("log"), "size"),
    ],
)
def test_refit_is_the_fit_of_the_other_response(formula, family, column):
    """Whichever way the response is given; another search, from another start."""
    draw = np.random.default_rng(6)
    first, second = (response_table(draw) for _ in range(2))
    second[["x", "m", "w", "g"]] = first[["x", "m", "w", "g"]]
    second["share"] = second["s"].clip(upper=first["m"]) / first["m"]
    first["share"] = first["s"] / first["m"]
    second["s"] = second["s"].clip(upper=first["m"])
    second["failures"] = second["m"] - second["s"]
    weights = "m" if column == "share" else None
    again = pm.glmer(formula, first, family, weights=weights).refit(second[column])
    direct = pm.glmer(formula, second, family, weights=weights)
    assert again.criterion == pytest.approx(direct.criterion, abs=1e-7)
    distance = (again.beta - direct.beta) / direct.std_error
    np.testing.assert_allclose(distance, 0.0, atol=tol("two searches"))
    np.testing.assert_allclose(again.theta, direct.theta, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.fitted, direct.fitted, rtol=1e-4)


def response_table(draw: np.random.Generator) -> pd.DataFrame:
    n, g = 120, np.arange(120) % 12
    data = pd.DataFrame({"x": draw.normal(size=n), "g": g, "m": 9.0, "w": 1.0})
    eta = 0.3 * data["x"] + 0.7 * draw.normal(size=12)[g]
    data["s"] = draw.binomial(9, 1.0 / (1.0 + np.exp(-eta))).astype(float)
    data["hit"] = draw.binomial(1, 1.0 / (1.0 + np.exp(-eta)))
    data["size"] = draw.gamma(2.0, np.exp(eta))
    return data


def test_what_cannot_be_refitted_is_refused(fit, cbpp):
    for y, error, words in (
        (np.ones(3), pm.ArgumentError, "56 rows of successes"),
        (["a"] * 56, pm.ArgumentError, "0 and 1"),
        (np.full(56, np.nan), pm.DataError, "missing"),
        (np.full(56, -1.0), pm.DataError, "negative"),
        (np.zeros(56), pm.PymackayError, "no maximum"),
    ):
        with pytest.raises(error, match=words):
            fit.refit(y)


def test_bootstrap(fit):
    drawn = fit.bootstrap(25, seed=1)
    again = pm.bootstrap(fit, 25, seed=1)
    pd.testing.assert_frame_equal(drawn.replicates, again.replicates)
    names = ["sd_(Intercept)|herd", *fit.beta.index]
    assert list(drawn.replicates.columns) == list(drawn.estimate.index) == names
    assert drawn.n_unconverged == drawn.n_failed == 0
    responses = fit.simulate(25, seed=1)
    one = fit.refit(responses["sim_7"])
    np.testing.assert_allclose(drawn.replicates.loc[6, fit.beta.index], one.beta, rtol=1e-12)
    ends = fit.confint("boot", nsim=25, seed=1, parm="period2")
    np.testing.assert_array_equal(ends.loc["period2"], drawn.confint().loc["period2"])
    odds = fit.bootstrap(4, seed=1, statistic=lambda t: np.exp(t["period2"]).rename("odds"))
    np.testing.assert_allclose(odds.replicates["odds"], np.exp(odds.replicates["period2"]))
    assert odds.estimate["odds"] == pytest.approx(np.exp(fit.beta["period2"]))
    with pytest.raises(pm.ArgumentError, match="parametric"):
        fit.bootstrap(4, kind="residual")


@pytest.mark.parametrize("kind", ["fit", "slopes", "gamma"])
def test_refits_side_by_side_are_those_one_by_one(kind, request, monkeypatch):
    fit = request.getfixturevalue(kind)
    together = fit.bootstrap(8, seed=4)
    monkeypatch.setattr("pymackay.infer.general.refit.may_go_together", lambda *_: False)
    alone = fit.bootstrap(8, seed=4)
    assert list(together.replicates.columns) == list(alone.replicates.columns)
    np.testing.assert_array_equal(together.singular, alone.singular)
    np.testing.assert_array_equal(together.converged, alone.converged)
    np.testing.assert_allclose(together.replicates, alone.replicates, rtol=1e-5, atol=1e-7)


def test_draws_without_estimates_are_counted_and_said():
    """In small samples of rare successes many responses are separated."""
    draw = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.arange(36) % 6, "f": ["a"] * 24 + ["b"] * 12})
    data["y"] = draw.binomial(1, np.where(data["f"] == "a", 0.5, 0.1))
    data.loc[35, "y"] = 1
    fit = pm.glmer("y ~ f + (1 | g)", data, "binomial")
    with pytest.warns(pm.PymackayWarning, match="no estimates"):
        drawn = fit.bootstrap(20, seed=3)
    assert 0 < drawn.n_failed < 20
    assert drawn.replicates.isna().all(axis=1).sum() == drawn.n_failed
    assert "no maximum" in drawn.failures[min(drawn.failures)]
    ends = drawn.confint()
    assert f"{drawn.n_failed} of 20" in ends.messages[1] and ends.notna().all(axis=None)


def test_power(fit):
    found = fit.power("period2", [0.0, -1.0], nsim=20, seed=4)
    assert found["power"].iloc[0] <= 0.2 < 0.7 < found["power"].iloc[1]
    again = pm.power(fit, "period2", -1.0, nsim=20, seed=4)
    assert again["significant"].iloc[0] == found["significant"].iloc[1]
    ratio = fit.power("period2", nsim=8, seed=4, test="lr")
    drawn = fit.simulate(8, seed=4)
    hits = 0
    for name in drawn:
        full, null = fit.refit(drawn[name]), without_period2(drawn[name])
        hits += null.criterion - full.criterion > stats.chi2.isf(0.05, 1)
    assert ratio["significant"].tolist() == [hits]
    with pytest.raises(pm.ArgumentError, match="'z' or 'lr'"):
        fit.power("period2", test="satterthwaite")


def without_period2(successes: pd.Series) -> pm.Fit:
    data = pm.load_data("cbpp").assign(incidence=successes)
    data["p3"], data["p4"] = (1.0 * (data["period"].astype(str) == k) for k in "34")
    return pm.glmer("cbind(incidence, size - incidence) ~ p3 + p4 + (1 | herd)", data, "binomial")


@pytest.mark.parametrize("structure", ["cs", "ar1"])
def test_a_structure_of_two_effects_is_any_covariance(slopes, structure):
    """With standard deviations of their own these are other coordinates of the same model."""
    data = slopes.problem.model.given["data"]
    fit = pm.glmer(f"y ~ x + {structure}(x | g, hom = FALSE)", data, "poisson")
    assert fit.criterion == pytest.approx(slopes.criterion, abs=1e-7)
    names = [".sig01", ".sig02", ".sig03"]
    found, plain = fit.confint(parm=names), slopes.confint(parm=names)
    np.testing.assert_allclose(
        found.loc[[".sig01", ".sig03", ".sig02"]], plain, rtol=tol("two searches")
    )


@pytest.mark.parametrize("term", ["ar1(0 + f | g)", "cs(0 + f | g)", "diag(0 + f | g)"])
def test_profiles_of_structures_begin_at_the_estimates(term):
    draw = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.arange(180) % 15, "f": draw.choice(list("abc"), 180)})
    effects = 0.4 * draw.normal(size=(15, 1)) + 0.4 * draw.normal(size=(15, 3))
    eta = 0.5 + effects[data["g"], data["f"].map({"a": 0, "b": 1, "c": 2})]
    fit = pm.glmer(f"y ~ 1 + {term}", data.assign(y=draw.poisson(np.exp(eta))), "poisson")
    for parameter in list_parameters(fit):
        curve = curve_of(fit, parameter)
        assert curve.path.outside(curve.path.held) == pytest.approx(parameter.estimate, rel=1e-9)
        values = curve.path.values(curve.peak.point).by_name([parameter], fit.model.terms)
        assert values[parameter.name] == pytest.approx(parameter.estimate, rel=1e-6)
