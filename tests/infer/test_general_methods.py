"""Every public method of a fit of a generalised model works, or refuses and names the cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from journeys import assert_same, journeys_of, methods_besides
from scipy import integrate, stats
from tolerances import tol

import pymackay as pm
from pymackay.late import LateMethod

FORMULA = "cbind(died, lived) ~ dose + f + (1 | g)"

WORKS: dict[str, Callable[[pm.Fit, pd.DataFrame, Path], Any]] = {
    "_repr_html_": lambda fit, data, folder: fit._repr_html_(),
    "aic": lambda fit, data, folder: fit.aic,
    "anova": lambda fit, data, folder: fit.anova(smaller(data)),
    "augment": lambda fit, data, folder: fit.augment(data),
    "bic": lambda fit, data, folder: fit.bic,
    "bootstrap": lambda fit, data, folder: fit.bootstrap(2, seed=1).replicates,
    "coef": lambda fit, data, folder: fit.coef()["g"],
    "coefficients": lambda fit, data, folder: fit.coefficients(),
    "condvar": lambda fit, data, folder: fit.condvar["g"],
    "confint": lambda fit, data, folder: fit.confint("wald"),
    "contrast": lambda fit, data, folder: fit.contrast({"dose": 1.0}),
    "df": lambda fit, data, folder: fit.df,
    "drop1": lambda fit, data, folder: with_data(fit, data).drop1(),
    "effects_of": lambda fit, data, folder: fit.effects_of(data.head(9))["g"],
    "glance": lambda fit, data, folder: fit.glance(),
    "has_residual": lambda fit, data, folder: fit.has_residual,
    "influence": lambda fit, data, folder: fit.influence().beta,
    "loglik": lambda fit, data, folder: fit.loglik,
    "model_matrix": lambda fit, data, folder: fit.model_matrix(data.head(4)),
    "n_obs": lambda fit, data, folder: fit.n_obs,
    "par": lambda fit, data, folder: fit.par,
    "pev": lambda fit, data, folder: fit.pev["g"],
    "power": lambda fit, data, folder: fit.power("dose", nsim=2, seed=1),
    "predict": lambda fit, data, folder: fit.predict(data.head(9), se_fit=True),
    "profile": lambda fit, data, folder: fit.profile("dose", points=3).frame,
    "random_effects_pca": lambda fit, data, folder: fit.random_effects_pca()["g"],
    "random_tests": lambda fit, data, folder: fit.random_tests(),
    "refit": lambda fit, data, folder: fit.refit(data["lived"]).beta,
    "replace": lambda fit, data, folder: fit.replace(sigma=1.0).sigma,
    "residuals_of": lambda fit, data, folder: fit.residuals_of("pearson"),
    "save": lambda fit, data, folder: pm.load_fit(fit.save(folder / "again.fit")).beta,
    "simulate": lambda fit, data, folder: fit.simulate(2, seed=1),
    "std_error": lambda fit, data, folder: fit.std_error,
    "summary": lambda fit, data, folder: fit.summary().coefficients,
    "tidy": lambda fit, data, folder: fit.tidy(),
    "variance_test": lambda fit, data, folder: fit.variance_test("g"),
}
REFUSES: dict[str, tuple[Callable[[pm.Fit], Any], str]] = {
    "condvar_error": (lambda fit: fit.condvar_error(), "fit.condvar"),
    "evaluate": (lambda fit: fit.evaluate(fit.theta), "evaluate_glmer"),
}
"""Methods that linear models alone have, and the cure that they name."""

FUNCTIONS = {
    "forecast_collapse": pm.forecast_collapse,
}


def smaller(data: pd.DataFrame) -> pm.Fit:
    return pm.glmer("cbind(died, lived) ~ f + (1 | g)", data, "binomial")


def with_data(fit: pm.Fit, data: pd.DataFrame) -> pm.Fit:
    """Return the fit, or where a file did not keep the data, which `drop1` needs, another one."""
    return fit if fit.problem.model.given else pm.glmer(FORMULA, data, "binomial")


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    random = np.random.default_rng(4)
    n = 90
    data = pd.DataFrame({"g": np.arange(n) % 15, "dose": random.normal(size=n)})
    data["f"] = random.choice(["a", "b"], n)
    eta = 0.5 * data["dose"] - 0.4 + 0.8 * random.normal(size=15)[data["g"]]
    data["died"] = random.binomial(7, 1.0 / (1.0 + np.exp(-eta)))
    data["lived"] = 7 - data["died"]
    return data


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    return pm.glmer(FORMULA, data, "binomial")


@pytest.fixture(scope="module")
def states(fit: pm.Fit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pm.Fit]:
    return journeys_of(fit, tmp_path_factory.mktemp("fits"))


def test_methods_without_an_entry_refuse(fit):
    for name in methods_besides({**WORKS, **REFUSES}):
        with pytest.raises(pm.PymackayError, match="not there for generalised"):
            getattr(fit, name)()


def test_a_method_that_does_not_know_generalised_models_refuses(fit, monkeypatch):
    """What is new is refused until it says that it knows such fits."""
    monkeypatch.setattr(pm.Fit, "newest", LateMethod("math", "sin"), raising=False)
    with pytest.raises(pm.PymackayError, match="sin is not there for generalised"):
        fit.newest()


@pytest.mark.parametrize("state", ["saved", "pickled", "copied"])
@pytest.mark.parametrize("name", WORKS)
def test_each_method_works_after_a_journey_too(name, state, fit, states, data, tmp_path):
    ours, theirs = (WORKS[name](f, data, tmp_path) for f in (states[state], fit))
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", REFUSES)
def test_other_methods_refuse_and_name_the_cure(name, fit):
    call, cure = REFUSES[name]
    with pytest.raises(pm.PymackayError, match=cure):
        call(fit)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_linear_models_refuse(name, fit):
    with pytest.raises(pm.PymackayError, match="not there for generalised"):
        FUNCTIONS[name](fit)


def test_choices_that_are_not_there_are_refused(fit, data):
    for call in (
        lambda: fit.confint("bayes"),
        lambda: fit.anova(type=4),
        lambda: fit.contrast({"dose": 1.0}, ddf="Kenward-Roger"),
        lambda: fit.drop1(ddf="Kenward-Roger"),
        lambda: fit.coefficients("Satterthwaite"),
        lambda: fit.summary(ddf="Kenward-Roger"),
        lambda: fit.predict(data, interval="prediction"),  # without numbers of trials
        lambda: fit.predict(data, interval="prediction", weights="lived", type="link"),
        lambda: fit.predict(data, type="terms"),
        lambda: fit.residuals_of("partial"),
        lambda: fit.save("somewhere.fit", rows=False),
        lambda: fit.anova(pm.glmer(FORMULA, data, pm.Binomial("probit"), determinant="observed")),
    ):
        with pytest.raises(pm.PymackayError):
            call()


def test_predictions(fit, data):
    own = fit.predict()
    np.testing.assert_allclose(own, fit.fitted, rtol=tol("oracle"))
    link = fit.predict(type="link")
    np.testing.assert_allclose(link, fit.general.linear_predictor, rtol=tol("oracle"))
    new = data.head(3).assign(g=[0, 1, 99])
    with pytest.raises(pm.DataError, match="99"):
        fit.predict(new)
    table = fit.predict(new, type="link", allow_new_levels=True, se_fit=True)
    population = fit.predict(new, type="link", re_form="~0", se_fit=True)
    assert table["fit"].iloc[2] == pytest.approx(population["fit"].iloc[2])
    variance = population["se"].iloc[2] ** 2 + fit.varcorr["g"].iloc[0, 0]
    assert table["se"].iloc[2] ** 2 == pytest.approx(variance)
    limits = fit.predict(new, allow_new_levels=True, interval="confidence", level=0.9)
    assert (limits["lower"] < limits["fit"]).all() and (limits["fit"] < limits["upper"]).all()
    assert limits.to_numpy().min() > 0.0 and limits.to_numpy().max() < 1.0


DENSITIES = {
    "binomial": (lambda k, mu, fit: stats.binom.cdf(np.round(7 * k), 7, mu), "binomial"),
    "poisson": (lambda k, mu, fit: stats.poisson.cdf(k, mu), "poisson"),
    "Gamma": (
        lambda k, mu, fit: stats.gamma.cdf(k, 1 / fit.sigma**2, scale=mu * fit.sigma**2),
        pm.Gamma("log"),
    ),
    "inverse.gaussian": (
        lambda k, mu, fit: stats.invgauss.cdf(k, mu * fit.sigma**2, scale=fit.sigma**-2),
        pm.InverseGaussian("log"),
    ),
    "gaussian": (
        lambda k, mu, fit: stats.norm.cdf(k, mu, fit.sigma), pm.Gaussian("log")
    ),
    "negative binomial": (
        lambda k, mu, fit: stats.nbinom.cdf(
            k, fit.general.shape, fit.general.shape / (fit.general.shape + mu)
        ),
        pm.NegativeBinomial(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DENSITIES)
def test_prediction_intervals_hold_their_share(name, data):
    """By the integral of the family's distribution function over the linear predictor."""
    cdf, family = DENSITIES[name]
    draw = np.random.default_rng(1)
    response = {"binomial": data["died"], "poisson": data["died"]}
    mean = np.exp(0.5 + 0.3 * data["dose"])
    response["negative binomial"] = draw.negative_binomial(2.0, 2.0 / (2.0 + mean))
    y = response.get(name, draw.gamma(4.0, mean / 4.0))
    left = "cbind(y, 7 - y)" if name == "binomial" else "y"
    fit = pm.glmer(f"{left} ~ dose + (1 | g)", data.assign(y=y), family)
    new = pd.DataFrame({"dose": [0.3, -1.0], "g": [3, 99], "m": 7.0})
    weights = {"weights": "m"} if name == "binomial" else {}
    given = {"allow_new_levels": True}
    limits = fit.predict(new, interval="prediction", level=0.9, **weights, **given)
    link = fit.predict(new, type="link", se_fit=True, **given)
    step = 1e-6 if name in ("Gamma", "inverse.gaussian", "gaussian") else 1.0
    step /= 7.0 if name == "binomial" else 1.0

    def share(k: float, center: float, sd: float) -> float:
        def value(z: float) -> float:
            mu = fit.general.family.mean(np.array([center + z * sd]))[0]
            return stats.norm.pdf(z) * cdf(k, mu, fit)

        return integrate.quad(value, -9.0, 9.0, epsabs=1e-10, limit=200)[0]

    for row in range(2):
        at = (link["fit"][row], link["se"][row])
        for end, wanted in (("lower", 0.05), ("upper", 0.95)):
            k = limits[end][row]
            assert share(k + 0.5 * step / 1e3, *at) >= wanted - 1e-7
            assert share(k - step, *at) < wanted + 1e-7


