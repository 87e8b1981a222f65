"""Likelihoods: derivatives, Keras' losses, sample weights, modes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras_models import small_data, small_network
from scipy.optimize import minimize
from tolerances import tol

import pymackay as pm
from pymackay.keras.network.likelihoods import LIKELIHOODS, mean

GROUPS = {
    "table": {"weights": "table", "covariance": "full"},
    "rest": ["hidden", "hidden/bias", "output"],
}


def responses(name, outputs, seed=4, n=7):
    """Return predictors f (n, K) and responses y (n, K)."""
    generator = np.random.default_rng(seed)
    f = generator.normal(size=(n, outputs))
    if name == "bernoulli":
        return f, generator.integers(0, 2, (n, outputs)).astype(float)
    if name == "categorical":
        return f, np.eye(outputs)[generator.integers(0, outputs, n)]
    if name == "poisson":
        return f, generator.poisson(1.5, (n, outputs)).astype(float)
    return f, generator.normal(size=(n, outputs))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_scores_and_curvature_are_derivatives_of_the_deviance(name):
    family = LIKELIHOODS[name]
    f, y = responses(name, 3)
    step = 1e-5
    score = (mean(family, f, y) - y) if name != "gaussian" else (f - y)
    moved = np.empty((3, *f.shape))
    curvature = np.empty((len(f), 3, 3))
    for k in range(3):
        up, down = f.copy(), f.copy()
        up[:, k] += step
        down[:, k] -= step
        slope = (family.deviance(up, y) - family.deviance(down, y)) / (2 * step)
        np.testing.assert_allclose(0.5 * slope, score[:, k], atol=1e-8)
        moved[k] = (mean(family, up, y) - mean(family, down, y)) / (2 * step)
        curvature[:, k] = moved[k]
    root = family.root(f)
    if root.ndim == 2:
        root = root[:, :, None] * np.eye(3)
    np.testing.assert_allclose(root @ root.transpose(0, 2, 1), curvature, atol=1e-8)


LOSSES = {
    "gaussian": (keras.losses.MeanSquaredError(), lambda f: f, 1.0, 3),
    "bernoulli": (keras.losses.BinaryCrossentropy(from_logits=True), lambda f: f, 0.5, 3),
    "categorical": (keras.losses.CategoricalCrossentropy(from_logits=True), lambda f: f, 0.5, 1),
    "poisson": (keras.losses.Poisson(), np.exp, 0.5, 3),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_deviances_change_as_the_losses_of_keras(name):
    """The deviance is the loss times rows (and outputs), up to what depends on y alone."""
    loss, link, factor, per_row = LOSSES[name]
    f, y = responses(name, 3)
    other = f + 0.3
    differences = []
    for g in (f, other):
        value = float(loss(y, link(g))) * len(f) * per_row
        differences.append(factor * LIKELIHOODS[name].deviance(g, y).sum() - value)
    assert differences[0] == pytest.approx(differences[1], abs=2e-4)


ACTIVATIONS = {"bernoulli": "sigmoid", "categorical": "softmax", "poisson": "exponential"}


def network_and_data(name):
    outputs = 3 if name == "categorical" else 1
    x, level, eta = small_data(n=60)
    generator = np.random.default_rng(8)
    if name == "categorical":
        y = generator.integers(0, 3, 60)
    elif name == "poisson":
        y = generator.poisson(np.exp(0.5 * eta)).astype(float)
    else:
        y = (generator.random(60) < 1 / (1 + np.exp(-eta))).astype(float)
    return small_network(outputs, ACTIVATIONS[name]), [x, level], y


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_loop_ends_at_a_mode_of_the_penalised_loss(name):
    """At the end, Keras' own loss with its penalties has no slope, and γ is within bounds."""
    model, x, y = network_and_data(name)
    result = pm.keras.fit(
        model, x, y, GROUPS, likelihood=name, epochs=1, curvature="exact", polish=True, rounds=25
    )
    assert np.isfinite(result.log_evidence)
    assert result.noise == 1.0
    assert result.groups["gamma"].between(0.0, result.groups["n"]).all()
    assert any("quasi-likelihood" in message for message in result.messages)
    before = model.evaluate(x, y, batch_size=60, verbose=0)
    weights = model.get_weights()
    model.optimizer.learning_rate = 1e-3
    model.fit(x, y, batch_size=60, epochs=3, verbose=0)
    assert model.evaluate(x, y, batch_size=60, verbose=0) > before - 1e-3
    model.set_weights(weights)


def test_logits_and_means_give_the_same():
    model, x, y = network_and_data("bernoulli")
    logits = small_network(1, "linear")
    results = [
        pm.keras.fit(one, x, y, GROUPS, likelihood="bernoulli", epochs=0, curvature="exact")
        for one in (model, logits)
    ]
    np.testing.assert_allclose(
        results[0].groups.iloc[:, 1:].to_numpy(float),
        results[1].groups.iloc[:, 1:].to_numpy(float),
        rtol=1e-9,
    )


def test_bernoulli_weights_at_given_variances_are_those_of_a_general_optimiser():
    """One round from a fixed prior: the mode of the penalised likelihood, by BFGS."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(50, 4))
    y = (generator.random(50) < 1 / (1 + np.exp(-x @ [1.0, -1.0, 0.5, 0.0]))).astype(float)
    layer = keras.layers.Dense(1, name="linear", dtype="float64", use_bias=False)
    model = keras.Sequential([keras.Input((4,), dtype="float64"), layer])
    groups = {"linear": {"weights": "linear", "start": 0.5}}
    pm.keras.fit(model, x, y, groups, likelihood="bernoulli", epochs=0, update=lambda moments: 0.5)
    mode = minimize(
        lambda w: np.sum(np.logaddexp(0, x @ w) - y * (x @ w)) + w @ w,
        np.zeros(4),
        method="BFGS",
        options={"gtol": 1e-10},
    )
    np.testing.assert_allclose(layer.kernel.numpy()[:, 0], mode.x, atol=1e-6)


def test_sample_weights_count_rows():
    """A row of weight two is two rows."""
    x, level, y = small_data(n=30)
    groups = {"table": "table", "rest": ["hidden", "hidden/bias", "output"]}
    weight = np.where(np.arange(30) < 10, 2.0, 1.0)
    twice = np.r_[np.arange(30), np.arange(10)]
    results = [
        pm.keras.fit(
            small_network(),
            inputs,
            response,
            groups,
            epochs=0,
            curvature="exact",
            rounds=5,
            sample_weight=weights,
        )
        for inputs, response, weights in (
            ([x, level], y, weight),
            ([x[twice], level[twice]], y[twice], None),
        )
    ]
    np.testing.assert_allclose(
        results[0].trace.to_numpy(), results[1].trace.to_numpy(), rtol=tol("network")
    )


@pytest.mark.parametrize(
    ("likelihood", "y", "part"),
    [
        ("poisson", -np.ones(40), "from 0"),
        ("bernoulli", 2.0 * np.ones(40), "from 0 to 1"),
        ("gaussian", np.full(40, np.nan), "finite"),
        ("gaussian", np.ones((40, 2)), "2 columns per row"),
        ("normal", np.ones(40), "must be one of"),
    ],
)
def test_responses_that_do_not_fit_are_refused(likelihood, y, part):
    x, level, _ = small_data()
    with pytest.raises(pm.ArgumentError, match=part):
        pm.keras.fit(small_network(), [x, level], y, GROUPS, likelihood=likelihood, epochs=0)
