"""Every public method of a fit with a residual structure works, or refuses and names the cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from journeys import assert_same, journeys_of, methods_besides
from tolerances import tol

import pymackay as pm
from pymackay.late import LateMethod

FORMULA = "distance ~ age * Sex + (1 | Subject)"
RESIDUAL = "varident(Sex) + ar1(visit | Subject)"

WORKS: dict[str, Callable[[pm.Fit, pd.DataFrame, Path], Any]] = {
    "_repr_html_": lambda fit, data, folder: fit._repr_html_(),
    "aic": lambda fit, data, folder: fit.aic,
    "anova": lambda fit, data, folder: fit.anova(),
    "bic": lambda fit, data, folder: fit.bic,
    "bootstrap": lambda fit, data, folder: fit.bootstrap(3, seed=1).replicates,
    "coef": lambda fit, data, folder: fit.coef()["Subject"],
    "coefficients": lambda fit, data, folder: fit.coefficients(),
    "condvar": lambda fit, data, folder: fit.condvar["Subject"],
    "confint": lambda fit, data, folder: fit.confint("wald", parm="theta_"),
    "contrast": lambda fit, data, folder: fit.contrast({"age": 1.0}),
    "df": lambda fit, data, folder: fit.df,
    "effects_of": lambda fit, data, folder: fit.effects_of(data.head(9))["Subject"],
    "glance": lambda fit, data, folder: fit.glance(),
    "has_residual": lambda fit, data, folder: fit.has_residual,
    "influence": lambda fit, data, folder: fit.influence().table,
    "loglik": lambda fit, data, folder: fit.loglik,
    "n_obs": lambda fit, data, folder: fit.n_obs,
    "par": lambda fit, data, folder: fit.par,
    "pev": lambda fit, data, folder: fit.pev["Subject"],
    "power": lambda fit, data, folder: fit.power("age", nsim=2, seed=1),
    "predict": lambda fit, data, folder: fit.predict(data.head(9), se_fit=True),
    "profile": lambda fit, data, folder: fit.profile("ar1.rho", points=3).frame,
    "random_effects_pca": lambda fit, data, folder: fit.random_effects_pca()["Subject"],
    "refit": lambda fit, data, folder: fit.refit(2.0 * data["distance"]).beta,
    "replace": lambda fit, data, folder: fit.replace(sigma=1.0).sigma,
    "residuals_of": lambda fit, data, folder: fit.residuals_of("normalized"),
    "save": lambda fit, data, folder: pm.load_fit(fit.save(folder / "again.fit")).beta,
    "simulate": lambda fit, data, folder: fit.simulate(2, seed=1),
    "std_error": lambda fit, data, folder: fit.std_error,
    "summary": lambda fit, data, folder: str(fit.summary()),
    "tidy": lambda fit, data, folder: fit.tidy(conf_int=True, ddf="Satterthwaite"),
}
FUNCTIONS: dict[str, Callable[[pm.Fit, pd.DataFrame], Any]] = {
    "compare": lambda fit, data: pm.compare(fit, fit),
    "forecast_collapse": lambda fit, data: pm.forecast_collapse(fit),
    "step": lambda fit, data: pm.step(fit),
    "to_r": lambda fit, data: pm.lme4.to_r(fit),
    "evaluate": lambda fit, data: fit.evaluate(fit.theta),
}
"""What linear models have and these do not: each says so."""
REFUSAL = r"residual structure|are not among them|not offered"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    teeth = pm.load_data("Orthodont")
    return teeth.assign(visit=((teeth["age"] - 6) / 2).astype(int))


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer(FORMULA, data, residual=RESIDUAL)


@pytest.fixture(scope="module")
def mmrm(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer("distance ~ Sex * factor(visit)", data, residual="us(visit | Subject)")


@pytest.fixture(scope="module")
def states(fit: pm.Fit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pm.Fit]:
    return journeys_of(fit, tmp_path_factory.mktemp("fits"))


@pytest.mark.parametrize("name", methods_besides({*WORKS, "evaluate"}))
def test_methods_without_an_entry_refuse(name, fit):
    with pytest.raises(pm.PymackayError, match="not available for models with a residual"):
        getattr(fit, name)()


def test_a_method_that_does_not_know_residual_structures_refuses(fit, monkeypatch):
    monkeypatch.setattr(pm.Fit, "newest", LateMethod("math", "sin"), raising=False)
    with pytest.raises(pm.PymackayError, match="sin is not available for models with a residual"):
        fit.newest()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_would_ignore_the_structure_refuse(name, fit, data):
    with pytest.raises(pm.PymackayError, match=REFUSAL):
        FUNCTIONS[name](fit, data)


@pytest.mark.parametrize("state", ["saved", "pickled", "copied"])
@pytest.mark.parametrize("name", WORKS)
def test_each_method_works_after_a_journey_too(name, state, fit, states, data, tmp_path):
    ours, theirs = (WORKS[name](f, data, tmp_path) for f in (states[state], fit))
    assert_same(ours, theirs)


def test_what_is_printed_has_the_residual_structure(fit, mmrm):
    for text in (str(fit), str(fit.summary())):
        assert "varident(Sex) + ar1(visit | Subject) within Subject (27 groups)" in text
        assert "ar1.rho" in text
    assert "Number of obs: 108" in str(mmrm.summary())
    for html in (fit._repr_html_(), mmrm.summary()._repr_html_()):
        assert "within Subject (27 groups)" in html
    sd = mmrm.residual_covariance.sd
    assert f"{sd.iloc[2]:.4g}" in str(mmrm)


def test_normalized_residuals_have_the_identity_as_covariance(mmrm):
    scaled = mmrm.residuals_of("normalized").to_numpy().reshape(27, 4)
    raw = mmrm.residuals.to_numpy().reshape(27, 4)
    factor = np.linalg.cholesky(mmrm.residual_covariance.covariance.to_numpy())
    np.testing.assert_allclose(scaled @ factor.T, raw, atol=tol("oracle"))
    pearson = raw / mmrm.residual_covariance.sd.to_numpy()
    ours = mmrm.residuals_of("pearson").to_numpy().reshape(27, 4)
    np.testing.assert_allclose(ours, pearson, rtol=tol("oracle"))


def test_saturated_mmrm_is_the_sample_covariance(mmrm, data):
    """With all visits and a mean for each sex and visit, REML's matrix is the pooled one."""
    wide = data.pivot(index="Subject", columns="visit", values="distance")
    sex = data.drop_duplicates("Subject").set_index("Subject")["Sex"].reindex(wide.index)
    away = wide - wide.groupby(sex, observed=True).transform("mean")
    pooled = (away.T @ away).to_numpy() / (len(wide) - 2)
    np.testing.assert_allclose(
        mmrm.residual_covariance.covariance.to_numpy(), pooled, rtol=tol("tight")
    )
    table = mmrm.coefficients(ddf="Satterthwaite")
    np.testing.assert_allclose(table["df"], 25.0, rtol=tol("tight"))