def test_prediction_intervals_of_own_rows_and_of_the_population(fit, data):
    own = fit.predict(interval="prediction")
    held = data.assign(m=7.0)
    new = fit.predict(held, interval="prediction", weights="m")
    pd.testing.assert_frame_equal(own, new)
    assert np.isin(np.round(7.0 * own["upper"].to_numpy(), 9), np.arange(8)).all()
    population = fit.predict(held, interval="prediction", weights="m", re_form="~0")
    stranger = fit.predict(
        held.assign(g=99), interval="prediction", weights="m", allow_new_levels=True
    )
    pd.testing.assert_frame_equal(population, stranger)
    falling = pm.glmer("lived + 1 ~ dose + (1 | g)", data, "Gamma")
    with pytest.raises(pm.PymackayError, match="'log'"):
        falling.predict(interval="prediction")


def test_standard_errors_of_effects_are_the_roots_of_pev(fit, data):
    """A row of z alone has the error of its effect, whose variance is `pev`."""
    rows = data.drop_duplicates("g")
    table = fit.predict(rows, type="link", random_only=True, se_fit=True)
    levels = [fit.ranef["g"].index.get_loc(str(g)) for g in rows["g"]]
    np.testing.assert_allclose(table["se"] ** 2, fit.pev["g"][levels, 0, 0], rtol=tol("oracle"))


