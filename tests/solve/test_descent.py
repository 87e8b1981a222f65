"""Tests of gradient descent on the effects: the loss, its bounds, the minimum, and how it ends."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import dense_fit, random_design
from tolerances import tol

from pymackay.errors import ArgumentError
from pymackay.model.model import GroupingFactor, Model, RandomTerm
from pymackay.solve.descent.coordinates import choose_coordinates, weight_arrays
from pymackay.solve.descent.effects import EffectsDescent, Training
from pymackay.solve.descent.step_rules import Adam, Sgd

NOISE_VAR = 25.0


def make_model(
    seed: int = 1,
    n: int = 60,
    groups: tuple[int, ...] = (7,),
    terms: tuple[tuple[int, int], ...] = ((0, 2),),
    weights: bool = False,
    offset: bool = False,
) -> Model:
    """Build a model: `groups` gives levels per factor, `terms` (factor, number of effects)."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.uniform(0, 9, n), rng.normal(size=n)])
    factors = {}
    for k, levels in enumerate(groups):
        codes = np.concatenate([np.arange(levels), rng.integers(0, levels, n - levels)])
        factors[f"g{k}"] = GroupingFactor(
            f"g{k}", tuple(map(str, range(levels))), rng.permutation(codes).astype(np.int32)
        )
    random_terms = tuple(
        RandomTerm(f"t{i}", f"g{k}", tuple(f"e{j}" for j in range(q)), x[:, :q])
        for i, (k, q) in enumerate(terms)
    )
    return Model(
        formula="",
        response="y",
        y=250.0 + 10.0 * x[:, 1] + rng.normal(size=n) * 5.0,
        X=x[:, :2],
        fixed=("(Intercept)", "x"),
        terms=random_terms,
        factors=factors,
        rows=pd.RangeIndex(n),
        weights=rng.uniform(0.3, 3.0, n) if weights else None,
        offset=rng.normal(size=n) * 20.0 if offset else None,
    )


def make_covariances(model: Model, seed: int = 2) -> dict[str, np.ndarray]:
    """Draw a positive definite covariance matrix for every term."""
    rng = np.random.default_rng(seed)
    out = {}
    for term in model.terms:
        root = rng.normal(size=(len(term.effects),) * 2) * 2.0
        out[term.name] = root @ root.T + 0.1 * np.eye(len(term.effects))
    return out