def test_simulated_residuals_have_the_estimated_covariance(mmrm):
    drawn = mmrm.simulate(2000, seed=4)
    noise = drawn.to_numpy() - mmrm.fitted.to_numpy()[:, None]
    groups = noise.reshape(27, 4, -1)
    covariance = np.einsum("gas,gbs->ab", groups, groups) / (27 * 2000)
    expected = mmrm.residual_covariance.covariance.to_numpy()
    np.testing.assert_allclose(covariance, expected, rtol=0.05)


def test_satterthwaite_agrees_with_derivatives_by_differences(fit):
    """``df = 2 v² / Var(v)``: v = Var(l'β) as a function of the parameters, by differences."""
    marginal, psi = fit.problem.marginal, fit.problem.psi
    n, p = fit.n_obs, len(fit.beta)
    one = marginal.basis.from_basis(np.eye(p))[1]

    def variance(at: np.ndarray) -> float:
        point = marginal.at(at[:-1])
        return float(at[-1] ** 2 * np.sum((one @ point.root) ** 2))

    def deviance(at: np.ndarray) -> float:
        point = marginal.at(at[:-1])
        nu, s2 = n - p, at[-1] ** 2
        return point.criterion - nu * (1.0 + np.log(point.sigma2)) + nu * np.log(s2) + point.r2 / s2

    start = np.append(psi, np.sqrt(fit.problem.point.sigma2))
    moves = 1e-4 * np.diag(np.maximum(np.abs(start), 0.1))
    slopes = [(variance(start + m) - variance(start - m)) / (2.0 * m.max()) for m in moves]
    curvature = np.array(
        [
            [
                (
                    deviance(start + a + b)
                    - deviance(start + a - b)
                    - deviance(start - a + b)
                    + deviance(start - a - b)
                )
                / (4.0 * a.max() * b.max())
                for b in moves
            ]
            for a in moves
        ]
    )
    spread = slopes @ (2.0 * np.linalg.inv(curvature)) @ slopes
    df = fit.coefficients()["df"].iloc[1]
    np.testing.assert_allclose(df, 2.0 * variance(start) ** 2 / spread, rtol=1e-4)


