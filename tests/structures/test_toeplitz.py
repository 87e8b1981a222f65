"""``toep(0 + f | g)``: a correlation for each distance of columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.covariance.kinds.toeplitz import Toeplitz

FORMULA = "score ~ Machine + toep(0 + Machine | Worker)"
SHARED = "score ~ Machine + toep(0 + Machine | Worker, hom = TRUE)"


@pytest.fixture(scope="module")
def machines() -> pd.DataFrame:
    return pm.load_data("Machines")


@pytest.fixture(scope="module")
def fit(machines: pd.DataFrame) -> pm.Fit:
    return pm.lmer(FORMULA, machines)


@pytest.mark.parametrize(
    ("formula", "reml", "criterion", "sd", "correlation", "sigma"),
    [
        (FORMULA, True, 208.3348565314, [4.045958175, 8.625291693, 4.426268622],
         [0.786804604, 0.622279118], 0.961552607),
        (FORMULA, False, 216.4466281305, [3.686699622, 7.870515954, 4.034034300],
         [0.788475702, 0.624404760], 0.961541528),
        (SHARED, True, 215.1611378673, [6.450607] * 3, [0.615855, 0.812964], 0.961576637),
        (SHARED, False, 224.6377307706, [5.884208] * 3, [0.616769, 0.814170], 0.961576637),
    ],
)  # fmt: skip
def test_glmmtmb_finds_the_same(
    machines: pd.DataFrame, formula: str, reml: bool, criterion: float, sd: list[float],
    correlation: list[float], sigma: float,
) -> None:  # fmt: skip
    """GlmmTMB 1.1.5 (optim's BFGS, reltol = 1e-15) says so.

    One variance by ``map = list(theta = factor(c(1, 1, 1, 2, 3)))``, started near this optimum:
    its own start leads to another, 0.6 (REML) and 0.8 (ML) above.
    """
    fit = pm.lmer(formula, machines, reml=reml)
    assert fit.convergence.converged and not fit.messages
    assert fit.criterion == pytest.approx(criterion, abs=tol("tight criterion"))
    covariance = fit.varcorr["Worker"].to_numpy()
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), sd, rtol=2e-6)
    np.testing.assert_allclose(covariance[0, 1:] / np.prod(sd[:1]) / sd[1:], correlation, rtol=5e-6)
    assert covariance[0, 1] / (sd[0] * sd[1]) == pytest.approx(
        covariance[1, 2] / (sd[1] * sd[2]), rel=5e-6
    )
    assert fit.sigma == pytest.approx(sigma, rel=1e-6)


def test_two_effects_have_any_covariance() -> None:
    sleep = pm.load_data("sleepstudy")
    plain = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    structured = pm.lmer("Reaction ~ Days + toep(Days | Subject)", sleep)
    assert structured.criterion == pytest.approx(plain.criterion, abs=tol("tight criterion"))
    for ddf in ("Satterthwaite", "Kenward-Roger"):
        np.testing.assert_allclose(
            structured.coefficients(ddf=ddf), plain.coefficients(ddf=ddf), rtol=tol("oracle")
        )
    labels = {"cor_pacf1|Subject": "cor_Days.(Intercept)|Subject"}
    ours, expected = structured.confint(long_names=True), plain.confint(long_names=True)
    matched = expected.loc[[labels.get(label, label) for label in ours.index]]
    np.testing.assert_allclose(ours.to_numpy(), matched.to_numpy(), rtol=tol("profile"))


def test_ar1_is_one_of_them() -> None:
    """Its partial autocorrelations behind the first are zero."""
    rng = np.random.default_rng(7)
    rho = np.append(0.6, np.zeros(5))
    R = Toeplitz(True).correlation(rho, 7)
    np.testing.assert_allclose(R, 0.6 ** np.abs(np.subtract.outer(range(7), range(7))), rtol=1e-14)
    any_rho = rng.uniform(-1.0, 1.0, size=(20, 6))
    assert (np.linalg.eigvalsh(Toeplitz(True).correlation(any_rho, 7)) > 0.0).all()


def test_a_correlation_of_one_is_exact() -> None:
    """A seasonal pattern: effects two apart are the same, neighbours unrelated."""
    lower = Toeplitz(True).factor(np.array([2.0, 0.0, 1.0, 0.0]), 4)
    expected = 4.0 * np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    np.testing.assert_array_equal(lower @ lower.T, expected)
    np.testing.assert_array_equal(Toeplitz(True).par_of(lower), [2.0, 0.0, 1.0, 0.0])


def test_parameters_are_named_printed_and_saved(fit: pm.Fit, tmp_path: Path) -> None:
    machines = [f"Worker.Machine{m}" for m in "ABC"]
    assert fit.par.index.tolist() == [*machines, "Worker.pacf1", "Worker.pacf2"]
    assert "0.787 0.622 (toep)" in repr(fit) and "0.787 0.622 (toep)" in str(fit.summary())
    again = pm.load_fit(fit.save(tmp_path / "a.fit"))
    pd.testing.assert_series_equal(again.par, fit.par)
    np.testing.assert_allclose(
        again.coefficients().to_numpy(), fit.coefficients().to_numpy(), rtol=tol("oracle")
    )
    assert pm.compare(again, fit).verdict == "same optimum"


def test_columns_of_a_bootstrap_are_the_parameters(fit: pm.Fit) -> None:
    estimates = fit.bootstrap(2, seed=1).estimate
    rho = ["cor_pacf1|Worker", "cor_pacf2|Worker"]
    np.testing.assert_allclose(estimates[rho], fit.par.iloc[3:], rtol=tol("oracle"))


@pytest.mark.parametrize("update", ["em", "gamma"])
def test_the_loop_ends_at_the_optimum(machines: pd.DataFrame, fit: pm.Fit, update: str) -> None:
    loop = pm.mackay(FORMULA, machines, update=update)
    assert loop.criterion == pytest.approx(fit.criterion, abs=tol("tight criterion"))
    np.testing.assert_allclose(loop.par.to_numpy(), fit.par.to_numpy(), rtol=tol("tight"))


def test_a_profile_of_a_later_correlation_is_the_rise_of_the_deviance(
    machines: pd.DataFrame,
) -> None:
    """At the profile's ends the deviance has risen by zeta²; the others cannot do better there."""
    profile = pm.lmer(FORMULA, machines).profile("cor_pacf2|Worker", max_zeta=1.0, points=3)
    ml = pm.lmer(FORMULA, machines, reml=False)
    for value, zeta in zip(profile.frame["value"], profile.frame["zeta"], strict=True):
        par = ml.par.to_numpy().copy()
        par[-1] = value
        held = ml.evaluate(np.tril(Toeplitz().factor(par, 3)).T[np.triu_indices(3)]).criterion
        assert held >= ml.criterion + zeta**2 - tol("tight criterion")
        assert held - ml.criterion < zeta**2 + 0.2
