"""The evidence: against numerical integration's normal form, scikit-learn, and its own maximum."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras_models import small_data, small_network
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ARDRegression, BayesianRidge
from tolerances import tol

import pymackay as pm
from pymackay.keras.evidence import Evidence
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.polish import gauss_newton


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return 20.0 * (x - x.mean(axis=0)), y - y.mean()


FLAT = {"tol": 1e-14, "max_iter": 20000, "fit_intercept": False} | dict.fromkeys(
    ("alpha_1", "alpha_2", "lambda_1", "lambda_2"), 0.0
)
"""Arguments of scikit-learn's evidence updates: flat priors of the precisions, run to the end."""


def linear_model(columns: int) -> keras.Model:
    layer = keras.layers.Dense(1, name="linear", dtype="float64", use_bias=False)
    return keras.Sequential([keras.Input((columns,), dtype="float64"), layer])


def test_one_group_is_bayesian_ridge(diabetes):
    x, y = diabetes
    ridge = BayesianRidge(**FLAT).fit(x, y)
    model = linear_model(x.shape[1])
    result = pm.keras.fit(model, x, y, {"all": "linear"}, epochs=0, curvature="exact")
    assert result.covariance["all"].iloc[0, 0] == pytest.approx(
        1.0 / ridge.lambda_, rel=tol("network")
    )
    assert result.noise == pytest.approx(1.0 / ridge.alpha_, rel=tol("network"))
    np.testing.assert_allclose(model.get_weights()[0][:, 0], ridge.coef_, rtol=tol("network"))


def test_a_group_per_weight_is_ard(diabetes):
    """MacKay's rule for single weights, w²/γ, is the update of ARDRegression."""
    x, y = diabetes
    x = x[:, [1, 2, 3, 8]]  # the columns that keep a variance
    ard = ARDRegression(**FLAT).fit(x, y)
    names = [f"x{i}" for i in range(4)]
    inputs = keras.Input((4,), dtype="float64")
    parts = [
        keras.layers.Dense(1, name=name, dtype="float64", use_bias=False)(inputs[:, i : i + 1])
        for i, name in enumerate(names)
    ]
    model = keras.Model(inputs, keras.layers.Add(dtype="float64")(parts))
    groups = {name: name for name in names}
    result = pm.keras.fit(model, x, y, groups, epochs=0, curvature="exact", rounds=400)
    variances = [result.covariance[name].iloc[0, 0] for name in names]
    np.testing.assert_allclose(variances, 1.0 / ard.lambda_, rtol=tol("network"))
    assert result.noise == pytest.approx(1.0 / ard.alpha_, rel=tol("network"))


def at_mode(roots, noise, update="gamma"):
    """Return the evidence of a small network at its mode for given priors."""
    model = small_network()
    x, level, y = small_data()
    groups = pm.keras.WeightGroups(
        model,
        {
            "table": {"weights": "table", "covariance": "full"},
            "rest": ["hidden", "hidden/bias", "output"],
        },
    )
    groups.attach()
    evidence = Evidence(groups, update=update, curvature="exact")
    rows = TrainingRows([x, level], y)
    evidence.begin(rows)
    evidence.roots, evidence.noise = list(roots), noise
    for _ in range(60):
        snapshot = evidence.snapshot(rows)
        step = gauss_newton(evidence, rows, snapshot)
        if step.decrement < 1e-18:
            break
    return evidence, rows


