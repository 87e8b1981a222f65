"""Profiles beside a residual structure, against the dense likelihood of the reported parameters.

The oracle writes down the n x n covariance from the parameters by their names. At each point of a
profile −2 log likelihood must be the minimum plus zeta², and flat in all parameters but the held.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

CASES = {
    "random and ar1": ("distance ~ age + (1 | Subject)", "varident(Sex) + ar1(visit | Subject)"),
    "slopes": ("distance ~ age + (1 + age | Subject)", "varident(Sex)"),
    "us": ("distance ~ age", "us(visit | Subject)"),
    "ou": ("distance ~ age", "ou(age | Subject)"),
    "cs": ("distance ~ age", "cs(visit | Subject)"),
    "toep": ("distance ~ age", "toep(visit | Subject, hom = TRUE)"),
}


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    teeth = pm.load_data("Orthodont")
    teeth = teeth.assign(visit=((teeth["age"] - 6) / 2).astype(int))
    return teeth[(np.arange(len(teeth)) + 1) % 7 != 4].reset_index(drop=True)


@pytest.fixture(scope="module")
def profiles(data: pd.DataFrame) -> dict[str, pm.Profile]:
    return {
        name: pm.profile(pm.lmer(formula, data, residual=residual, reml=False), points=3)
        for name, (formula, residual) in CASES.items()
    }


def covariance(par: Mapping[str, float], data: pd.DataFrame) -> np.ndarray:
    """Return the covariance of the responses, (n, n), of parameters by the names of `confint`."""
    visit, n = data["visit"].to_numpy(), len(data)
    lag = np.abs(visit[:, None] - visit)
    sd = np.full(n, par[".sigma"])
    if "varident.Female" in par:
        sd = sd * np.where(data["Sex"].astype(str) == "Female", par["varident.Female"], 1.0)
    for k in (2, 3, 4):
        sd = sd * np.where(visit == k, par.get(f"sd.{k}", 1.0), 1.0)
    R = np.eye(n)
    if "ar1.rho" in par:
        R = par["ar1.rho"] ** lag
    if "ou.rho" in par:
        R = par["ou.rho"] ** (2.0 * lag)
    if "cs.rho" in par:
        R = np.where(lag > 0, par["cs.rho"], 1.0)
    if "toep.rho1" in par:
        R = np.array([1.0, *(par[f"toep.rho{k}"] for k in (1, 2, 3))])[lag]
    if "cor.1.2" in par:
        among = np.eye(4)
        for i in range(1, 5):
            for j in range(i + 1, 5):
                among[i - 1, j - 1] = among[j - 1, i - 1] = par[f"cor.{i}.{j}"]
        R = among[visit - 1][:, visit - 1]
    subject = data["Subject"].astype(str).to_numpy()
    same = subject[:, None] == subject
    V = R * same * np.outer(sd, sd)
    if ".sig03" in par:
        a, rho, b = (par[f".sig0{k}"] for k in (1, 2, 3))
        Z = np.column_stack([np.ones(n), data["age"]])
        V = V + (Z @ np.array([[a * a, rho * a * b], [rho * a * b, b * b]]) @ Z.T) * same
    elif ".sig01" in par:
        V = V + par[".sig01"] ** 2 * same
    return V


def deviance(par: Mapping[str, float], data: pd.DataFrame) -> float:
    V = covariance(par, data)
    e = data["distance"].to_numpy() - par["(Intercept)"] - par["age"] * data["age"].to_numpy()
    sign, logdet = np.linalg.slogdet(2.0 * np.pi * V)
    return float(logdet + e @ np.linalg.solve(V, e)) if sign > 0 else np.inf


@pytest.mark.parametrize("case", CASES)
def test_every_point_is_the_optimum_with_one_parameter_held(case, profiles, data):
    found = profiles[case]
    estimates = found.estimates
    minimum = deviance(estimates, data)
    np.testing.assert_allclose(minimum, found.fit.criterion, atol=tol("tight criterion"))
    assert set(found.frame["parameter"]) == set(estimates.index)
    for row in found.frame.to_dict("records"):
        held = row["parameter"]
        par = {name: row[name] for name in estimates.index}
        if case == "slopes" and not (par[".sig03"] > 1e-3 and abs(par[".sig02"]) < 0.999):
            continue  # at a bound the reported parameters have slopes of their own
        assert abs(deviance(par, data) - minimum - row["zeta"] ** 2) < tol("profile rise")
        for name in par:
            if name == held:
                continue
            step = 1e-4 * max(abs(par[name]), 0.1)
            high, middle, low = (
                deviance({**par, name: par[name] + move}, data) for move in (step, 0.0, -step)
            )
            curvature = (high - 2.0 * middle + low) / step**2
            slope = (high - low) / (2.0 * step)
            assert abs(slope) / np.sqrt(max(curvature, 1e-12)) < tol("two searches"), (held, name)


@pytest.mark.parametrize("case", CASES)
def test_points_lie_in_order_and_at_their_zeta(case, profiles):
    for _, points in profiles[case].frame.groupby("parameter"):
        assert points["value"].is_monotonic_increasing
        inside = points["zeta"].abs().isin([0.0]) | np.isclose(points["zeta"].abs(), 3.0)
        assert inside.all() or case == "slopes"


def test_intervals_are_the_values_at_the_quantile(profiles, data):
    fit = profiles["us"].fit
    ends = fit.confint(parm=["cor.2.4", "sd.3", ".sigma"])
    assert list(ends.index) == [".sigma", "sd.3", "cor.2.4"]
    by_reml = pm.lmer("distance ~ age", data, residual="us(visit | Subject)").confint(
        parm=["cor.2.4", "sd.3", ".sigma"]
    )
    np.testing.assert_allclose(ends, by_reml, rtol=tol("tight"))
    curve = pm.profile(fit, "cor.2.4", max_zeta=1.959963984540054, points=3).frame
    np.testing.assert_allclose(ends.loc["cor.2.4"], curve["value"].iloc[[0, 2]], rtol=1e-7)


def test_a_correlation_that_the_data_do_not_need_ends_at_zero():
    noise = pd.DataFrame({"y": np.sin(7.0 * np.arange(60.0) ** 2), "t": np.arange(60) % 6})
    noise["g"] = np.arange(60) // 6
    fit = pm.lmer("y ~ 1", noise, residual="ou(t | g)", reml=False)
    low, high = fit.confint(parm="ou.rho").iloc[0]
    assert low < 1e-12
    assert 0.0 < high < 0.7
