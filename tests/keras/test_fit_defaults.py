"""What `pm.keras` does unless it is told otherwise: first variances, curvature, polishing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import pymackay as pm
from pymackay.keras.evidence import Evidence
from pymackay.keras.network.groups import WeightGroups
from pymackay.keras.network.rows import TrainingRows


def data(n=60, columns=4):
    generator = np.random.default_rng(3)
    x = generator.normal(size=(n, columns))
    return x, 2.0 * x[:, 0] + generator.normal(size=n)


def model(hidden: int = 0, activation: str = "tanh", columns: int = 4) -> keras.Model:
    keras.utils.set_random_seed(2)
    layers = [keras.Input((columns,))]
    if hidden:
        layers.append(keras.layers.Dense(hidden, activation=activation, name="hidden"))
    return keras.Sequential([*layers, keras.layers.Dense(1, name="output")])


def begun(network: keras.Model, groups: dict[str, str]) -> Evidence:
    evidence = Evidence(WeightGroups(network, groups))
    evidence.groups.attach()
    evidence.begin(TrainingRows(*data()))
    return evidence


@pytest.mark.parametrize(
    ("hidden", "activation", "linear"),
    [(0, "", True), (3, "tanh", False), (3, "relu", False), (3, "linear", False)],
)
def test_a_model_is_linear_in_its_weights_or_not(hidden, activation, linear):
    network = model(hidden, activation)
    before = network.get_weights()
    evidence = begun(network, {"output": "output"})
    assert evidence.linear is linear
    for weights, same in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, same)


@pytest.mark.parametrize(("hidden", "share"), [(0, 1.0), (3, 0.03)])
def test_the_first_variance_is_a_share_of_that_of_the_responses(hidden, share):
    evidence = begun(model(hidden), {"output": "output"})
    variance = data()[1].var()
    np.testing.assert_allclose(variance * evidence.roots[0] ** 2, [[share * variance]])


def test_curvature_by_blocks_where_layers_are_hidden_and_large():
    assert begun(model(100), {"hidden": "hidden"}).plan.kind == "block"
    assert begun(model(5), {"hidden": "hidden"}).plan.kind == "exact"


def test_a_network_with_hidden_layers_is_left_as_it_was_trained():
    weights = []
    for options in ({}, {"polish": False}, {"polish": True, "rounds": 2}):
        network = model(3)
        pm.keras.fit(network, *data(), {"hidden": "hidden"}, epochs=6, **options)
        weights.append(np.concatenate([w.reshape(-1) for w in network.get_weights()]))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[2] - weights[1]).max() > 1e-3


def test_a_model_that_is_linear_in_its_weights_is_polished():
    result = pm.keras.fit(model(), *data(), {"output": "output"}, epochs=2)
    again = pm.keras.fit(model(), *data(), {"output": "output"}, epochs=0)
    assert result.converged
    np.testing.assert_allclose(result.groups["sd"], again.groups["sd"], rtol=1e-3)