def dense_log_evidence(evidence, rows):
    """Return log p(y) of the network linearised at its weights: a plain n x n normal density.

    Fixed weights are integrated out with a flat prior: the limit of a wide one, less its
    constant.
    """
    chunk = next(rows.chunks())
    n = len(chunk.y)
    _, pieces = evidence.linearisation.pieces(chunk.x, n)
    from pymackay.keras.curvature.jacobian import jacobian

    columns = evidence.columns
    J = np.zeros((n, columns.size))
    for piece in pieces:
        for i, part in jacobian(columns.sizes, piece, np.ones((n, 1)), n):
            part = part.toarray() if hasattr(part, "toarray") else part
            J[:, columns.spans[i].slice] += part
    w = columns.weights()
    f = evidence.linearisation.outputs(chunk.x)[:n, 0]
    target = chunk.y - f + J @ w
    V = np.zeros((columns.size, columns.size))
    for span in columns.spans:
        if span.group >= 0:
            block = np.kron(np.eye(span.size // span.q), evidence.covariance(span.group))
            V[span.slice, span.slice] = block
    free = ~columns.penalised
    S = J @ V @ J.T + evidence.noise * np.eye(n)
    X = J[:, free]
    inverse = np.linalg.inv(S)
    info = X.T @ inverse @ X
    beta = np.linalg.solve(info, X.T @ inverse @ target)
    residual = target - X @ beta
    return -0.5 * (
        (n - free.sum()) * np.log(2 * np.pi)
        + np.linalg.slogdet(S)[1]
        + np.linalg.slogdet(info)[1]
        + residual @ inverse @ residual
    )


ROOTS = [np.array([[1.5, 0.0], [0.4, 0.8]]), np.array([[1.1]])]


def test_log_evidence_is_that_of_a_dense_normal_density():
    evidence, rows = at_mode(ROOTS, 0.05)
    expected = dense_log_evidence(evidence, rows)
    evidence.advance(evidence.snapshot(rows))
    assert evidence.updates[-1].log_evidence == pytest.approx(expected, rel=1e-6)


def test_a_variance_rises_where_the_linearised_evidence_does():
    """γ's rule moves with the slope of the evidence of the network linearised at its mode."""
    evidence, rows = at_mode(ROOTS, 0.05)
    before = [evidence.covariance(k).copy() for k in range(2)]
    slopes = []
    for k in range(2):
        values = []
        for factor in (np.exp(-5e-4), np.exp(5e-4)):
            kept = evidence.roots[k]
            evidence.roots[k] = factor * kept
            values.append(dense_log_evidence(evidence, rows))
            evidence.roots[k] = kept
        slopes.append((values[1] - values[0]) / 1e-3)
    evidence.advance(evidence.snapshot(rows))
    for k in range(2):
        table = evidence.groups.groups[k].table()
        u = table @ np.linalg.inv(ROOTS[k]).T
        gamma = evidence.updates[-1].gamma[k]
        assert slopes[k] == pytest.approx(np.sum(u**2) / 0.05 - gamma, rel=1e-4)
        growth = np.trace(evidence.covariance(k)) - np.trace(before[k])
        assert np.sign(growth) == np.sign(slopes[k])


def test_rules_see_predictions_and_error_variances():
    """EM's update is (W'W + Σ C)/J, and a rule of one's own is given W, C and σ²."""
    seen = {}

    def own(moments):
        seen[moments.name] = moments
        return (moments.predictions.T @ moments.predictions + moments.error_sum) / moments.n_levels

    covariances = []
    for update in ("em", own):
        evidence, rows = at_mode(ROOTS, 0.05, update)
        measured = evidence.snapshot(rows).sums.determine(ROOTS, True)
        estimate = evidence.advance(evidence.snapshot(rows)).noise
        covariances.append([evidence.covariance(k) for k in range(2)])
        for k, group in enumerate(evidence.groups.groups):
            F, table = ROOTS[k], group.table()
            hidden = group.rows * np.eye(group.q) - measured.information[k]
            expected = (table.T @ table + 0.05 * F @ hidden @ F.T) / group.rows
            np.testing.assert_allclose(covariances[-1][k], expected, rtol=1e-8)
        assert estimate > 0.0
    assert seen["table"].predictions.shape == (5, 2)
    assert seen["table"].noise_var == pytest.approx(0.05)
    np.testing.assert_allclose(seen["table"].variance, 0.05 * ROOTS[0] @ ROOTS[0].T, rtol=1e-9)
