"""Polishing with Anderson's proposals: the same end in fewer rounds, and never a lower evidence."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras_models import codes, intercepts_model, slopes_model
from tolerances import tol

import pymackay as pm


def sleepstudy(covariance, **options):
    sleep = pm.load_data("sleepstudy")
    x = [sleep["Days"].to_numpy(float)[:, None], codes(sleep["Subject"])]
    groups = {"subject": {"weights": "effects", "covariance": covariance}}
    y = sleep["Reaction"].to_numpy(float)
    return pm.keras.fit(
        slopes_model(18), x, y, groups, epochs=0, curvature="exact", rounds=400, **options
    )


def pastes(**options):
    data = pm.load_data("Pastes")
    levels = [codes(data["sample"].astype(str)), codes(data["batch"].astype(str))]
    model = intercepts_model({"sample": 30, "batch": 10}, 1)
    groups = {"sample": "sample", "batch": "batch"}
    x = [np.ones((len(data), 1)), *levels]
    y = data["strength"].to_numpy(float)
    return pm.keras.fit(model, x, y, groups, epochs=0, curvature="exact", rounds=400, **options)


@pytest.mark.parametrize("update", ["gamma", "em"])
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_end_is_the_same_and_nearer(covariance, update):
    plain = sleepstudy(covariance, update=update, acceleration=False)
    faster = sleepstudy(covariance, update=update)
    assert plain.converged
    assert faster.converged
    assert len(faster.trace) < len(plain.trace)
    expected = plain.covariance["subject"]
    np.testing.assert_allclose(faster.covariance["subject"], expected, rtol=tol("network"))
    kept = faster.trace["log_evidence"].to_numpy()
    assert (np.diff(kept[1:]) > -tol("criterion") * np.abs(kept[-1])).all()


def test_nested_factors():
    plain, faster = pastes(acceleration=False), pastes()
    assert len(faster.trace) < len(plain.trace)
    for name, covariance in plain.covariance.items():
        np.testing.assert_allclose(faster.covariance[name], covariance, rtol=tol("network"))


def test_where_no_step_can_be_checked_it_is_refused():
    x = np.random.default_rng(1).normal(size=(60, 3))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="linear")])
    with pytest.raises(pm.ArgumentError, match="acceleration=True needs"):
        pm.keras.fit(
            model, x, x.sum(axis=1), {"linear": "linear"}, epochs=0, update="raw", acceleration=True
        )