def oracle(model: Model, covariances: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return beta and b at these variances from the n x n covariance."""
    theta = np.concatenate(
        [
            np.linalg.cholesky(covariances[t.name] / NOISE_VAR).T[np.triu_indices(len(t.effects))]
            for t in model.terms
        ]
    )
    dense = dense_fit(model, theta, reml=True)
    return dense.beta, dense.b


def half_hessian(model: Model, descent: EffectsDescent) -> np.ndarray:
    """Write out half the Hessian of the loss in the standardised coordinates."""
    at = descent.coordinates
    whitened = []
    for term, factor in zip(model.terms, at.factors, strict=True):
        levels = len(model.factors[term.group].levels)
        design = random_design(Model(**{**vars(model), "terms": (term,), "factors": model.factors}))
        whitened.append(design @ np.kron(np.eye(levels), factor))
    root = np.ones(len(model.y)) if model.weights is None else np.sqrt(model.weights)
    fixed = np.linalg.qr(root[:, None] * model.X)[0] * at.unit
    columns = np.hstack([fixed, root[:, None] * np.hstack(whitened)])
    prior = np.diag([0.0] * fixed.shape[1] + [1.0] * (columns.shape[1] - fixed.shape[1]))
    return columns.T @ columns + prior


MODELS = {
    "one term": {},
    "scalar": {"terms": ((0, 1),)},
    "three effects": {"terms": ((0, 3),), "n": 90},
    "crossed": {"groups": (7, 5), "terms": ((0, 2), (1, 1))},
    "two terms of one group": {"terms": ((0, 1), (0, 2))},
    "weights": {"weights": True},
    "offset": {"offset": True},
    "everything": {
        "groups": (9, 4, 6),
        "terms": ((0, 2), (1, 1), (2, 3)),
        "weights": True,
        "offset": True,
        "n": 120,
    },
}


@pytest.mark.parametrize("optimizer", [Sgd(), Adam()], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", MODELS)
def test_training_reaches_the_exact_answer(name: str, optimizer: Sgd | Adam) -> None:
    model = make_model(**MODELS[name])
    covariances = make_covariances(model)
    descent = EffectsDescent(model, covariances, NOISE_VAR)
    training = descent.train(epochs=50_000, optimizer=optimizer)
    assert training.converged, training.message
    beta, b = oracle(model, covariances)
    np.testing.assert_allclose(descent.beta.numpy()[:, 0], beta, atol=tol("statistic"))
    np.testing.assert_allclose(descent.b.numpy()[:, 0], b, atol=tol("statistic"))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    effects=st.integers(1, 3),
    levels=st.integers(2, 9),
    second=st.booleans(),
    weights=st.booleans(),
)
def test_curvature_lies_within_its_bounds(
    seed: int, effects: int, levels: int, second: bool, weights: bool
) -> None:
    terms = ((0, effects), (1, 1)) if second else ((0, effects),)
    model = make_model(seed, groups=(levels, 4), terms=terms, weights=weights)
    descent = EffectsDescent(model, make_covariances(model, seed), NOISE_VAR)
    eigenvalues = np.linalg.eigvalsh(half_hessian(model, descent))
    at = descent.coordinates
    assert eigenvalues[0] >= at.smallest * (1 - tol("oracle"))
    assert eigenvalues[-1] <= at.largest * (1 + tol("oracle"))


@pytest.mark.parametrize("epochs", [1, 7, 40])
def test_gradient_norm_bounds_the_distance_to_the_minimum(epochs: int) -> None:
    model = make_model(**MODELS["everything"])
    covariances = make_covariances(model)
    descent = EffectsDescent(model, covariances, NOISE_VAR)
    training = descent.train(epochs=epochs)
    assert not training.converged
    at = descent.coordinates
    here = at.inward(descent.beta.numpy()[:, 0], list(descent.ranef().values()))
    descent.train(epochs=50_000)
    there = at.inward(descent.beta.numpy()[:, 0], list(descent.ranef().values()))
    distance = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(here, there, strict=True)))
    assert 0 < distance <= training.gradient_norm


def test_loss_is_sse_over_noise_plus_the_prior_quadratic_form() -> None:
    model = make_model(**MODELS["everything"])
    covariances = make_covariances(model)
    descent = EffectsDescent(model, covariances, NOISE_VAR)
    training = descent.train(epochs=11)
    residual = model.y - descent.fitted()
    expected = np.sum(model.weights * residual**2) / NOISE_VAR
    for name, effects in descent.ranef().items():
        expected += np.sum(effects * np.linalg.solve(covariances[name], effects.T).T)
    assert training.loss == pytest.approx(expected, rel=tol("oracle"))
    assert descent.sse() == pytest.approx(np.sum(model.weights * residual**2), rel=1e-14)


def test_one_epoch_is_one_step_down_the_gradient() -> None:
    model = make_model()
    covariances = make_covariances(model)
    descent = EffectsDescent(model, covariances, NOISE_VAR)
    descent.train(epochs=1)
    at = descent.coordinates
    step = 1.0 / (at.smallest + at.largest)
    information = np.linalg.inv(model.X.T @ model.X) * NOISE_VAR * at.unit**2
    beta = step * information @ (2.0 * model.X.T @ model.y / NOISE_VAR)
    prior = np.kron(np.eye(7), covariances["t0"])
    b = step * prior @ (2.0 * random_design(model).T @ model.y / NOISE_VAR)
    np.testing.assert_allclose(descent.beta.numpy()[:, 0], beta, rtol=tol("oracle"))
    np.testing.assert_allclose(descent.b.numpy()[:, 0], b, rtol=tol("oracle"))


def test_training_goes_on_from_where_it_stopped() -> None:
    model = make_model()
    covariances = make_covariances(model)
    descent = EffectsDescent(model, covariances, NOISE_VAR)
    norms = [descent.train(epochs=25).gradient_norm for _ in range(40)]
    assert norms[-1] < 1e-6 * norms[0]
    descent.train(epochs=50_000)
    assert descent.train().epochs == 0
    descent.zero()
    assert not descent.beta.numpy().any()
    assert not descent.b.numpy().any()


def test_running_out_of_epochs_is_said() -> None:
    descent = EffectsDescent(make_model(), make_covariances(make_model()), NOISE_VAR)
    training = descent.train(epochs=3)
    assert (training.epochs, training.converged) == (3, False)
    assert "SGD ran out of epochs" in training.message
    assert "after 3 epochs" in training.message
    assert "converged" in descent.train(epochs=50_000, optimizer=Adam()).message


def test_more_than_rounding_allows_is_not_promised() -> None:
    descent = EffectsDescent(make_model(), make_covariances(make_model()), NOISE_VAR)
    training = descent.train(epochs=50_000, tolerance=1e-300)
    assert training.converged
    assert 1e-300 < training.tolerance < 1e-9


@pytest.mark.parametrize("correlation", [0.999, 1 - 1e-9, 1.0])
def test_a_covariance_next_to_singular_trains_as_fast_and_as_well(correlation: float) -> None:
    model = make_model()
    cov = np.array([[4.0, 6.0 * correlation], [6.0 * correlation, 9.0]])
    descent = EffectsDescent(model, {"t0": cov}, NOISE_VAR)
    training = descent.train(epochs=2000)
    assert training.converged, training.message
    d = np.kron(np.eye(7), cov) / NOISE_VAR
    z = random_design(model)
    h_inv = np.linalg.inv(np.eye(60) + z @ d @ z.T)
    beta = np.linalg.solve(model.X.T @ h_inv @ model.X, model.X.T @ h_inv @ model.y)
    b = d @ z.T @ h_inv @ (model.y - model.X @ beta)
    np.testing.assert_allclose(descent.beta.numpy()[:, 0], beta, atol=tol("statistic"))
    np.testing.assert_allclose(descent.b.numpy()[:, 0], b, atol=tol("statistic"))
    if correlation == 1.0:
        effects = descent.ranef()["t0"]
        np.testing.assert_allclose(effects[:, 1], 1.5 * effects[:, 0], atol=tol("statistic"))


def test_an_effect_without_variance_stays_at_zero_and_comes_back() -> None:
    model = make_model()
    descent = EffectsDescent(model, {"t0": np.diag([4.0, 0.0])}, NOISE_VAR)
    assert descent.train(epochs=5000).converged
    assert not descent.ranef()["t0"][:, 1].any()
    assert descent.ranef()["t0"][:, 0].all()
    covariances = {"t0": np.diag([4.0, 1.0])}
    descent.set_variances(covariances, NOISE_VAR)
    assert descent.train(epochs=5000).converged
    np.testing.assert_allclose(
        descent.b.numpy()[:, 0], oracle(model, covariances)[1], atol=tol("statistic")
    )


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_change_nothing_but_the_units(scale: float) -> None:
    model = make_model()
    units = np.array([1.0, scale])
    scaled = Model(
        **{
            **vars(model),
            "X": model.X * units,
            "terms": (RandomTerm("t0", "g0", ("e0", "e1"), model.X * units),),
        }
    )
    covariances = make_covariances(model)
    one = EffectsDescent(model, covariances, NOISE_VAR)
    two = EffectsDescent(scaled, {"t0": covariances["t0"] / np.outer(units, units)}, NOISE_VAR)
    assert one.train().epochs == pytest.approx(two.train().epochs, abs=3)
    np.testing.assert_allclose(one.ranef()["t0"], two.ranef()["t0"] * units, atol=tol("statistic"))
    np.testing.assert_allclose(
        one.beta.numpy()[:, 0], two.beta.numpy()[:, 0] * units, atol=tol("statistic")
    )


def test_new_variances_and_budgets_do_not_retrace() -> None:
    model = make_model()
    descent = EffectsDescent(model, make_covariances(model), NOISE_VAR)
    for round_ in range(4):
        descent.set_variances(make_covariances(model, round_), 1.0 + round_)
        descent.train(epochs=10 + round_, tolerance=10.0**-round_)
        descent.train(epochs=5, optimizer=Adam(learning_rate=0.1 * (1 + round_)))
    assert [g.experimental_get_tracing_count() for g in descent.graphs.values()] == [1, 1]


def test_without_fixed_effects() -> None:
    model = make_model()
    bare = Model(**{**vars(model), "X": np.zeros((60, 0)), "fixed": ()})
    covariances = make_covariances(model)
    descent = EffectsDescent(bare, covariances, NOISE_VAR)
    assert descent.train(epochs=50_000).converged
    assert descent.beta.shape == (0, 1)
    expected = oracle(bare, covariances)[1]
    np.testing.assert_allclose(descent.b.numpy()[:, 0], expected, atol=tol("statistic"))


def test_it_is_a_module_with_two_variables() -> None:
    model = make_model(**MODELS["crossed"])
    descent = EffectsDescent(model, make_covariances(model), NOISE_VAR)
    assert isinstance(descent, tf.Module)
    assert {v.name.split(":")[0]: tuple(v.shape) for v in descent.trainable_variables} == {
        "beta": (2, 1),
        "b": (7 * 2 + 5, 1),
    }


@pytest.mark.parametrize(
    ("covariance", "noise_var", "says"),
    [
        (np.eye(3), 1.0, r"shape \(3, 3\)"),
        ([[1.0, 0.2], [0.3, 1.0]], 1.0, "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], 1.0, "eigenvalue -1"),
        ([[-1.0, 0.0], [0.0, 1.0]], 1.0, "eigenvalue -1"),
        ([[np.nan, 0.0], [0.0, 1.0]], 1.0, "not finite"),
        ([["a", 0.0], [0.0, 1.0]], 1.0, "must hold numbers"),
        (np.eye(2), 0.0, "noise_var is 0.0"),
        (np.eye(2), -1.0, "positive"),
        (np.eye(2), np.inf, "finite"),
        (np.eye(2), [1.0, 2.0], "one positive"),
        (np.eye(2), "much", "must hold numbers"),
    ],
)
def test_bad_variances_are_named(covariance: object, noise_var: object, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        EffectsDescent(make_model(), {"t0": covariance}, noise_var)


def test_a_missing_covariance_is_named() -> None:
    arrays = weight_arrays(make_model())
    with pytest.raises(ArgumentError, match="no matrix for the term 't0'"):
        choose_coordinates(arrays, make_model().terms, {"Subject": np.eye(2)}, 1.0)


@pytest.mark.parametrize("epochs", [0, -1, 2.5, "10", True, None])
def test_bad_epochs_are_named(epochs: object) -> None:
    descent = EffectsDescent(make_model(), make_covariances(make_model()), NOISE_VAR)
    with pytest.raises(ArgumentError, match=r"epochs is .*at least 1"):
        descent.train(epochs=epochs)


@pytest.mark.parametrize("tolerance", [0.0, -1e-8, np.nan])
def test_bad_tolerances_are_named(tolerance: float) -> None:
    descent = EffectsDescent(make_model(), make_covariances(make_model()), NOISE_VAR)
    with pytest.raises(ArgumentError, match="tolerance"):
        descent.train(tolerance=tolerance)


def test_a_failed_change_of_variances_leaves_the_old_ones() -> None:
    model = make_model()
    descent = EffectsDescent(model, make_covariances(model), NOISE_VAR)
    before = descent.coordinates
    with pytest.raises(ArgumentError):
        descent.set_variances({"t0": np.eye(2)}, -1.0)
    assert descent.coordinates is before
    assert isinstance(descent.train(epochs=1), Training)
