"""What goes wrong is named, with a cure."""

from __future__ import annotations

import tracemalloc

import keras
import numpy as np
import pytest
from keras_models import intercepts_model, small_data, small_network

import pymackay as pm
from pymackay.keras.evidence import Evidence
from pymackay.keras.messages import collect_messages

GROUPS = {
    "table": {"weights": "table", "covariance": "full"},
    "rest": ["hidden", "hidden/bias", "output"],
}


def message(result, part):
    """Return the one message that contains a text."""
    matching = [text for text in result.messages if part in text]
    assert len(matching) == 1, result.messages
    return matching[0]


def test_an_unfinished_training_is_named():
    x, level, y = small_data()
    model = small_network()
    model.compile(keras.optimizers.SGD(1e-6), loss="mse")
    options = {"epochs": 2, "start_after": 1, "curvature": "exact"}
    result = pm.keras.fit(model, [x, level], y, GROUPS, polish=False, **options)
    assert "Train for more epochs" in message(result, "not at the mode")
    polished = pm.keras.fit(model, [x, level], y, GROUPS, polish=True, **options)
    assert not [text for text in polished.messages if "not at the mode" in text]


def test_a_normalised_layer_is_named():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, name="scaled")(inputs)
    normal = keras.layers.BatchNormalization(name="norm")(hidden)
    output = keras.layers.Dense(1, name="output")(keras.layers.Activation("relu")(normal))
    model = keras.Model(inputs, output)
    x = np.random.default_rng(0).normal(size=(30, 3))
    groups = {"scaled": "scaled", "output": "output"}
    result = pm.keras.fit(model, x, x[:, 0], groups, epochs=0, rounds=2)
    assert "Group 'scaled'" in message(result, "followed by a normalisation")


@pytest.mark.parametrize(("activation", "named"), [("relu", True), ("tanh", False)])
def test_a_size_that_can_move_into_a_layer_without_a_prior_is_named(activation, named):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, activation=activation, name="hidden")(inputs)
    dropped = keras.layers.Dropout(0.1)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, name="output")(dropped))
    evidence = Evidence(pm.keras.WeightGroups(model, {"hidden": "hidden"}))
    assert ["Put output into a group" in text for text in collect_messages(evidence)] == (
        [True] if named else []
    )


def test_several_outputs_and_groups_of_another_model_are_refused():
    inputs = keras.Input((3,))
    heads = [keras.layers.Dense(1, name=name)(inputs) for name in ("one", "two")]
    model = keras.Model(inputs, heads)
    groups = pm.keras.WeightGroups(model, {"one": "one"})
    with pytest.raises(pm.ArgumentError, match="has 2 outputs"):
        pm.keras.MacKay(groups)
    other = keras.Model(inputs, heads[0])
    with pytest.raises(pm.ArgumentError, match="another model"):
        pm.keras.fit(other, np.ones((4, 3)), np.ones(4), groups)


@pytest.mark.parametrize("curvature", ["probes", "diagonal"])
def test_memory_grows_with_the_weights_and_not_with_their_square(curvature):
    """80,000 weights: their square would need 51 GB."""
    model = intercepts_model({"one": 40_000, "two": 40_000}, 1)
    level = np.arange(500, dtype="int32")
    y = np.random.default_rng(0).normal(size=500)
    x = [np.ones((500, 1)), level, level[::-1].copy()]
    tracemalloc.start()
    options = {"epochs": 0, "curvature": curvature, "rounds": 1}
    pm.keras.fit(model, x, y, {"one": "one", "two": "two"}, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2000 * 80_000  # bytes: probes keep some tens of vectors


def test_weights_that_no_data_inform_are_held_and_named():
    x, level, y = small_data()
    model = intercepts_model({"table": 9}, 2)  # four levels are used by no row
    before = model.get_layer("table").embeddings.numpy()[5:]
    result = pm.keras.fit(model, [x, level], y, {"x": "fixed"}, epochs=0, curvature="exact")
    assert "4 weights without a prior" in message(result, "not determined")
    np.testing.assert_allclose(model.get_layer("table").embeddings.numpy()[5:], before, atol=1e-12)


def test_unused_rows_of_a_table_with_a_prior_shrink_to_zero():
    x, level, y = small_data()
    model = small_network(table=9)
    pm.keras.fit(model, [x, level], y, GROUPS, epochs=0, curvature="exact", rounds=3)
    np.testing.assert_allclose(model.get_layer("table").embeddings.numpy()[5:], 0.0, atol=1e-9)


def test_regularizers_outside_the_groups_are_named():
    inputs = keras.Input((3,))
    free = keras.layers.Dense(2, kernel_regularizer="l2", name="free")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="output")(free))
    x = np.random.default_rng(0).normal(size=(30, 3))
    result = pm.keras.fit(model, x, x[:, 0], {"output": "output"}, epochs=0, rounds=2)
    assert "Put it into a group" in message(result, "regularizer of its own")


@pytest.mark.parametrize(
    ("curvature", "part"), [("diagonal", "leaves out"), ("probes", "random probes")]
)
def test_approximations_are_named(curvature, part):
    x, level, y = small_data()
    result = pm.keras.fit(
        small_network(), [x, level], y, GROUPS, epochs=0, curvature=curvature, rounds=2
    )
    assert "Use curvature=" in message(result, part)
    assert result.curvature == f"{curvature}, as asked"


def test_a_network_with_more_weights_than_rows_is_named():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(6, 8)), generator.normal(size=6)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, name="linear")])
    groups = {"linear": {"weights": "linear", "start": 1e6}}
    result = pm.keras.fit(model, x, y, groups, epochs=0, rounds=1, curvature="exact")
    assert "more rows" in message(result, "as many effective weights")


def test_a_fit_without_y_or_with_other_lengths_is_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="linear")])
    x = np.zeros((4, 2))
    for y, part in ((None, "y is missing"), (np.zeros(3), "has 3")):
        with pytest.raises(pm.PymackayError, match=part):
            pm.keras.fit(model, x, y, {"linear": "linear"}, epochs=0)
    with pytest.raises(pm.PymackayError, match="sample_weight"):
        pm.keras.fit(model, x, np.zeros(4), {"linear": "linear"}, sample_weight=-np.ones(4))
