"""The callback: minibatches, no new traces, training continued, models saved and loaded."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import small_data, small_network

import pymackay as pm
from pymackay.keras.network.rows import TrainingRows


@pytest.fixture(autouse=True)
def double_precision():
    """Losses in float64, so that penalties can be compared digit by digit."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


GROUPS = {"table": {"weights": "table", "covariance": "full"}, "hidden": "hidden"}
OPTIONS = {"every": 1, "start_after": 2, "curvature": "exact"}


class CountedLoss(keras.losses.Loss):
    """Mean squared error that counts how often it is traced."""

    def __init__(self):
        super().__init__(name="mean_squared_error")
        self.traces = 0

    def call(self, y_true, y_pred):
        self.traces += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def penalty_of(model):
    """Return the value of all regularizers."""
    return float(sum(model.losses))


def expected_penalty(evidence, n):
    """Return Σ σ² w'V⁻¹w / n over the rows of all groups."""
    total = 0.0
    for group in evidence.evidence.groups.groups:
        V = evidence.covariance[group.name].to_numpy()
        table = group.table()
        total += np.einsum("ja,ab,jb->", table, np.linalg.inv(V), table)
    return evidence.noise * total / n


def test_minibatches_train_with_the_penalties_of_the_groups():
    model = small_network()
    x, level, y = small_data()
    loss = CountedLoss()
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), **OPTIONS)
    model.fit([x, level], y, batch_size=8, epochs=6, verbose=0, callbacks=[evidence])
    traces, linear = loss.traces, evidence.evidence.linearisation.traces
    assert len(evidence.trace) == 5
    assert penalty_of(model) == pytest.approx(expected_penalty(evidence, 40), rel=1e-9)
    model.fit([x, level], y, batch_size=8, epochs=4, verbose=0, callbacks=[evidence])
    assert len(evidence.trace) == 9
    assert (loss.traces, evidence.evidence.linearisation.traces) == (traces, linear)
    assert list(evidence.groups.columns[:4]) == ["name", "n", "sd", "gamma"]


def test_a_second_fit_of_a_model_is_not_traced_again():
    x, level, y = small_data()
    model = small_network()
    loss = CountedLoss()
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    counts = []
    for _ in range(2):
        evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), **OPTIONS)
        model.fit([x, level], y, batch_size=8, epochs=3, verbose=0, callbacks=[evidence])
        counts.append((loss.traces, evidence.evidence.linearisation.traces))
    assert counts[0] == counts[1]


def test_validation_rows_take_no_part():
    x, level, y = small_data()
    traces = []
    for split in (0.25, None):
        model = small_network()
        model.compile(keras.optimizers.SGD(0.01), loss="mse")
        evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), **OPTIONS)
        rows = slice(0, 40 if split else 30)
        options = {"validation_split": split} if split else {}
        inputs = [x[rows], level[rows]]
        model.fit(
            inputs, y[rows], batch_size=40, epochs=3, verbose=0, callbacks=[evidence], **options
        )
        traces.append(evidence.trace.to_numpy())
    np.testing.assert_allclose(traces[0], traces[1], rtol=1e-9)


def test_a_dataset_gives_the_same_as_arrays():
    x, level, y = small_data()
    data = tf.data.Dataset.from_tensor_slices(((x, level), y)).batch(40)
    results = []
    for arguments in (([x, level], y), (data,)):
        model = small_network()
        model.compile(keras.optimizers.SGD(0.01), loss="mse")
        evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), **OPTIONS)
        model.fit(
            *arguments,
            epochs=3,
            verbose=0,
            batch_size=None if len(arguments) == 1 else 40,
            shuffle=False,
            callbacks=[evidence],
        )
        results.append(evidence.trace.to_numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9)


def test_fit_takes_a_dataset():
    x, level, y = small_data()
    data = tf.data.Dataset.from_tensor_slices(((x, level), y, np.ones(40))).batch(40)
    tables = []
    for arguments in (([x, level], y), (data, None)):
        model = small_network()
        model.compile(keras.optimizers.SGD(0.01), loss="mse")
        options = {"epochs": 2, "start_after": 1, "batch_size": 40, "polish": False}
        result = pm.keras.fit(model, *arguments, GROUPS, curvature="exact", **options)
        tables.append(result.trace.to_numpy())
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-9)
    endless = data.repeat()
    with pytest.raises(pm.DataError, match="without an end"):
        pm.keras.fit(small_network(), endless, None, GROUPS)


