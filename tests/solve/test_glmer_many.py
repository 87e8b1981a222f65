"""`glmer_many`: every response's fit is that of `glmer`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.solve.pirls.fit import GeneralControl

N, B = 90, 4
TO_THE_END = GeneralControl(spent=1e-17)  # standard errors are known as well as the optimum is


def design(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": random.normal(size=N),
            "g": random.integers(0, 12, N).astype(str),
            "h": random.integers(0, 6, N).astype(str),
            "m": random.integers(1, 9, N).astype(float),
        }
    )


def responses(kind: str, data: pd.DataFrame, seed: int) -> np.ndarray:
    random = np.random.default_rng(100 + seed)
    effects = 0.6 * random.normal(size=(12, B))[data["g"].astype(int)]
    eta = 0.2 + 0.5 * data["x"].to_numpy()[:, None] + effects
    mu, p = np.exp(eta), 1.0 / (1.0 + np.exp(-eta))
    trials = data["m"].to_numpy()[:, None].astype(int)
    return {
        "binomial": lambda: (random.uniform(size=p.shape) < p).astype(float),
        "trials": lambda: random.binomial(trials, p) / trials,
        "poisson": lambda: random.poisson(mu).astype(float),
        "Gamma": lambda: random.gamma(3.0, mu / 3.0),
        "negative binomial": lambda: random.negative_binomial(2, 2 / (2 + mu)).astype(float),
    }[kind]()


CASES = (
    ("binomial", "binomial", "~ x + (1 | g)", {}),
    ("trials", pm.Binomial("cloglog"), "~ x + (x | g)", {"weights": "m"}),
    ("poisson", "poisson", "~ x + (1 | g) + (1 | h)", {"subset": np.arange(N) < 80}),
    ("poisson", "poisson", "~ x + diag(1 + x | g)", {}),
    ("Gamma", pm.Gamma("log"), "~ x + (1 | g)", {}),
    ("Gamma", pm.Gamma(), "~ x + (1 | g)", {}),
    ("negative binomial", pm.NegativeBinomial(theta=2.0), "~ x + (1 | g)", {}),
    ("negative binomial", "negative binomial", "~ x + (1 | g)", {}),
    ("binomial", "binomial", "~ x + (1 | g)", {"nagq": 7}),
    ("poisson", "poisson", "~ x + (1 | g)", {"nagq": 0}),
)


@pytest.mark.parametrize(("kind", "family", "formula", "how"), CASES)
def test_each_fit_is_that_of_glmer(kind, family, formula, how):
    data = design(3)
    Y = responses(kind, data, 3)
    how = {**how, "control": TO_THE_END}
    many = pm.glmer_many(formula, data, Y, family, **how)
    assert many.converged.all() and not many.refused
    frame = many.to_frame()
    assert len(many) == len(frame) == B
    for k in range(B):
        fit = pm.glmer(f"y {formula}", data.assign(y=Y[:, k]), family, **how)
        np.testing.assert_allclose(many.beta[k], fit.beta, rtol=1e-9)
        np.testing.assert_allclose(many.std_error[k], fit.std_error, rtol=1e-7)
        np.testing.assert_allclose(many.theta[k], fit.theta, rtol=1e-7, atol=1e-12)
        assert many.criterion[k] == pytest.approx(fit.criterion, rel=1e-12)
        assert many.dispersion[k] == pytest.approx(fit.general.dispersion)
        assert many.singular[k] == fit.singular
        for name, V in fit.varcorr.items():
            np.testing.assert_allclose(many.varcorr[name][k], V, rtol=1e-7, atol=1e-12)
        assert frame.loc[k, "x"] == many.beta[k, 1]


RANDOM = (
    ("binomial", "binomial", "~ x + (1 | g)", {}),
    ("trials", pm.Binomial("probit"), "~ x + (x || g)", {"weights": "m"}),
    ("poisson", "poisson", "~ x + (x | g)", {"offset": "o"}),
    ("poisson", pm.Poisson("sqrt"), "~ x + (1 | g)", {}),
    ("Gamma", pm.Gamma("log"), "~ x + (x || g)", {}),
    ("Gamma", pm.InverseGaussian("log"), "~ x + (1 | g)", {}),
    ("Gamma", pm.Gaussian("log"), "~ x + (1 | g)", {"offset": "o"}),
    ("negative binomial", pm.NegativeBinomial(theta=2.0), "~ 1 + (1 | g)", {}),
)


@pytest.mark.filterwarnings("ignore::pymackay.ConvergenceWarning")
@pytest.mark.parametrize(("kind", "family", "formula", "how"), RANDOM)
@pytest.mark.parametrize("seed", [11, 12])
def test_side_by_side_and_one_by_one_agree_on_random_designs(kind, family, formula, how, seed):
    random = np.random.default_rng(seed)
    data = design(seed).assign(o=random.uniform(0.0, 0.3, N))
    Y = responses(kind, data, seed)
    many = pm.glmer_many(formula, data, Y, family, **how)
    for k in range(B):
        try:
            fit = pm.glmer(f"y {formula}", data.assign(y=Y[:, k]), family, **how)
        except pm.PymackayError as error:
            assert many.refused[k] == str(error)
            continue
        assert many.criterion[k] == pytest.approx(fit.criterion, rel=1e-8)
        assert many.converged[k] == fit.convergence.converged
        if fit.convergence.converged:
            distance = (many.beta[k] - fit.beta) / fit.std_error
            np.testing.assert_allclose(distance, 0.0, atol=1e-3)


def test_one_factor_needs_no_search_of_single_responses(monkeypatch):
    monkeypatch.setattr("pymackay.solve.pirls.many.fit_many.fit_general", None)
    data = design(5)
    many = pm.glmer_many("~ x + (1 | g)", data, responses("poisson", data, 5), "poisson")
    assert many.converged.all() and (many.evaluations > 1).all()


def test_names_come_from_the_table():
    data = design(1)
    Y = pd.DataFrame(responses("poisson", data, 1), columns=list("abcd"), index=data.index)
    many = pm.glmer_many("~ x + (1 | g)", data, Y[::-1], "poisson")
    assert list(many.responses) == list("abcd")
    assert list(many.to_frame().columns)[:3] == ["sd_(Intercept)|g", "(Intercept)", "x"]
    again = pm.glmer_many("~ x + (1 | g)", data, Y.to_numpy(), "poisson")
    np.testing.assert_array_equal(many.criterion, again.criterion)


def test_a_separated_response_has_no_numbers_and_a_reason():
    data = design(1)
    Y = responses("binomial", data, 1)
    Y[:, 2] = data["x"] > 0.0
    with pytest.warns(pm.ConvergenceWarning, match="1 of 4 responses have no certified optimum"):
        many = pm.glmer_many("~ x + (1 | g)", data, Y, "binomial")
    assert list(many.refused) == [2]
    assert "rises for ever" in many.refused[2]
    assert np.isnan(many.beta[2]).all() and np.isnan(many.criterion[2])
    assert list(many.converged) == [True, True, False, True]
    assert "without a fit: 1" in repr(many)


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        (np.full((N, 1), -1.0), "column 0 of Y.*negative"),
        (np.zeros((N - 1, 1)), "one row for each"),
        (np.full((N, 2), np.nan), "pymackay.glmer, each on its own rows"),
    ],
)
def test_wrong_responses_are_refused(Y, message):
    with pytest.raises(pm.PymackayError, match=message):
        pm.glmer_many("~ x + (1 | g)", design(1), Y, "poisson")
