"""Every public method of a fit of a generalised model works, or refuses and names the cure."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
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
    "variance_gap": pm.variance_gap,
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
    path = fit.save(tmp_path_factory.mktemp("fits") / "one.fit")
    return {
        "saved": pm.load_fit(path),
        "pickled": pickle.loads(pickle.dumps(fit)),
        "copied": copy.deepcopy(fit),
    }


def other_methods() -> list[str]:
    """Return the methods of a fit that have no entry above: they must refuse without one."""
    fields = set(pm.Fit.__dataclass_fields__)
    public = {name for name in vars(pm.Fit) if not name.startswith("_")} | {"_repr_html_"}
    return sorted(public - fields - set(WORKS) - set(REFUSES))


def test_methods_without_an_entry_refuse(fit):
    for name in other_methods():
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
    assert type(ours) is type(theirs)
    if isinstance(ours, pd.DataFrame):
        pd.testing.assert_frame_equal(pd.DataFrame(ours), pd.DataFrame(theirs), rtol=1e-9)
    elif isinstance(ours, pd.Series):
        pd.testing.assert_series_equal(ours, theirs, rtol=1e-9)
    elif isinstance(ours, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


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
        lambda: fit.predict(data, interval="prediction"),
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
