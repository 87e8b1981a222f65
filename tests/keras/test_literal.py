"""The literal loop on a network: it collapses as `pm.mackay` does, and the forecast says so."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras_models import codes, intercepts_model, slopes_model
from tolerances import tol

import pymackay as pm
from pymackay.keras.forecast import literal_fixed_point


@pytest.fixture(scope="module")
def sleep():
    return pm.load_data("sleepstudy")


def fit_sleep(sleep, **options):
    model = slopes_model(18)
    x = [sleep["Days"].to_numpy(float)[:, None], codes(sleep["Subject"])]
    groups = {"subject": {"weights": "effects", "covariance": "full"}}
    y = sleep["Reaction"].to_numpy(float)
    return pm.keras.fit(model, x, y, groups, epochs=0, curvature="exact", **options)


@pytest.fixture(scope="module")
def literal(sleep):
    return fit_sleep(sleep, update="raw")


@pytest.fixture(scope="module")
def gamma(sleep):
    return fit_sleep(sleep)


def test_the_literal_loop_loses_the_direction_that_the_mixed_model_loses(sleep, literal):
    with pytest.raises(pm.CollapseError) as raised:
        pm.mackay("Reaction ~ Days + (Days | Subject)", sleep, update="raw")
    expected = np.array([raised.value.direction["(Intercept)"], raised.value.direction["Days"]])
    direction = literal.lost["subject"]
    cosine = direction @ expected / np.linalg.norm(direction) / np.linalg.norm(expected)
    assert abs(cosine) == pytest.approx(1.0, abs=1e-3)
    V = literal.covariance["subject"].to_numpy()
    assert abs(V[0, 1] / np.sqrt(V[0, 0] * V[1, 1])) > 0.999
    assert any("set the variance of" in message for message in literal.messages)


def test_the_rule_of_the_article_ends_where_the_mixed_model_ends(sleep):
    """The same fixed point of V ← diag(cov(B)) as `pm.mackay`, whose noise formula is the same."""
    network = fit_sleep(sleep, update="diagonal", rounds=400)
    mixed = pm.mackay(
        "Reaction ~ Days + (Days | Subject)", sleep, update="diagonal", iterations=400
    )
    expected = mixed.varcorr["Subject"].to_numpy()
    V = network.covariance["subject"].to_numpy()
    np.testing.assert_allclose(np.diag(V), np.diag(expected), rtol=tol("network"))
    assert network.noise == pytest.approx(mixed.sigma**2, rel=tol("network"))


def test_the_forecast_names_the_direction_that_dies(gamma, literal):
    forecast = gamma.forecast()
    assert forecast["survives"].tolist() == [False, True]
    assert forecast["threshold"].to_numpy() == pytest.approx([4.0, 4.0], rel=1e-3)
    assert forecast["s"].iloc[0] < 4.0 < forecast["s"].iloc[1]
    assert literal.lost


@pytest.mark.parametrize("s", [4.2, 5.0, 8.0])
def test_equal_information_has_the_closed_form(s):
    t = 0.5 * (s - 2.0 + np.sqrt(s * (s - 4.0)))
    assert literal_fixed_point(np.full(30, s - 1.0)) == pytest.approx(t / (s - 1.0), rel=1e-9)


def test_unequal_information_raises_the_threshold():
    """A group dies with the mean information with which it survives where all have the same."""
    spread = np.exp(2.0 * np.random.default_rng(1).normal(size=4000))
    signals = 4.0 * spread / spread.mean()
    assert literal_fixed_point(np.full(4000, 4.0)) > 0.5
    assert literal_fixed_point(signals) == 0.0
    half = np.r_[np.full(50, 8.0), np.zeros(50)]
    assert literal_fixed_point(half) < literal_fixed_point(np.full(100, 8.0))


def simulated(signal, n_levels=150, n=5, seed=2):
    generator = np.random.default_rng(seed)
    level = np.repeat(np.arange(n_levels), n)
    effects = generator.normal(size=n_levels)
    effects *= np.sqrt(signal / n) / effects.std()
    return level, effects[level] + generator.normal(size=len(level))


@pytest.mark.parametrize("signal", [2.0, 6.0])
def test_the_forecast_of_a_table_comes_true(signal):
    """Signal is the variance of the effects over their sampling variance: s = 1 + signal."""
    level, y = simulated(signal)
    x = [np.ones((len(y), 1)), level]
    groups = {"table": "table"}
    options = {"epochs": 0, "curvature": "exact"}
    fitted = pm.keras.fit(intercepts_model({"table": 150}, 1), x, y, groups, **options)
    literal = pm.keras.fit(
        intercepts_model({"table": 150}, 1), x, y, groups, update="raw", **options
    )
    forecast = fitted.forecast().iloc[0]
    kept = literal.covariance["table"].iloc[0, 0] / fitted.covariance["table"].iloc[0, 0]
    assert forecast["survives"] == (signal > 3.0)
    assert kept == pytest.approx(forecast["kept"], abs=0.05)
    assert ("table" in literal.lost) == (signal < 3.0)


def test_the_result_is_json(tmp_path, gamma):
    text = gamma.to_json(tmp_path / "result.json")
    read = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(text) == read
    assert read["covariance"]["subject"][0][0] == gamma.covariance["subject"].iloc[0, 0]
    assert read["groups"]["name"] == ["subject"]
    assert "subject" in repr(gamma)


def test_instant_results_of_a_callback_need_an_update():
    layer = keras.layers.Dense(1, name="linear")
    model = keras.Sequential([keras.Input((2,)), layer])
    evidence = pm.keras.MacKay(pm.keras.WeightGroups(model, {"linear": "linear"}))
    with pytest.raises(pm.ArgumentError, match="has not begun"):
        _ = evidence.groups