def test_models_are_compared_by_likelihood_ratio(data):
    small = pm.lmer("distance ~ age", data, residual="ar1(visit | Subject)")
    large = pm.lmer("distance ~ age", data, residual="us(visit | Subject)")
    table = pm.anova(small, large)
    assert table["Df"].iloc[1] == 8
    assert table["npar"].tolist() == [4, 12]
    middle = pm.lmer("distance ~ age", data, residual="toep(visit | Subject, hom = TRUE)")
    assert pm.anova(small, middle, large)["Df"].tolist()[1:] == [2, 6]
    other = pm.lmer("distance ~ age", data, residual="cs(visit | Subject)")
    with pytest.raises(pm.ArgumentError, match="not nested"):
        pm.anova(small, other)


def test_marginal_means_are_those_of_beta_and_vcov(mmrm):
    means = pm.emmeans(mmrm, "Sex").table
    x = np.zeros(len(mmrm.beta))
    x[0] = 1.0
    for k, name in enumerate(mmrm.beta.index):
        x[k] += 0.25 if name.startswith("factor(visit)") else 0.0
    row = means[means["Sex"].astype(str) == "Male"].iloc[0]
    np.testing.assert_allclose(row["emmean"], x @ mmrm.beta, rtol=tol("statistic"))
    np.testing.assert_allclose(row["SE"], np.sqrt(x @ mmrm.vcov @ x), rtol=tol("statistic"))


def test_tables_of_fits_name_the_structure_and_its_parameters(fit, mmrm, data):
    plain = pm.lmer("distance ~ age * Sex + (1 | Subject)", data)
    table = pm.etable([plain, fit, mmrm], digits=4)
    block = table.frame.loc["Residuals"]
    assert block.loc["Structure"].tolist() == ["", RESIDUAL, "us(visit | Subject)"]
    part, visits = fit.residual_covariance, mmrm.residual_covariance
    assert block.loc["SD Female"].tolist() == ["", f"{part.sd['Female']:.4f}", ""]
    assert block.loc["Cor ar1.rho"].tolist() == ["", f"{part.par['ar1.rho']:.4f}", ""]
    correlations = [row for row in block.index if row.startswith("Cor 1.")]
    assert correlations == ["Cor 1.2", "Cor 1.3", "Cor 1.4"]
    assert block.loc["Cor 1.3", "(3)"] == f"{visits.par['cor.1.3']:.4f}"
    assert block.loc["SD 4", "(3)"] == f"{visits.sd['4']:.4f}"
    assert list(dict.fromkeys(table.frame.index.get_level_values(0)))[-2:] == ["Residuals", "Fit"]
    shares = [f"{pm.r2(f)['marginal']:.4f}" for f in (plain, fit, mmrm)]
    assert table.frame.loc[("Fit", "R² marginal")].tolist() == shares
    assert "us(visit | Subject)" in table.to_html()
