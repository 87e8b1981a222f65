"""What rests on refits of models with a residual structure: bootstrap and influence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    teeth = pm.load_data("Orthodont")
    return teeth.assign(visit=((teeth["age"] - 6) / 2).astype(int))


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    residual = "varident(Sex) + ar1(visit | Subject)"
    return pm.lmer("distance ~ age * Sex + (1 | Subject)", data, residual=residual)


@pytest.fixture(scope="module")
def mmrm(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer("distance ~ Sex * factor(visit)", data, residual="us(visit | Subject)")


def estimates(fit: pm.Fit) -> pd.Series:
    return pd.concat(
        [
            pd.Series({"sigma": fit.sigma}),
            fit.residual_covariance.par,
            fit.beta,
        ]
    )


@pytest.mark.parametrize("which", ["fit", "mmrm"])
def test_each_refit_of_the_bootstrap_is_a_fit_to_the_drawn_response(which, request):
    fit = request.getfixturevalue(which)
    drawn = fit.simulate(3, seed=11)
    again = fit.bootstrap(3, seed=11)
    assert again.converged.all()
    for k, column in enumerate(drawn):
        alone = estimates(fit.refit(drawn[column].to_numpy()))
        ours = again.replicates.iloc[k][alone.index]
        scale = np.maximum(np.abs(alone), 1.0)
        assert np.abs((ours - alone) / scale).max() < tol("tight")
    pd.testing.assert_series_equal(
        again.estimate[estimates(fit).index], estimates(fit), check_names=False
    )


def test_the_spread_of_the_bootstrap_is_that_of_the_wald_intervals(mmrm):
    drawn = mmrm.bootstrap(200, seed=5)
    assert drawn.n_failed == 0
    expected = mmrm.std_error
    ratio = (drawn.std_error[expected.index] / expected).to_numpy()
    np.testing.assert_allclose(ratio, 1.0, atol=4.0 / np.sqrt(2.0 * 200))
    ends = mmrm.confint("boot", nsim=20, seed=5)
    assert list(ends.index) == list(mmrm.confint("wald").index)


@pytest.mark.parametrize("which", ["fit", "mmrm"])
def test_influence_is_that_of_fits_without_each_group(which, request, data):
    fit = request.getfixturevalue(which)
    found = fit.influence()
    assert found.by == "Subject"
    assert found.failed == ()
    for label in ("M09", "F10"):
        rest = data[data["Subject"].astype(str) != label]
        alone = pm.lmer(fit.formula, rest, residual=fit.residual_covariance.text)
        gap = (found.beta.loc[label] - alone.beta) / alone.std_error
        assert np.abs(gap).max() < tol("tight")
        par = alone.residual_covariance.par
        np.testing.assert_allclose(found.theta.loc[label, par.index], par, atol=tol("tight"))
        change = (fit.beta - alone.beta).to_numpy()
        cooks = change @ np.linalg.solve(fit.vcov.to_numpy(), change) / len(change)
        np.testing.assert_allclose(found.cooks_distance[label], cooks, rtol=1e-4)


def test_influence_of_rows_and_of_what_is_not_there(data):
    four = data[data["Subject"].isin(["M01", "M02", "M03", "F01", "F02"])]
    fit = pm.lmer("distance ~ age", four, residual="ar1(visit | Subject)")
    assert fit.influence("row").beta.shape == (20, 2)
    with pytest.raises(pm.ArgumentError, match="'row', 'Subject'"):
        fit.influence("Sex")


def test_a_stratum_that_only_one_group_has_is_told(data):
    one = data.assign(machine=np.where(data["Subject"].astype(str) == "M01", "b", "a"))
    fit = pm.lmer("distance ~ age + (1 | Subject)", one, residual="varident(machine)")
    assert fit.influence().failed == ("M01",)


def test_other_kinds_of_bootstrap_are_refused(mmrm):
    with pytest.raises(pm.ArgumentError, match="kind must be 'parametric'"):
        mmrm.bootstrap(10, kind="residual")
