"""The forecast of a collapse, against loops that were run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f_oneway
from small_models import sleepstudy_model
from tolerances import tol

import pymackay as pm
from benchmarks.batched_loop import Design, run_batch, simulate
from benchmarks.collapse_study import STUDIES, raw_rule, run_study, survival_chance, threshold
from pymackay.infer.gap.effect_roots import combination, view_group
from pymackay.infer.gap.forecast import fixed_point
from pymackay.results import Fit

SLEEP = "Reaction ~ Days + (Days | Subject)"


def kept_by_the_loop(fit: Fit, loop: Fit, term: str, forecast: pd.DataFrame) -> np.ndarray:
    """The loop's variance along the directions of the forecast, over the fit's."""
    effects = fit.varcorr[term].index
    rows = forecast[(forecast["term"] == term) & forecast["kept"].notna()]
    result = []
    for text in rows["direction"]:
        weights = parse(text, list(effects))
        here = weights @ fit.varcorr[term].to_numpy() @ weights
        result.append(weights @ loop.varcorr[term].to_numpy() @ weights / here)
    return np.array(result)


def parse(text: str, effects: list[str]) -> np.ndarray:
    """Read a combination of effects back: ``"-0.308 (Intercept) + Days"``."""
    weights, sign = np.zeros(len(effects)), 1.0
    words = text.replace("-", "- ", 1).split() if text.startswith("-") else text.split()
    size = 1.0
    for word in words:
        if word in effects:
            weights[effects.index(word)], size, sign = sign * size, 1.0, 1.0
        elif word in "+-":
            sign = 1.0 if word == "+" else -1.0
        else:
            size = float(word)
    return weights


class TestFixedPoint:
    @given(s=st.floats(4.0, 1e6))
    def test_is_fixed_and_stable(self, s: float) -> None:
        t = float(fixed_point(s))
        assert (t / (1.0 + t)) ** 2 * s == pytest.approx(t, rel=1e-9)
        slope = 2.0 * t * s / (1.0 + t) ** 3
        assert slope <= 1.0 + 1e-6

    @given(s=st.floats(0.0, 3.99))
    def test_under_four_everything_dies(self, s: float) -> None:
        assert fixed_point(s) == 0.0
        t = s + 1.0
        for _ in range(1000):
            t = (t / (1.0 + t)) ** 2 * s
        assert t < 1e-3

    def test_at_four(self) -> None:
        assert fixed_point(4.0) == 1.0

    def test_the_factor_j_over_gamma_applied_once(self) -> None:
        s = np.array([5.0, 10.0, 100.0])
        t = fixed_point(s)
        once = t * (1.0 + t) / t  # J/γ = (1 + t) / t
        assert once == pytest.approx(1.0 + t)
        missed = s - 1.0 - once  # in units of the sampling variance: about 1/s
        assert missed * s == pytest.approx([1.91, 1.27, 1.02], abs=0.01)


class TestBalanced:
    def test_s_of_sleepstudy(self) -> None:
        forecast = pm.forecast_collapse(pm.lmer(SLEEP, pm.load_data("sleepstudy")))
        assert forecast["s"].to_list() == pytest.approx([25.230, 2.697], abs=tol("printed 3"))
        assert forecast["survives"].to_list() == [True, False]
        assert forecast["exact"].all()
        assert (forecast["error"] == 0.0).all()

    def test_a_model_will_do(self) -> None:
        fit = pm.lmer(SLEEP, pm.load_data("sleepstudy"))
        expected = pm.forecast_collapse(fit)
        pd.testing.assert_frame_equal(
            pm.forecast_collapse(sleepstudy_model()), expected, rtol=1e-6, atol=1e-9
        )

    @pytest.mark.parametrize(
        ("name", "formula"),
        [
            ("sleepstudy", SLEEP),
            ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
            ("sleepstudy", "Reaction ~ 1 + (1 | Subject)"),
            ("Dyestuff", "Yield ~ 1 + (1 | Batch)"),
            ("Rail", "travel ~ 1 + (1 | Rail)"),
            ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
            ("Machines", "score ~ Machine + (Machine | Worker)"),
            ("Orthodont", "distance ~ age + (age | Subject)"),
        ],
    )
    def test_exact_for_one_factor(self, name: str, formula: str) -> None:
        data = pm.load_data(name)
        fit = pm.lmer(formula, data)
        forecast = pm.forecast_collapse(fit)
        loop = pm.mackay(
            formula,
            data,
            update="raw",
            start=fit.theta,
            iterations=2000,
            tolerance=1e-11,
            on_collapse="continue",
        )
        assert forecast["exact"].all()
        for term in fit.varcorr:
            kept = forecast.loc[forecast["term"] == term, "kept"]
            measured = kept_by_the_loop(fit, loop, term, forecast)
            # a combination is printed with three digits
            assert measured == pytest.approx(kept.to_numpy(), rel=2e-3, abs=1e-4)
            assert sum_of_variances(fit, loop, term) == pytest.approx(kept.sum(), rel=1e-6)

    def test_exact_for_the_diagonal_rule(self) -> None:
        data = pm.load_data("sleepstudy")
        fit = pm.lmer(SLEEP, data)
        forecast = pm.forecast_collapse(fit, update="diagonal")
        loop = pm.mackay(SLEEP, data, update="diagonal", iterations=300, tolerance=1e-11)
        share = np.diag(loop.varcorr["Subject"]) / np.diag(fit.varcorr["Subject"])
        assert forecast["kept"].to_numpy() == pytest.approx(share, rel=1e-7)
        assert forecast["direction"].to_list() == ["(Intercept)", "Days"]

    def test_scaled(self) -> None:
        data = pm.load_data("sleepstudy")
        fit = pm.lmer(SLEEP, data)
        forecast = pm.forecast_collapse(fit, scale=1.75)
        loop = pm.mackay(
            SLEEP, data, update="raw", scale=1.75, start=fit.theta, iterations=3000, tolerance=1e-11
        )
        assert forecast["survives"].all()
        assert sum_of_variances(fit, loop, "Subject") == pytest.approx(
            forecast["kept"].sum(), rel=1e-6
        )


def sum_of_variances(fit: Fit, loop: Fit, term: str) -> float:
    """Sum of the loop's variances in the fit's standardised effects."""
    group = next(t.group for t in fit.model.terms if t.name == term)
    view = next(t for t in view_group(fit, group).terms if t.summary.name == term)
    return float(np.trace(view.inverse @ loop.varcorr[term].to_numpy() @ view.inverse.T))


@pytest.mark.parametrize(
    ("name", "formula", "error"),
    [
        ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", 1e-5),
        ("Pastes", "strength ~ 1 + (1 | batch / cask)", 1e-3),
        ("Machines", "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)", 1e-3),
        ("Oats", "yield ~ nitro + (1 | Block / Variety)", 1e-2),
        ("cake", "angle ~ recipe + temp + (1 | replicate) + (1 | recipe:replicate)", 1e-3),
    ],
)
def test_several_factors_within_the_stated_error(name: str, formula: str, error: float) -> None:
    data = pm.load_data(name)
    fit = pm.lmer(formula, data)
    forecast = pm.forecast_collapse(fit).set_index("term")
    loop = pm.mackay(
        formula,
        data,
        update="raw",
        start=fit.theta,
        iterations=2000,
        tolerance=1e-10,
        on_collapse="continue",
    )
    assert not forecast["exact"].any()
    for term, row in forecast.iterrows():
        measured = loop.varcorr[term].iloc[0, 0] / fit.varcorr[term].iloc[0, 0]
        assert measured == pytest.approx(row["kept"], abs=error)
        assert abs(measured - row["kept"]) <= row["error"] + 1e-9
        assert (measured > 1e-6) == row["survives"]


def test_nearly_balanced_levels() -> None:
    # one boy of Oxboys was measured at an age of his own
    formula = "height ~ age + I(age^2) + (age + I(age^2) | Subject)"
    data = pm.load_data("Oxboys")
    fit = pm.lmer(formula, data)
    forecast = pm.forecast_collapse(fit)
    loop = pm.mackay(formula, data, update="raw", start=fit.theta, on_collapse="continue")
    assert forecast["survives"].to_list() == [True, True, False]
    assert not forecast["exact"].any()
    assert sum_of_variances(fit, loop, "Subject") == pytest.approx(forecast["kept"].sum(), rel=1e-4)


def test_unbalanced_levels_keep_their_own_information() -> None:
    rng = np.random.default_rng(8)
    sizes = np.array([2, 3, 4, 5, 7, 9, 14, 20] * 3)
    g = np.repeat(np.arange(len(sizes)), sizes)
    y = 1.2 * rng.normal(size=len(sizes))[g] + rng.normal(size=len(g))
    data = pd.DataFrame({"y": y, "g": [f"g{k:02}" for k in g]})
    fit = pm.lmer("y ~ 1 + (1 | g)", data)
    row = pm.forecast_collapse(fit).iloc[0]
    loop = pm.mackay("y ~ 1 + (1 | g)", data, update="raw", start=fit.theta, tolerance=1e-9)
    measured = loop.varcorr["g"].iloc[0, 0] / fit.varcorr["g"].iloc[0, 0]
    assert not row["exact"]
    assert abs(measured - row["kept"]) < 0.01
    assert abs(measured - row["kept"]) <= row["error"]


def test_a_variance_that_is_zero_already() -> None:
    data = pm.load_data("Dyestuff2")
    forecast = pm.forecast_collapse(pm.lmer("Yield ~ 1 + (1 | Batch)", data))
    batches = [yields for _, yields in data.groupby("Batch", observed=True)["Yield"]]
    assert forecast["s"].to_list() == pytest.approx([f_oneway(*batches).statistic], rel=1e-9)
    assert not forecast["survives"].any()
    assert forecast["kept"].isna().all()


def test_exact_for_the_diagonal_rule_where_the_estimate_is_singular() -> None:
    formula = "yield ~ nitro + (nitro | Block)"
    data = pm.load_data("Oats")
    fit = pm.lmer(formula, data)
    forecast = pm.forecast_collapse(fit, update="diagonal")
    loop = pm.mackay(
        formula,
        data,
        update="diagonal",
        start=np.diag(np.diag(fit.varcorr["Block"])),
        start_noise_var=fit.sigma**2,
        iterations=2000,
        tolerance=1e-11,
        on_collapse="continue",
    )
    assert fit.singular
    assert forecast["exact"].all()
    share = np.diag(loop.varcorr["Block"]) / np.diag(fit.varcorr["Block"])
    assert forecast["kept"].to_numpy() == pytest.approx(share, rel=1e-6, abs=1e-9)
    assert forecast["survives"].to_list() == [True, False]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("Oxboys", "height ~ age + I(age^2) + (age + I(age^2) | Subject)"),
        ("Pixel", "pixel ~ day + I(day^2) + (day | Dog) + (1 | Side:Dog)"),
    ],
)
def test_the_diagonal_rule_within_the_stated_error(name: str, formula: str) -> None:
    data = pm.load_data(name)
    fit = pm.lmer(formula, data)
    forecast = pm.forecast_collapse(fit, update="diagonal").set_index("term")
    loop = pm.mackay(formula, data, update="diagonal", start=fit.theta, tolerance=1e-9)
    for term in fit.varcorr:
        rows = forecast.loc[[term]]
        share = np.diag(loop.varcorr[term]) / np.diag(fit.varcorr[term])
        assert (np.abs(rows["kept"] - share) <= rows["error"] + 1e-9).all()
        assert rows["error"].notna().all()
        assert rows["survives"].all()


def test_the_error_of_a_collapsed_loop_carries_the_forecast() -> None:
    with pytest.raises(pm.CollapseError, match="Forecast, at the REML estimate"):
        pm.mackay(SLEEP, pm.load_data("sleepstudy"), update="raw")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"update": "gamma"}, "update is 'gamma'"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": {"Dog": 1.0}}, "Dog"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: dict, message: str) -> None:
    with pytest.raises(pm.ArgumentError, match=message):
        pm.forecast_collapse(sleepstudy_model(), **arguments)


def test_an_ml_fit_is_refused() -> None:
    fit = pm.lmer(SLEEP, pm.load_data("sleepstudy"), reml=False)
    with pytest.raises(pm.ArgumentError, match="REML"):
        pm.forecast_collapse(fit)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ([2.0, -0.5], "a - 0.25 b"),
        ([-0.1, 1.0], "-0.1 a + b"),
        ([0.0, 3.0], "b"),
        ([1.0, -1.0], "a - b"),
    ],
)
def test_combinations_in_words(weights: list[float], text: str) -> None:
    assert combination(np.array(weights), ("a", "b")) == text


class TestStudy:
    """The simulation study behind the documentation's figure."""

    def test_its_loop_is_the_packages_loop(self) -> None:
        design = Design((np.ones((4, 1)), np.ones((7, 1))), (5, 4))
        rng = np.random.default_rng(5)
        sizes = np.repeat([4, 7], [5, 4])
        g = np.repeat(np.arange(9), sizes)
        y = 2.0 * rng.normal(size=9)[g] + rng.normal(size=len(g))
        batch = simulate(design, np.eye(1), 1, rng)
        sums = np.bincount(g, weights=y)
        batch.first[0] = [[sums[:5].sum()], [sums[5:].sum()]]
        batch.second[0] = [[[np.sum(sums[:5] ** 2)]], [[np.sum(sums[5:] ** 2)]]]
        batch.squares[0] = y @ y
        end = run_batch(batch, np.full((1, 1, 1), 3.0), np.ones(1), raw_rule, rounds=7)
        data = pd.DataFrame({"y": y, "g": [f"g{k}" for k in g]})
        loop = pm.mackay(
            "y ~ 1 + (1 | g)", data, update="raw", iterations=7, start=3.0, start_noise_var=1.0
        )
        assert end.V[0, 0, 0] == pytest.approx(loop.varcorr["g"].iloc[0, 0], rel=1e-10)
        assert end.noise_var[0] == pytest.approx(loop.sigma**2, rel=1e-10)

    def test_its_slopes_are_the_packages_slopes(self) -> None:
        days = np.arange(6.0)
        Z = np.column_stack([np.ones(6), days])
        design = Design((Z,), (8,))
        rng = np.random.default_rng(6)
        b = rng.normal(size=(8, 2)) * [2.0, 0.8]
        y = b @ Z.T + rng.normal(size=(8, 6))
        c = y @ Z
        batch = simulate(design, np.eye(2), 1, rng)
        batch.first[0, 0] = c.sum(axis=0)
        batch.second[0, 0] = c.T @ c
        batch.squares[0] = np.sum(y**2)
        start = np.diag([4.0, 1.0])
        end = run_batch(batch, start[None], np.ones(1), raw_rule, rounds=5)
        data = pd.DataFrame(
            {"y": y.ravel(), "x": np.tile(days, 8), "g": np.repeat([f"g{k}" for k in range(8)], 6)}
        )
        loop = pm.mackay(
            "y ~ x + (x | g)", data, update="raw", iterations=5, start=start, start_noise_var=1.0
        )
        assert end.V[0] == pytest.approx(loop.varcorr["g"].to_numpy(), rel=1e-9)

    def test_measured_is_predicted_where_the_design_is_balanced(self) -> None:
        study = STUDIES[1]
        table = run_study(study, count=20)
        ratio = table["s"] / table["noise_ratio"]
        assert ((ratio >= 4.0) == table["survives"]).all()
        alive = table[table["survives"]]
        s = alive["s"] / alive["noise_ratio"]
        predicted = fixed_point(s) * alive["noise_ratio"] / (alive["s"] - 1.0)
        assert alive["kept"].to_numpy() == pytest.approx(predicted, rel=1e-4)

    def test_its_chance_of_survival(self) -> None:
        study = STUDIES[1]
        assert threshold(study) == pytest.approx(4.0 * 126 / (126 - 8.5))
        measured = run_study(study, count=60).groupby("snr")["survives"].mean()
        expected = survival_chance(study, measured.index.to_numpy())
        spread = np.sqrt(expected * (1.0 - expected) / 60) + 0.01
        assert (np.abs(measured - expected) < 4.0 * spread).all()
