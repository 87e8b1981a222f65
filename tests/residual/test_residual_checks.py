"""`check`, `r2`, `icc`, the variance gap and `power` of models with residual structures.

The dense answers write V down, n x n, from the estimates.
"""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tolerances import tol

import pymackay as pm

BOTH = "distance ~ age * Sex + (1 | Subject)"
VISITS = "distance ~ Sex * factor(visit)"
STRUCTURE = "varident(Sex) + ar1(visit | Subject)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    teeth = pm.load_data("Orthodont")
    teeth = teeth.assign(visit=((teeth["age"] - 6) / 2).astype(int))
    return teeth.assign(w=np.random.default_rng(2).uniform(0.5, 2.0, len(teeth)))


@pytest.fixture(scope="module")
def mixed(data: pd.DataFrame) -> pm.Fit:
    """Random intercepts, strata, correlations, weights, and missing visits."""
    some = data[(np.arange(len(data)) + 1) % 7 != 4]
    return pm.lmer(BOTH, some, residual=STRUCTURE, weights="w")


@pytest.fixture(scope="module")
def mmrm(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer(VISITS, data, residual="us(visit | Subject)")


def dense_residual(fit: pm.Fit, data: pd.DataFrame) -> np.ndarray:
    """Return R of `mixed`, (n, n), absolute, rows in order of the data."""
    rows = data.loc[fit.residuals.index]
    part = fit.residual_covariance
    sd = part.sd[rows["Sex"].astype(str)].to_numpy() / np.sqrt(rows["w"].to_numpy())
    lag = np.abs(np.subtract.outer(rows["visit"].to_numpy(), rows["visit"].to_numpy()))
    subject = rows["Subject"].astype(str).to_numpy()
    return np.outer(sd, sd) * part.par["ar1.rho"] ** lag * (subject[:, None] == subject)


def test_checked_residuals_are_independent(mixed, data):
    R = dense_residual(mixed, data)
    whitened = np.linalg.solve(np.linalg.cholesky(R), mixed.residuals.to_numpy())
    np.testing.assert_allclose(pm.check(mixed).residuals, whitened, atol=tol("oracle"))


def test_approximate_influence_is_the_score_of_the_marginal_model(mixed, data):
    """``s_j = X_j'[V⁻¹(y − Xβ)]_j``, with V of all rows; Cook's distance is ``s'vcov s / p``."""
    rows = data.loc[mixed.residuals.index]
    subject = rows["Subject"].astype(str).to_numpy()
    V = dense_residual(mixed, data) + mixed.varcorr["Subject"].iat[0, 0] * (
        subject[:, None] == subject
    )
    X = np.column_stack([np.ones(len(rows)), rows["age"], rows["Sex"] == "Female"]).astype(float)
    X = np.column_stack([X, X[:, 1] * X[:, 2]])
    score = X * np.linalg.solve(V, rows["distance"] - X @ mixed.beta.to_numpy())[:, None]
    ours = pm.check(mixed).influence["Subject"]
    for level, distance in ours.items():
        s = score[subject == level].sum(axis=0)
        np.testing.assert_allclose(distance, s @ mixed.vcov @ s / 4, rtol=tol("oracle"))


def test_groups_of_residuals_are_checked_where_there_are_no_random_effects(mmrm, data):
    found = pm.check(mmrm)
    plain = pm.check(pm.lmer("distance ~ age + (1 | Subject)", data))
    same = pm.check(pm.lmer("distance ~ age", data, residual="cs(1 | Subject, hom = TRUE)"))
    ours, theirs = (each.influence["Subject"].sort_index() for each in (same, plain))
    pd.testing.assert_series_equal(ours, theirs, rtol=tol("two searches"))
    assert found.sentences["normal effects"] == "There are no random effects."
    assert "Subject" in found.sentences["influence"]
    alone = pm.check(pm.lmer("distance ~ age", data, residual="varident(Sex)"))
    assert alone.sentences["influence"].startswith("There are no groups")
    for each in (found, alone):
        labels = {ax.get_ylabel() for ax in each.plot().axes}
        assert "whitened residual" in labels
        plt.close("all")


def test_a_wrong_structure_shows_in_the_check():
    """The variance grows with the mean: whitening by one variance leaves the trend."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(60), 4)
    x = rng.uniform(0.0, 3.0, 240)
    y = x + rng.normal(size=60)[group] * 0.2 + rng.normal(size=240) * np.exp(0.6 * x - 2.0)
    rows = pd.DataFrame({"y": y, "x": x, "g": group, "visit": np.tile([1, 2, 3, 4], 60)})
    fit = pm.lmer("y ~ x", rows, residual="ar1(visit | g)")
    assert pm.check(fit).p_values["variance"] < 1e-3
    rows["y"] = x + rng.normal(size=240)
    fit = pm.lmer("y ~ x", rows, residual="ar1(visit | g)")
    assert pm.check(fit).p_values["variance"] > 1e-3


def test_shares_of_variance_have_the_mean_residual_variance(mixed, data):
    R = dense_residual(mixed, data)
    effects = mixed.ranef["Subject"]["(Intercept)"]
    names = data.loc[mixed.residuals.index, "Subject"].astype(str)
    fixed = (mixed.fitted - effects[names].to_numpy()).var(ddof=1)
    random, residual = mixed.varcorr["Subject"].iat[0, 0], np.diag(R).mean()
    total = fixed + random + residual
    expected = [fixed / total, (fixed + random) / total]
    np.testing.assert_allclose(pm.r2(mixed), expected, rtol=tol("oracle"))
    adjusted = random / (random + residual)
    expected = [adjusted, random / total, adjusted]
    np.testing.assert_allclose(pm.icc(mixed), expected, rtol=tol("oracle"))


def test_shares_of_variance_without_random_effects(mmrm):
    variance = mmrm.fitted.var(ddof=1)
    residual = float(np.diag(mmrm.residual_covariance.covariance).mean())
    share = variance / (variance + residual)
    np.testing.assert_allclose(pm.r2(mmrm), [share, share], rtol=tol("oracle"))
    with pytest.raises(pm.PymackayError, match="residual_covariance"):
        pm.icc(mmrm)
    with pytest.raises(pm.ArgumentError, match="method is 'delta'"):
        pm.r2(mmrm, method="delta")


def test_icc_of_compound_symmetry_is_that_of_a_random_intercept(data):
    plain = pm.icc(pm.lmer("distance ~ age + (1 | Subject)", data))
    same = pm.icc(pm.lmer("distance ~ age", data, residual="cs(1 | Subject, hom = TRUE)"))
    pd.testing.assert_series_equal(same, plain, rtol=tol("two searches"))
    fit = pm.lmer("distance ~ age", data, residual="cs(visit | Subject)")
    rho = fit.residual_covariance.par["cs.rho"]
    np.testing.assert_allclose(pm.icc(fit)[["adjusted", "Subject"]], rho, rtol=tol("oracle"))


@pytest.mark.parametrize("reml", [True, False])
def test_the_variance_gap_closes_beside_residual_structures(reml, data):
    fit = pm.lmer(BOTH, data, residual=STRUCTURE, reml=reml)
    gap = pm.variance_gap(fit).iloc[0]
    assert abs(gap["residue"]) < tol("variance gap") * gap["variance"]
    assert 0.1 < gap["hidden_share"] < 0.5
    elsewhere = fit.replace(varcorr={"Subject": 1.1 * fit.varcorr["Subject"]})
    assert abs(pm.variance_gap(elsewhere)["residue"].iloc[0]) > 0.05 * gap["variance"]


def test_there_is_no_gap_without_random_effects(mmrm):
    with pytest.raises(pm.PymackayError, match="the model has none"):
        pm.variance_gap(mmrm)


def test_simulated_residuals_are_shares_of_simulated_responses(mmrm, data):
    ours = pm.simulated_residuals(mmrm, 100, seed=3)
    drawn = mmrm.simulate(100, seed=3)
    share = drawn.lt(data["distance"], axis=0).mean(axis=1)
    np.testing.assert_allclose(ours.scaled, share)
    assert ours.tests.loc["uniformity", "p.value"] > 1e-3


def test_power_in_closed_form(mmrm):
    """All visits are there: the test of a difference at one visit is the t test of two samples."""
    nsim, place = 100, "SexFemale"
    error = mmrm.std_error[place]
    sizes = [0.0, 2.0 * error, 4.0 * error]
    result = pm.power(mmrm, place, sizes, nsim=nsim, seed=4)
    critical = stats.t.isf(0.025, 25)
    for size, row in zip(sizes, result.to_dict("records"), strict=True):
        noncentral = stats.nct(25, size / error)
        true = noncentral.sf(critical) + noncentral.cdf(-critical)
        assert abs(row["power"] - true) < 6.0 * np.sqrt(true * (1.0 - true) / nsim) + 1e-12


@pytest.mark.parametrize(("test", "df"), [(None, None), ("z", None), ("t", 20.0), ("lr", None)])
def test_power_is_the_share_of_single_studies(test, df, mixed, data):
    nsim, size = 8, 0.3
    result = mixed.power("age", [size], nsim=nsim, seed=9, test=test, df=df)
    beta = mixed.beta.copy()
    beta["age"] = size
    drawn = mixed.replace(beta=beta).simulate(nsim, seed=9)
    hits = 0
    for column in drawn:
        rows = data.loc[drawn.index].assign(distance=drawn[column])
        study = pm.lmer(BOTH, rows, residual=STRUCTURE, weights="w")
        if test == "lr":
            rows["both"] = rows["age"] * (rows["Sex"] == "Female")
            large, small = (
                pm.lmer(f"{formula} + (1 | Subject)", rows, residual=STRUCTURE, weights="w",
                        reml=False).criterion
                for formula in ("distance ~ Sex + both + age", "distance ~ Sex + both")
            )  # fmt: skip
            hits += stats.chi2.sf(small - large, 1) < 0.05
        else:
            t = study.beta["age"] / study.std_error["age"]
            freedom = study.coefficients().loc["age", "df"] if test is None else df
            hits += 2.0 * stats.t.sf(abs(t), freedom or np.inf) < 0.05
    assert result["significant"].tolist() == [hits]
    assert 0 < hits < nsim


def test_power_refuses_what_it_cannot_do(mixed):
    with pytest.raises(pm.ArgumentError, match="effect is 'height'"):
        mixed.power("height")
    with pytest.raises(pm.ArgumentError, match="test"):
        mixed.power("age", test="kr")
    with pytest.raises(pm.ArgumentError, match="df is None"):
        mixed.power("age", test="t")
