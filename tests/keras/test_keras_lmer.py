"""A network with an Embedding per factor has the REML variances of the mixed model."""

from __future__ import annotations

import numpy as np
import pytest
from keras_models import codes, intercepts_model, slopes_model
from tolerances import tol

import pymackay as pm


@pytest.fixture(scope="module")
def sleep():
    return pm.load_data("sleepstudy")


def fit_sleep(sleep, covariance, **options):
    model = slopes_model(18)
    x = [sleep["Days"].to_numpy(float)[:, None], codes(sleep["Subject"])]
    groups = {"subject": {"weights": "effects", "covariance": covariance}}
    y = sleep["Reaction"].to_numpy(float)
    return pm.keras.fit(model, x, y, groups, epochs=0, curvature="exact", **options)


@pytest.mark.parametrize("reml", [True, False])
def test_correlated_slopes(sleep, reml):
    network = fit_sleep(sleep, "full", reml=reml)
    mixed = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep, reml=reml)
    expected = mixed.varcorr["Subject"].to_numpy()
    np.testing.assert_allclose(network.covariance["subject"], expected, rtol=tol("network"))
    assert network.noise == pytest.approx(mixed.sigma**2, rel=tol("network"))
    assert -2.0 * network.log_evidence == pytest.approx(mixed.criterion, rel=tol("criterion"))
    assert network.converged


def test_slopes_without_correlation(sleep):
    network = fit_sleep(sleep, "diagonal")
    mixed = pm.lmer("Reaction ~ Days + (Days || Subject)", sleep)
    expected = np.diag([float(v.to_numpy()[0, 0]) for v in mixed.varcorr.values()])
    np.testing.assert_allclose(network.covariance["subject"], expected, rtol=tol("network"))


CASES = {
    "Penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", [], ["plate", "sample"]),
    "Pastes": ("strength ~ 1 + (1 | sample) + (1 | batch)", [], ["sample", "batch"]),
    "Machines": (
        "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)",
        ["Machine"],
        ["Worker", "Worker:Machine"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_crossed_and_nested_intercepts(name):
    formula, fixed, factors = CASES[name]
    data = pm.load_data(name)
    columns = {f: data[f.split(":")].astype(str).agg("/".join, axis=1) for f in factors}
    levels = {f: codes(column) for f, column in columns.items()}
    X = np.ones((len(data), 1))
    for column in fixed:
        dummies = np.eye(codes(data[column]).max() + 1)[codes(data[column])]
        X = np.column_stack([X, dummies[:, 1:]])
    layers = {f.replace(":", "_"): int(c.max()) + 1 for f, c in levels.items()}
    model = intercepts_model(layers, X.shape[1])
    y = data[formula.split(" ~ ")[0]].to_numpy(float)
    groups = {f: f.replace(":", "_") for f in factors}
    network = pm.keras.fit(model, [X, *levels.values()], y, groups, epochs=0, curvature="exact")
    mixed = pm.lmer(formula, data)
    for factor in factors:
        expected = mixed.varcorr[factor].to_numpy()
        np.testing.assert_allclose(network.covariance[factor], expected, rtol=tol("network"))
    assert network.noise == pytest.approx(mixed.sigma**2, rel=tol("network"))
    assert -2.0 * network.log_evidence == pytest.approx(mixed.criterion, rel=tol("criterion"))


def test_inst_eval_with_probes():
    """73,421 rows, 4,100 levels: γ from probes, within its Monte-Carlo error."""
    data = pm.load_data("InstEval")
    levels = {name: codes(data[name]) for name in ("s", "d")}
    model = intercepts_model({name: code.max() + 1 for name, code in levels.items()}, 1)
    y = data["y"].to_numpy(float)
    groups = {"s": {"weights": "s", "start": 0.107}, "d": {"weights": "d", "start": 0.27}}
    x = [np.ones((len(y), 1)), *levels.values()]
    options = {"epochs": 0, "curvature": "probes", "tolerance": 5e-4}
    network = pm.keras.fit(model, x, y, groups, **options)
    mixed = pm.lmer("y ~ 1 + (1 | s) + (1 | d)", data)
    table = network.groups.set_index("name")
    for name in groups:
        expected = float(mixed.varcorr[name].to_numpy()[0, 0])
        error = table.loc[name, "gamma_error"] / table.loc[name, "gamma"]
        assert 0.0 < error < 2e-3
        assert network.covariance[name].iloc[0, 0] == pytest.approx(expected, rel=4 * error + 1e-3)
    assert network.noise == pytest.approx(mixed.sigma**2, rel=1e-4)
