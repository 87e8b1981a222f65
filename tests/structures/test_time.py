"""``ou(0 + f | g)``: correlations by the time between effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

DAYS = [0, 1, 2, 4, 5, 7, 8, 9]
FORMULA = "Reaction ~ Days + ou(0 + t | Subject)"


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    data = pm.load_data("sleepstudy")
    data = data[data["Days"].isin(DAYS)]
    return data.assign(t=pd.Categorical(data["Days"].astype(int)))


@pytest.mark.parametrize(
    ("reml", "criterion", "sd", "rho", "sigma"),
    [
        (True, 1388.8020635855, 46.431961472, 0.905430118, 15.620038305),
        (False, 1397.5710753268, 45.086480726, 0.902789962, 15.828891984),
    ],
)
def test_glmmtmb_finds_the_same(
    sleep: pd.DataFrame, reml: bool, criterion: float, sd: float, rho: float, sigma: float
) -> None:
    """GlmmTMB 1.1.5 (started there) says so, and nlme's gls with corExp and a nugget.

    ``glmmTMB(Reaction ~ Days + ou(0 + numFactor(Days) | Subject), d, REML = reml, start =
    list(theta = c(log(46), log(.1)), betad = log(15^2)))``; it stops about 1e-7 from the optimum.
    """
    fit = pm.lmer(FORMULA, sleep, reml=reml)
    assert fit.convergence.converged
    assert fit.criterion == pytest.approx(criterion, abs=tol("tight criterion"))
    found_sd = float(np.sqrt(fit.varcorr["Subject"].iloc[0, 0]))
    assert [found_sd, fit.par.iloc[1], fit.sigma] == pytest.approx([sd, rho, sigma], rel=1e-6)
    correlation = fit.varcorr["Subject"].to_numpy() / found_sd**2
    expected = rho ** np.abs(np.subtract.outer(DAYS, DAYS)).astype(float)
    np.testing.assert_allclose(correlation, expected, rtol=tol("tight"))


def test_equal_gaps_are_the_positive_ar1(sleep: pd.DataFrame) -> None:
    data = pm.load_data("sleepstudy")
    data = data.assign(t=pd.Categorical(data["Days"].astype(int)))
    by_time = pm.lmer(FORMULA, data)
    by_place = pm.lmer(FORMULA.replace("ou", "ar1"), data)
    assert by_time.criterion == pytest.approx(by_place.criterion, abs=tol("tight criterion"))
    np.testing.assert_allclose(by_time.par.to_numpy(), by_place.par.to_numpy(), rtol=tol("tight"))
    np.testing.assert_allclose(
        by_time.coefficients().to_numpy(), by_place.coefficients().to_numpy(), rtol=tol("tight")
    )


def test_what_follows_from_a_fit_knows_the_times(sleep: pd.DataFrame, tmp_path: Path) -> None:
    fit = pm.lmer(FORMULA, sleep)
    assert fit.model.terms[0].times == tuple(map(float, DAYS))
    again = pm.load_fit(fit.save(tmp_path / "a.fit"))
    pd.testing.assert_series_equal(again.par, fit.par)
    assert again.evaluate(fit.theta).criterion == pytest.approx(fit.criterion, abs=1e-9)
    loop = pm.mackay(FORMULA, sleep)
    assert loop.criterion == pytest.approx(fit.criterion, abs=tol("tight criterion"))
    refitted = fit.refit(2.0 * sleep["Reaction"])
    np.testing.assert_allclose(refitted.par.to_numpy(), fit.par.to_numpy(), rtol=tol("tight"))
    assert fit.simulate(3, seed=1).shape == (144, 3)
    assert "(ou)" in str(fit.summary())


@pytest.mark.parametrize(
    "term",
    ["ou(Days | Subject)", "ou(t | Subject)", "ou(0 + u | Subject)", "ou(0 + w | Subject)"],
)
def test_effects_without_times_are_refused(sleep: pd.DataFrame, term: str) -> None:
    levels = sorted(DAYS, reverse=True)
    data = sleep.assign(
        u="day " + sleep["Days"].astype(str),
        w=pd.Categorical(sleep["Days"].astype(int), categories=levels),
    )
    with pytest.raises(pm.DataError, match="levels are numbers in ascending order"):
        pm.lmer(f"Reaction ~ Days + {term}", data)