def test_simulated_responses_have_the_mean_and_spread_of_the_model(fit, data):
    given = fit.simulate(4000, seed=1, re_form=None)
    assert given.to_numpy().min() >= 0 and given.to_numpy().max() <= 7
    error = np.sqrt(7 * fit.fitted * (1 - fit.fitted) / 4000)
    assert (np.abs(given.mean(axis=1) - 7 * fit.fitted) < 5 * error).all()
    drawn = fit.simulate(4000, seed=1)
    assert (drawn.var(axis=1) > given.var(axis=1)).mean() > 0.8


def test_residuals(fit):
    np.testing.assert_allclose(
        (fit.residuals_of() ** 2).sum(), fit.general.deviance, rtol=tol("oracle")
    )
    share = fit.general.observed.y
    np.testing.assert_allclose(fit.residuals_of("response"), share - fit.fitted)


def test_summary_and_tables_show_no_residual(fit):
    text = str(fit.summary())
    assert "Family: binomial  ( logit )" in text and "Residual " not in text
    assert "Residual" not in repr(fit) and "z value" in text
    assert "Residual" not in set(fit.tidy()["group"])
    assert list(fit.coefficients().columns) == ["Estimate", "Std. Error", "z value", "Pr(>|z|)"]
    assert fit.glance()["deviance"].iloc[0] == pytest.approx(fit.general.deviance)
