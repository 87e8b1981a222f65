"""Influence by refits, simulated residuals and the panel of checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table
from tolerances import tol

import pymackay as pm
from pymackay.infer.checks.smooth import smooth
from pymackay.reference.columns import table
from pymackay.reference.r.session import session

SLEEP = "Reaction ~ Days + (Days | Subject)"
CROSSED = "y ~ x + f + (x | g) + (1 | h)"


@pytest.fixture(scope="module")
def fit() -> pm.Fit:
    return pm.lmer(SLEEP, pm.load_data("sleepstudy"))


@pytest.fixture(scope="module")
def crossed() -> pm.Fit:
    return pm.lmer(CROSSED, crossed_table(), weights="w", offset="o")


@pytest.fixture(scope="module")
def probe():
    session().call("source", str(Path(__file__).parents[1] / "support" / "checks_probe.R"))
    return lambda name, *arguments: session().call(name, *arguments).value


@pytest.mark.live
@pytest.mark.parametrize(
    ("formula", "rows", "group"),
    [
        (SLEEP, lambda: pm.load_data("sleepstudy"), "Subject"),
        ("y ~ x + f + (1 | g) + (1 | h)", lambda: crossed_table().reset_index(drop=True), "h"),
    ],
)
def test_influence_is_that_of_lme4(formula: str, rows: Any, group: str, probe: Any) -> None:
    rows = rows()
    theirs = probe("probe_deleted", formula, table(rows), group)
    result = pm.lmer(formula, rows).influence(group)
    levels = list(theirs["levels"])  # in the order of the rows
    assert sorted(result.beta.index) == sorted(levels)
    beta, dfbetas = result.beta.loc[levels], result.dfbetas.loc[levels]
    rtol = tol("lme4 stops")
    sd = beta.std().to_numpy()
    np.testing.assert_allclose(beta / sd, np.atleast_2d(theirs["beta"]) / sd, atol=rtol * 10)
    np.testing.assert_allclose(result.sigma[levels] ** 2, theirs["sigma2"], rtol=rtol)
    np.testing.assert_allclose(result.cooks_distance[levels], theirs["cooks"], rtol=10 * rtol)
    # lme4's sign is the other one
    np.testing.assert_allclose(-dfbetas, np.atleast_2d(theirs["dfbetas"]), atol=1e-3)


@pytest.mark.parametrize("by", ["g", "h", "row"])
def test_each_refit_is_that_of_the_other_rows(crossed: pm.Fit, by: str) -> None:
    data = crossed_table()
    result = crossed.influence(by)
    for unit in result.beta.index[[0, 3]]:
        others = data[(data.index if by == "row" else data[by]) != unit]
        expected = pm.lmer(CROSSED, others, weights="w", offset="o")
        assert_near(result.beta.loc[unit], expected.beta, expected.std_error)
        assert result.sigma[unit] == pytest.approx(expected.sigma, rel=tol("tight"))
        change = (crossed.beta - expected.beta).to_numpy()
        distance = change @ np.linalg.solve(crossed.vcov, change) / len(change)
        assert result.cooks_distance[unit] == pytest.approx(distance, rel=1e-4)
        np.testing.assert_allclose(
            result.dfbetas.loc[unit], change / expected.std_error, rtol=1e-3, atol=1e-5
        )


def assert_near(found: pd.Series, wanted: pd.Series, scale: pd.Series) -> None:
    np.testing.assert_allclose(found / scale, wanted / scale, rtol=0.0, atol=tol("tight"))


def test_a_coefficient_of_the_unit_alone_is_nan() -> None:
    data = crossed_table().assign(special=lambda d: (d["g"] == "g3").astype(float))
    result = pm.lmer("y ~ x + special + (1 | h)", data).influence("h")
    assert result.beta["special"].notna().all()
    result = pm.lmer("y ~ x + special + (1 | g)", data).influence("g")
    assert result.beta["special"].isna().tolist() == [k == "g3" for k in result.beta.index]
    assert result.beta["x"].notna().all()


def test_a_group_that_cannot_be_left_out_is_named() -> None:
    data = crossed_table().assign(side=lambda d: np.where(d.index % 2 == 0, "l", "r"))
    result = pm.lmer("y ~ x + (1 | g) + (1 | side)", data).influence("side")
    assert result.failed == ("l", "r") and result.sigma.isna().all()
    assert "Not fitted without: l, r." in repr(result)


def test_unknown_units_are_refused(fit: pm.Fit) -> None:
    with pytest.raises(pm.ArgumentError, match=r"by is 'Days', but must be 'row' or .* Subject"):
        fit.influence("Days")


def test_a_simulated_residual_is_the_share_of_simulations_below(crossed: pm.Fit) -> None:
    result = pm.simulated_residuals(crossed, 40, seed=3)
    drawn = crossed.simulate(40, 3)
    y = crossed.problem.model.y
    np.testing.assert_array_equal(result.scaled, (drawn.to_numpy() < y[:, None]).mean(axis=1))
    spread = (drawn.sub(result.fitted, axis=0)).var(ddof=1)
    ratio = (pd.Series(y, index=result.fitted.index) - result.fitted).var(ddof=1) / spread.mean()
    assert result.tests.loc["dispersion", "statistic"] == pytest.approx(ratio, rel=1e-12)


@pytest.mark.live
def test_tests_of_simulated_residuals_are_rs(fit: pm.Fit, probe: Any) -> None:
    result = pm.simulated_residuals(fit, 100, seed=1)
    x = result.scaled.to_numpy()
    outside = int(((x == 0.0) | (x == 1.0)).sum())
    uniform, outliers = probe("probe_uniform", x, outside, 2.0 / 101.0)
    assert result.tests.loc["outliers", "p.value"] == pytest.approx(outliers, rel=1e-9)
    # R's is the limit's, because of ties; scipy's is exact
    assert result.tests.loc["uniformity", "p.value"] == pytest.approx(uniform, abs=0.05)


def grouped(noise: Any, n: int = 1200, seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": np.arange(n) % 60, "x": rng.uniform(-1.0, 1.0, n)})
    data["y"] = 3.0 * data["x"] + rng.normal(size=60)[data["g"]] + noise(rng, data["x"].to_numpy())
    return data


KINDS = {
    "right": lambda rng, x: rng.normal(size=len(x)),
    "curve": lambda rng, x: rng.normal(size=len(x)) + 2.0 * x**2,
    "spread": lambda rng, x: rng.normal(size=len(x)) * np.exp(0.8 * x),
    "tails": lambda rng, x: rng.standard_t(3, size=len(x)),
    "skew": lambda rng, x: rng.exponential(size=len(x)) - 1.0,
}


@pytest.fixture(scope="module")
def checks() -> dict[str, pm.Fit]:
    return {kind: pm.lmer("y ~ x + (1 | g)", grouped(noise)) for kind, noise in KINDS.items()}


def test_each_check_finds_what_it_is_for(checks: dict[str, pm.Fit]) -> None:
    result = {kind: pm.check(fit) for kind, fit in checks.items()}
    p = pd.DataFrame({kind: check.p_values for kind, check in result.items()})
    assert (p.loc[["mean", "variance", "normal residuals", "normal effects"], "right"] > 0.01).all()
    assert p.loc["mean", "curve"] < 1e-4 and "a curve" in result["curve"].sentences["mean"]
    assert p.loc["variance", "spread"] < 1e-4
    assert "heavier tails" in result["tails"].sentences["normal residuals"]
    assert "Residuals" in repr(result["skew"]) and p.loc["normal residuals", "skew"] < 1e-6


def test_simulated_residuals_find_a_skewed_response(checks: dict[str, pm.Fit]) -> None:
    p = {kind: pm.simulated_residuals(checks[kind], seed=1).tests["p.value"] for kind in
         ("right", "skew")}  # fmt: skip
    assert (p["right"] > 0.01).all()
    assert p["skew"]["outliers"] < 1e-3


def test_the_approximate_distance_is_near_the_exact_one(fit: pm.Fit) -> None:
    near = pm.check(fit).influence["Subject"]
    exact = fit.influence().cooks_distance[near.index]
    np.testing.assert_allclose(near, exact, rtol=0.4)
    assert near.index[:4].tolist() == exact.sort_values(ascending=False).index[:4].tolist()


def test_predicted_effects_are_scaled_to_unit_variance(checks: dict[str, pm.Fit]) -> None:
    (effects,) = pm.check(checks["right"]).effects.values()
    assert np.std(effects) == pytest.approx(1.0, abs=0.05)


def test_a_singular_fit_is_checked() -> None:
    result = pm.check(pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2")))
    assert result.sentences["normal effects"] == "No random effect varies enough to say."
    assert len(result.plot().axes) == 6
    plt.close("all")


@pytest.mark.live
def test_curves_are_tested_as_rs_natural_splines(probe: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = x + 0.3 * x**2 + rng.normal(size=200)
    knots = np.quantile(x, np.linspace(0.05, 0.95, 6))
    result = smooth(x, y)
    expected = probe("probe_spline", x, y, knots)
    assert result is not None
    np.testing.assert_allclose([result.p_curve, result.p_any], expected, rtol=1e-8)


def test_pictures_are_drawn(fit: pm.Fit) -> None:
    result = fit.influence()
    ax = result.plot()
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == result.cooks_distance.sort_values().index.tolist()
    ax = pm.simulated_residuals(fit).plot()
    assert "uniformity p" in ax.get_title(loc="left")
    figure = pm.check(fit).plot()
    assert [a.get_title(loc="left") for a in figure.axes][:2] == [
        "Mean: residuals over fitted values", "Variance: sizes of residuals",
    ]  # fmt: skip
    plt.close("all")
