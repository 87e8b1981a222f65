"""Every kind of curvature against the dense matrix of all Jacobian rows, by TensorFlow."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import small_data, small_network
from tolerances import tol

import pymackay as pm
from pymackay.keras.evidence import Evidence
from pymackay.keras.network.rows import TrainingRows

GROUPS = {"table": {"weights": "table", "covariance": "full"}, "rest": ["hidden", "output"]}
ROOTS = [np.array([[0.7, 0.2], [0.0, 0.4]]), np.array([[0.6]])]


def dense_curvature(model, x, root, groups):
    """Return M, (P, P): Λ'(J'HJ)Λ + D from TensorFlow's own Jacobian."""
    with tf.GradientTape(persistent=True) as tape:
        f = model(x, training=False)
    parts = tape.jacobian(f, [v.value for v in model.trainable_variables])
    J = np.concatenate([tf.convert_to_tensor(p).numpy().reshape(*f.shape, -1) for p in parts], 2)
    whitened = np.einsum("nkr,nkp->nrp", root, J).reshape(-1, J.shape[2])
    A = whitened.T @ whitened
    scale, penalised = np.zeros_like(A), np.zeros(len(A))
    at = 0
    for variable in model.trainable_variables:
        size = int(np.prod(variable.shape))
        owner = [k for k, g in enumerate(groups) if any(variable is v for v in g.variables)]
        F = ROOTS[owner[0]] if owner else np.eye(1)
        block = np.kron(np.eye(size // len(F)), F)
        scale[at : at + size, at : at + size] = block
        penalised[at : at + size] = bool(owner)
        at += size
    return scale.T @ A @ scale + np.diag(penalised), penalised


def expected_information(M, model, groups):
    """Return T of both groups, (q, q)."""
    inverse, at, sums = np.linalg.inv(M), 0, [0.0, 0.0]
    for variable in model.trainable_variables:
        size = int(np.prod(variable.shape))
        for k, group in enumerate(groups):
            if any(variable is v for v in group.variables):
                block = inverse[at : at + size, at : at + size].reshape(-1, group.q, size)
                rows = block.reshape(-1, group.q, size // group.q, group.q)
                sums[k] = sums[k] + np.einsum("jajb->ab", rows)
        at += size
    return [g.rows * np.eye(g.q) - s for g, s in zip(groups, sums, strict=True)]


@pytest.fixture(scope="module")
def network():
    model = small_network(outputs=2)
    x, level, eta = small_data()
    y = np.column_stack([eta, -eta])
    groups = pm.keras.WeightGroups(model, GROUPS)
    groups.attach()
    weight = np.linspace(0.5, 2.0, len(eta))
    return model, [x, level], y, groups, weight


def measure(network, kind, reml=True, **options):
    _, x, y, groups, weight = network
    evidence = Evidence(groups, curvature=kind, **options)
    rows = TrainingRows(x, y, weight)
    evidence.begin(rows)
    sums = evidence.snapshot(rows).sums
    return sums.determine(ROOTS, reml), sums


def root_of(network):
    return np.sqrt(network[4])[:, None, None] * np.eye(2)


@pytest.mark.parametrize("reml", [True, False])
def test_exact_information_and_determinant(network, reml):
    model, x, _, groups, _ = network
    M, penalised = dense_curvature(model, x, root_of(network), groups.groups)
    if not reml:
        kept = penalised.astype(bool)
        M = np.where(np.outer(kept, kept), M, np.eye(len(M)))
    measured, _ = measure(network, "exact", reml)
    for T, expected in zip(
        measured.information, expected_information(M, model, groups.groups), strict=True
    ):
        np.testing.assert_allclose(T, expected, rtol=tol("oracle"), atol=1e-12)
    assert measured.log_det == pytest.approx(np.linalg.slogdet(M)[1], rel=tol("oracle"))
    shares = np.where(penalised > 0, 1.0 - np.diag(np.linalg.inv(M)), 0.0)
    np.testing.assert_allclose(measured.shares, shares, rtol=tol("oracle"), atol=1e-12)


@pytest.mark.parametrize("kind", ["exact", "probes"])
def test_newton_steps_solve_the_dense_system(network, kind):
    model, x, _, groups, _ = network
    M, _ = dense_curvature(model, x, root_of(network), groups.groups)
    _, sums = measure(network, kind)
    right = np.random.default_rng(5).normal(size=len(M))
    expected = np.linalg.solve(M, right)
    np.testing.assert_allclose(sums.solver(ROOTS)(right), expected, rtol=1e-5, atol=1e-7)


def test_probes_agree_within_their_error(network):
    exact, _ = measure(network, "exact")
    probed, _ = measure(network, "probes", probes=200)
    for T, expected, error in zip(probed.information, exact.information, probed.error, strict=True):
        assert 0.0 <= error < 0.1
        assert abs(np.trace(T) - np.trace(expected)) <= 4.0 * error + 1e-3


def test_coarse_kinds_leave_products_out(network):
    """Blocks and diagonals of M, inverted one by one, from the dense matrix."""
    model, x, _, groups, _ = network
    M, _ = dense_curvature(model, x, root_of(network), groups.groups)
    labels, widths = [], []
    for i, variable in enumerate(model.trainable_variables):
        size = int(np.prod(variable.shape))
        labels += [i] * size
        widths += [2 if variable.name == "embeddings" else 1] * size
    labels, widths = np.array(labels), np.array(widths)
    at = np.arange(len(M)) // widths
    own = np.equal.outer(at, at) & np.equal.outer(labels, labels) & (widths == 2)
    table = np.flatnonzero(widths == 2)
    variable = np.equal.outer(labels, labels)
    variable[np.ix_(table, table)] = own[np.ix_(table, table)]
    masks = {"diagonal": np.where(own, True, np.eye(len(M), dtype=bool)), "block": variable}
    for kind, mask in masks.items():
        measured, sums = measure(network, kind)
        expected = expected_information(np.where(mask, M, 0.0), model, groups.groups)
        for T, reference in zip(measured.information, expected, strict=True):
            np.testing.assert_allclose(T, reference, rtol=tol("oracle"), atol=1e-12)
        assert sums.solver(ROOTS) is None


@keras.saving.register_keras_serializable("tests")
class Scale(keras.layers.Layer):
    """A layer whose weights are not tapped."""

    def build(self, shape):
        self.size = self.add_weight(shape=(shape[-1],), initializer="ones", name="size")

    def call(self, inputs):
        return inputs * keras.ops.exp(self.size)


def unusual_network():
    """A table used twice in one row, a Dense layer called twice, a layer of one's own."""
    keras.utils.set_random_seed(1)
    x = keras.Input((2,), dtype="float64")
    pair = keras.Input((2,), dtype="int32")
    shared = keras.layers.Dense(2, activation="tanh", name="shared", dtype="float64")
    twice = shared(shared(x))
    rows = keras.layers.Embedding(5, 2, name="table", dtype="float64")(pair)
    flat = keras.layers.Flatten(dtype="float64")(rows)
    scaled = Scale(name="scale", dtype="float64")(
        keras.layers.Concatenate(dtype="float64")([twice, flat])
    )
    output = keras.layers.Dense(1, name="output", dtype="float64")(scaled)
    return keras.Model([x, pair], output)


@pytest.mark.parametrize("kind", ["exact", "probes", "diagonal", "block"])
def test_layers_used_twice_and_other_layers(kind):
    model = unusual_network()
    generator = np.random.default_rng(2)
    x = [generator.normal(size=(30, 2)), generator.integers(0, 5, (30, 2))]
    groups = pm.keras.WeightGroups(
        model,
        {
            "table": {"weights": "table", "covariance": "full"},
            "rest": ["shared", "scale", "output"],
        },
    )
    groups.attach()
    M, _ = dense_curvature(model, x, np.ones((30, 1, 1)), groups.groups)
    evidence = Evidence(groups, curvature=kind, probes=400)
    rows = TrainingRows(x, np.zeros(30))
    evidence.begin(rows)
    measured = evidence.snapshot(rows).sums.determine(ROOTS, True)
    if kind in ("exact", "probes"):
        expected = expected_information(M, model, groups.groups)
        within = tol("oracle") if kind == "exact" else 0.05
        for T, reference in zip(measured.information, expected, strict=True):
            assert np.trace(T) == pytest.approx(np.trace(reference), rel=within)
    else:
        assert np.trace(measured.information[1]) >= np.trace(
            expected_information(M, model, groups.groups)[1]
        )
    assert [model.trainable_variables[i].name for i in evidence.linearisation.untapped] == ["size"]
