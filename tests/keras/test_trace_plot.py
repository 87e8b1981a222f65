"""`pm.plots.trace` of a network: variances, γ and the evidence, update by update."""

from __future__ import annotations

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import pymackay as pm
from tests.support.keras_models import small_data, small_network

GROUPS = {"table": "table", "hidden": "hidden", "output": "output"}


@pytest.fixture(scope="module")
def callback():
    x, level, y = small_data()
    model = small_network()
    evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, GROUPS), every=1, start_after=1)
    model.compile(keras.optimizers.Adam(0.01), loss="mse")
    model.fit([x, level], y, epochs=5, verbose=0, callbacks=[evidence])
    return evidence


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def lines(ax):
    return {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in ax.lines}


def test_variances_of_every_group_and_of_the_noise(callback):
    drawn, table = lines(pm.plots.trace(callback)), callback.trace
    assert list(drawn) == [*GROUPS, "σ²"]
    for name in GROUPS:
        np.testing.assert_array_equal(drawn[name], table[f"sd {name}"] ** 2)
    np.testing.assert_array_equal(drawn["σ²"], table["noise"])


def test_gamma_of_every_group(callback):
    drawn = lines(pm.plots.trace(callback.trace, "gamma"))
    assert list(drawn) == list(GROUPS)
    for name in GROUPS:
        np.testing.assert_array_equal(drawn[name], callback.trace[f"gamma {name}"])


def test_evidence_falls_short_of_its_highest(callback):
    (line,) = lines(pm.plots.trace(callback, "criterion")).values()
    below = callback.trace["log_evidence"].max() - callback.trace["log_evidence"]
    np.testing.assert_allclose(line, 2.0 * below.where(below > 0.0))


def test_a_mixed_model_has_no_gamma_to_draw():
    fit = pm.mackay("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"), update="gamma")
    with pytest.raises(pm.ArgumentError, match="what"):
        pm.plots.trace(fit, "gamma")
