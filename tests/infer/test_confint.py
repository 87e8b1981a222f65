"""Intervals and profiles: against lme4's, against roots of lme4's deviance, at the boundaries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from inference_references import DATA, load, read_table
from scipy import stats
from small_models import crossed_model
from tolerances import tol

import pymackay as pm
from pymackay.infer.intervals.parameters import list_parameters
from pymackay.infer.intervals.profile_path import Path
from pymackay.model.sums.gram import cross_products
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, assemble
from pymackay.solve.exact.solver import Exact
from pymackay.solve.search.newton import find_optimum

SLEEP = "Reaction ~ Days + (Days | Subject)"
PROFILES = [(data, k) for data in DATA for k in range(len(load(data)["profiles"]))]


def fitted(data: str, k: int) -> tuple[Fit, dict]:
    recorded = load(data)["profiles"][k]
    return pm.lmer(recorded["formula"], pm.load_data(data), reml=False), recorded


@pytest.mark.parametrize(("data", "k"), PROFILES)
def test_profile_intervals_are_those_of_lme4(data: str, k: int) -> None:
    fit, recorded = fitted(data, k)
    result = fit.confint()
    length = (result.iloc[:, 1] - result.iloc[:, 0]).to_numpy()[:, None]
    theirs = read_table(recorded["profile"])
    assert list(result.index) == list(theirs.index)
    assert list(result.columns) == list(theirs.columns) == ["2.5 %", "97.5 %"]
    distance = (result.to_numpy() - theirs.to_numpy()) / length
    np.testing.assert_allclose(distance, 0.0, atol=tol("profile spline"))
    exact = read_table(recorded["exact"])
    distance = (result.loc[exact.index].to_numpy() - exact.to_numpy()) / length[: len(exact)]
    np.testing.assert_allclose(distance, 0.0, atol=tol("profile"))


@pytest.mark.parametrize(("data", "k"), PROFILES)
def test_names_and_wald_intervals_are_those_of_lme4(data: str, k: int) -> None:
    fit, recorded = fitted(data, k)
    result, theirs = fit.confint("wald"), read_table(recorded["wald"])
    assert list(result.index) == list(theirs.index)
    assert list(fit.confint("wald", long_names=True).index) == recorded["names"]
    assert result.isna().equals(theirs.isna())
    distance = (result - theirs).to_numpy()[-len(fit.beta) :] / fit.std_error.to_numpy()[:, None]
    np.testing.assert_allclose(distance, 0.0, atol=tol("lme4 stops"))


def test_another_level() -> None:
    fit, recorded = fitted("sleepstudy", 0)
    result, theirs = fit.confint(level=0.9), read_table(recorded["profile90"])
    assert list(result.columns) == list(theirs.columns) == ["5 %", "95 %"]
    length = (result.iloc[:, 1] - result.iloc[:, 0]).to_numpy()[:, None]
    distance = (result.to_numpy() - theirs.to_numpy()) / length
    np.testing.assert_allclose(distance, 0.0, atol=tol("profile spline"))
    assert list(fit.confint("wald", level=0.999).columns) == ["0.05 %", "100 %"]


def test_bootstrap_intervals_are_those_of_the_bootstrap() -> None:
    fit, _ = fitted("Pastes", 0)
    result = fit.confint("boot", nsim=99, seed=3, level=0.9, parm=["sigma", "(Intercept)"])
    drawn = pm.bootstrap(fit, 99, seed=3).confint(0.9)
    assert list(result.index) == [".sigma", "(Intercept)"]
    assert list(result.columns) == ["5 %", "95 %"]
    np.testing.assert_array_equal(result, drawn.loc[["sigma", "(Intercept)"]])
    assert result.messages == drawn.messages


def test_a_reml_fit_is_refitted_and_that_is_said() -> None:
    sleep = pm.load_data("sleepstudy")
    reml, ml = pm.lmer(SLEEP, sleep), pm.lmer(SLEEP, sleep, reml=False)
    result = reml.confint(parm=["sigma", "Days"])
    np.testing.assert_allclose(result, ml.confint(parm=["sigma", "Days"]), rtol=1e-8)
    assert result.messages == ("refitted by ML (instead of REML)",)
    assert "refitted by ML" in repr(result)
    elsewhere = pm.evaluate(SLEEP, sleep, [1.0, 0.0, 0.2], reml=False)
    moved = elsewhere.confint(parm="Days")
    np.testing.assert_allclose(moved, result.loc[["Days"]], rtol=1e-8)
    assert "not at its optimum" in moved.messages[0]


def test_least_squares_has_closed_form_profiles() -> None:
    # a variance at zero and held there: sigma's and the mean's profiles are those of a sample
    data = pm.load_data("Dyestuff2")
    y, n = data["Yield"].to_numpy(float), len(data)
    fit = pm.lmer("Yield ~ 1 + (1 | Batch)", data, reml=False)
    result = fit.confint(level=0.5)
    reach = np.sqrt(n * (np.exp(stats.chi2.ppf(0.5, 1) / n) - 1.0)) * y.std() / np.sqrt(n)
    np.testing.assert_allclose(
        result.loc["(Intercept)"], [y.mean() - reach, y.mean() + reach], rtol=1e-9
    )
    low, high = result.loc[".sigma"]
    for end in (low, high):
        rise = 2 * n * np.log(end / y.std()) + n * (y.var() / end**2 - 1.0)
        np.testing.assert_allclose(rise, stats.chi2.ppf(0.5, 1), rtol=1e-8)
    assert result.loc[".sig01", "25 %"] == 0.0


def test_ends_at_the_bounds() -> None:
    # six batches that do not differ: the lower end is 0; four wide correlations: ±1
    oats = pm.load_data("Oats")
    fit = pm.lmer("yield ~ nitro + (nitro | Block)", oats, reml=False)
    result = fit.confint(parm="theta_", level=0.99)
    assert result.loc[".sig01"].gt(0).all()
    assert result.loc[".sig02", "99.5 %"] == 1.0 or result.loc[".sig02", "0.5 %"] == -1.0
    assert result.loc[".sig03", "0.5 %"] == 0.0


def test_profiles_do_not_depend_on_units_or_order() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer(SLEEP, sleep, reml=False)
    expected = fit.confint()
    scaled = sleep.assign(Reaction=sleep["Reaction"] * 1e6, Days=sleep["Days"] * 1e-4)
    result = pm.lmer(SLEEP, scaled, reml=False).confint().to_numpy()
    units = np.array([1e6, 1.0, 1e10, 1e6, 1e6, 1e10])[:, None]
    np.testing.assert_allclose(result / units, expected, rtol=1e-6)
    turned = pm.lmer("Reaction ~ Days + (0 + Days + 1 | Subject)", sleep, reml=False).confint()
    assert set(np.round(turned.to_numpy().ravel(), 5)) == set(
        np.round(expected.to_numpy().ravel(), 5)
    )


def test_intervals_by_name() -> None:
    fit, _ = fitted("sleepstudy", 0)
    names = list(fit.confint("wald").index)
    assert names == [".sig01", ".sig02", ".sig03", ".sigma", "(Intercept)", "Days"]
    for parm, expected in (
        ("theta_", names[:4]),
        ("beta_", names[4:]),
        ([".sig03", "sigma"], names[2:4]),
        ("cor_Days.(Intercept)|Subject", names[1:2]),
    ):
        assert list(fit.confint("wald", parm=parm).index) == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "Bayes"}, "method must be"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"parm": "Day"}, r"no parameter 'Day'; the fit has \.sig01 \(sd_\(Intercept\)\|Subject\)"),
        ({"parm": 3}, "no parameter 3"),
    ],
)
def test_what_no_interval_can_be(arguments: dict, says: str) -> None:
    fit, _ = fitted("sleepstudy", 0)
    with pytest.raises(pm.ArgumentError, match=says):
        fit.confint(**arguments)


def test_without_the_model_there_are_wald_intervals_only() -> None:
    fit, _ = fitted("sleepstudy", 0)
    bare = fit.replace(problem=None)
    np.testing.assert_array_equal(bare.confint("wald"), fit.confint("wald"))
    with pytest.raises(pm.PymackayError, match="a likelihood profile needs"):
        bare.confint()
    with pytest.raises(pm.ArgumentError, match="Fit"):
        pm.confint(None)


# ---- profiles ------------------------------------------------------------------------------------


def test_a_profile_is_the_deviance_with_the_rest_at_its_best() -> None:
    fit, _ = fitted("sleepstudy", 0)
    result = pm.profile(fit, max_zeta=2.0, points=5)
    frame = result.frame
    names = list(result.estimates.index)
    assert list(frame.columns) == ["parameter", "value", "zeta", *names]
    assert list(frame["parameter"].unique()) == names
    for name, part in frame.groupby("parameter"):
        np.testing.assert_allclose(part["zeta"], [-2.0, -1.0, 0.0, 1.0, 2.0], atol=1e-8)
        assert part["value"].is_monotonic_increasing
        np.testing.assert_array_equal(part[name], part["value"])
        np.testing.assert_allclose(
            part[names].iloc[2].to_numpy(float), result.estimates, rtol=1e-6, atol=1e-6
        )
    # at each point the ML deviance of the covariances and coefficients named there, from V itself
    model = fit.problem.model
    Z = np.column_stack([np.ones(len(model.y)), model.X[:, 1]])
    codes = model.factors["Subject"].codes
    same = codes[:, None] == codes
    for _, row in frame.iterrows():
        sd = np.array([row[".sig01"], row[".sig03"]])
        G = np.outer(sd, sd) * np.array([[1.0, row[".sig02"]], [row[".sig02"], 1.0]])
        V = same * (Z @ G @ Z.T) + row[".sigma"] ** 2 * np.eye(len(codes))
        r = model.y - model.X @ row[["(Intercept)", "Days"]].to_numpy(float)
        deviance = np.linalg.slogdet(2 * np.pi * V)[1] + r @ np.linalg.solve(V, r)
        np.testing.assert_allclose(deviance - fit.criterion, row["zeta"] ** 2, atol=1e-7)


def test_a_profile_ends_at_a_bound() -> None:
    fit, _ = fitted("Dyestuff2", 0)
    part = pm.profile(fit, ".sig01", points=7).frame
    assert part["value"].iloc[0] == 0.0
    assert part["zeta"].iloc[0] == 0.0
    assert len(part) == 4
    pastes, _ = fitted("Pastes", 0)
    side = pm.profile(pastes, ".sig02", points=13).frame
    assert side["value"].iloc[0] == 0.0
    assert -3.0 < side["zeta"].iloc[0] < 0.0
    zero = pm.lmer("strength ~ 1 + (1 | cask:batch)", pm.load_data("Pastes"), reml=False)
    np.testing.assert_allclose(
        side["zeta"].iloc[0] ** 2, zero.criterion - pastes.criterion, atol=1e-7
    )


def test_crossed_weighted_profiles_meet_refits_with_the_coefficient_held() -> None:
    model = crossed_model(weighted=True)
    problem = Problem(model, Exact(cross_products(model), False))
    optimum = find_optimum(problem.solver)
    fit = assemble(problem, optimum.factors, optimum.evaluation, optimum.convergence)
    low, high = fit.confint(parm="x").iloc[0]
    for end in (low, high):
        held = crossed_model(weighted=True)
        held = type(held)(
            **{
                **vars(held),
                "y": held.y - end * held.X[:, 1],
                "X": held.X[:, [0, 2]],
                "fixed": ("(Intercept)", "z"),
            }
        )
        other = find_optimum(Exact(cross_products(held), False))
        rise = other.evaluation.criterion - fit.criterion
        np.testing.assert_allclose(rise, stats.chi2.ppf(0.95, 1), atol=1e-7)


@pytest.mark.parametrize("name", [".sig01", ".sig02", ".sig03", ".sig04", ".sigma", "z"])
def test_paths_have_the_derivatives_they_say(name: str) -> None:
    model = crossed_model()
    problem = Problem(model, Exact(cross_products(model), False))
    optimum = find_optimum(problem.solver)
    fit = assemble(problem, optimum.factors, optimum.evaluation, optimum.convergence)
    gram = problem.solver.bases
    factors = [layout.factor(fit.theta.to_numpy()) for layout in gram.layouts]
    parameter = next(p for p in list_parameters(fit) if p.name == name)
    path = Path(gram, parameter, factors, fit.sigma)
    at_optimum = path.at(path.held, path.start)
    np.testing.assert_allclose(at_optimum.value, fit.criterion, rtol=tol("criterion"))
    np.testing.assert_allclose(at_optimum.gradient, 0.0, atol=1e-5)
    np.testing.assert_allclose(path.outside(path.held), parameter.estimate, rtol=1e-9)
    at = np.append(path.held, path.start)
    at += 0.05 * np.random.default_rng(7).uniform(0.2, 1.0, len(at))
    here, steps = path.at(at[0], at[1:]), 1e-5 * np.eye(len(at))
    both = [(path.at(*_cut(at + s)), path.at(*_cut(at - s))) for s in steps]
    slopes = [(up.value - down.value) / 2e-5 for up, down in both]
    bends = [(up.gradient - down.gradient) / 2e-5 for up, down in both]
    size = np.abs(here.hessian).max()
    np.testing.assert_allclose(here.gradient, slopes, atol=tol("difference") * size)
    np.testing.assert_allclose(here.hessian, bends, atol=tol("difference") * size)


def _cut(point: np.ndarray) -> tuple[float, np.ndarray]:
    return float(point[0]), point[1:]


@pytest.mark.parametrize(
    "arguments", [{"points": 4}, {"points": 1}, {"max_zeta": 0}, {"max_zeta": "far"}]
)
def test_grids_that_cannot_be(arguments: dict) -> None:
    fit, _ = fitted("sleepstudy", 0)
    with pytest.raises(pm.ArgumentError, match=f"{next(iter(arguments))} must be"):
        pm.profile(fit, **arguments)


@pytest.mark.parametrize(
    ("version", "long_names"),
    [
        ("1.1-37", ["sd_(Intercept)|Subject", "cor_Days.(Intercept)|Subject", "sd_Days|Subject"]),
        ("2.1-0", ["sd_(Intercept)|Subject", "sd_Days|Subject", "cor_Days.(Intercept)|Subject"]),
    ],
)
def test_short_names_follow_the_lme4_that_made_the_fit(version: str, long_names: list[str]) -> None:
    """NEWS of lme4 2.0-1: standard deviations first, then correlations."""
    fit = pm.lme4.lmer(SLEEP, pm.load_data("sleepstudy"), source="recorded")
    fit = replace(fit, engine=replace(fit.engine, versions={"lme4": version}))
    parameters = list_parameters(fit)[:3]
    assert [p.name for p in parameters] == [".sig01", ".sig02", ".sig03"]
    assert [p.label for p in parameters] == long_names
    values = {p.label: p.estimate for p in parameters}
    sds = np.sqrt(np.diag(fit.varcorr["Subject"]))
    assert values["sd_Days|Subject"] == pytest.approx(sds[1], rel=1e-12)