def test_a_saved_model_goes_on_from_its_penalties(tmp_path):
    x, level, y = small_data()
    model = small_network()
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), **OPTIONS)
    model.fit([x, level], y, epochs=5, verbose=0, callbacks=[evidence])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "only.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert penalty_of(loaded) == pytest.approx(penalty_of(model), rel=1e-9)
    again = pm.keras.MacKay(pm.keras.WeightGroups(loaded, GROUPS), **OPTIONS)
    again.evidence.begin(TrainingRows([x, level], y))
    for name, V in evidence.covariance.items():
        np.testing.assert_allclose(again.covariance[name], V, rtol=1e-12)
    assert again.noise == pytest.approx(evidence.noise, rel=1e-12)
    loaded.fit([x, level], y, epochs=5, verbose=0, callbacks=[again])
    assert len(again.trace) == 4
    fresh = small_network()
    pm.keras.WeightGroups(fresh, GROUPS).attach()
    fresh.load_weights(tmp_path / "only.weights.h5")
    assert penalty_of(fresh) == 0.0
    np.testing.assert_array_equal(fresh.get_weights()[0], model.get_weights()[0])


def test_float64_layers_train_where_losses_are_float32():
    keras.config.set_floatx("float32")
    x, level, y = small_data()
    model = small_network()
    model.compile("adam", loss="mse")
    evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), **OPTIONS)
    model.fit([x, level], y, epochs=3, verbose=0, callbacks=[evidence])
    assert penalty_of(model) == pytest.approx(expected_penalty(evidence, 40), rel=1e-5)


def test_loss_weights_scale_the_penalty():
    x, level, y = small_data()
    values = []
    for weight in (1.0, 3.0):
        model = small_network()
        model.compile(keras.optimizers.SGD(0.0), loss="mse", loss_weights=[weight])
        evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), **OPTIONS)
        model.fit([x, level], y, epochs=1, verbose=0, callbacks=[evidence])
        values.append(penalty_of(model))
    assert values[1] == pytest.approx(3.0 * values[0], rel=1e-9)


def test_penalties_replace_regularizers_and_are_serialised():
    penalty = pm.keras.EvidencePenalty([[2.0, 0.5], [0.5, 1.0]], root=[[1.0]], noise=2.0)
    table = np.array([[1.0, 2.0], [0.0, -1.0]])
    expected = np.einsum("ja,ab,jb->", table, [[2.0, 0.5], [0.5, 1.0]], table)
    assert float(penalty(keras.ops.convert_to_tensor(table))) == pytest.approx(expected, rel=1e-12)
    copy = keras.regularizers.deserialize(keras.regularizers.serialize(penalty))
    assert copy.get_config() == penalty.get_config()


def train(model, loss="mse", optimizer="adam", data=None, **options):
    model.compile(optimizer, loss=loss)
    groups = pm.keras.WeightGroups(model, GROUPS)
    x, level, y = small_data()
    y = y if data is None else data
    evidence = pm.keras.MacKay(groups, **(OPTIONS | options))
    model.fit([x, level], y, epochs=1, verbose=0, callbacks=[evidence])


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"loss": "binary_crossentropy"}, "likelihood='bernoulli'"),
        ({"optimizer": keras.optimizers.AdamW(weight_decay=0.01)}, "weight_decay=None"),
        (
            {"likelihood": "bernoulli", "loss": "binary_crossentropy", "data": np.ones(40)},
            "from_logits=True",
        ),
        (
            {"likelihood": "poisson", "loss": "poisson", "data": np.ones(40)},
            "activation='exponential'",
        ),
        ({"likelihood": "bernoulli", "loss": "binary_crossentropy"}, "from 0 to 1"),
    ],
)
def test_losses_and_optimizers_that_do_not_fit_are_refused(options, part):
    with pytest.raises(pm.ArgumentError, match=part):
        train(small_network(), **options)
