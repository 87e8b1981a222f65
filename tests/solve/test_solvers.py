"""Both solvers against the dense oracle, and every derivative against differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from oracle import dense_as_fit, dense_fit
from small_models import crossed_model, sleepstudy_model, twin_factor_model
from tolerances import tol

import pymackay.model.sums.gram as gram_module
from pymackay.covariance.layout import TermLayout
from pymackay.model.model import Model
from pymackay.model.sums.gram import cross_products
from pymackay.solve.assemble import Problem, evaluate_at, factors_from_theta, theta_from_factors
from pymackay.solve.exact import crossed
from pymackay.solve.exact import solver as exact_solver
from pymackay.solve.exact.coupling import DenseCoupling, PairCoupling
from pymackay.solve.exact.crossed import Crossed
from pymackay.solve.exact.levels import (
    LEVELS_FIRST,
    LEVELS_LAST,
    MOMENTS,
    Layout,
    halves,
    level_moments,
    scalar_moments,
)
from pymackay.solve.exact.solver import Exact
from pymackay.solve.search.points import Axes, in_axes
from pymackay.solve.solver import Evaluation


def joined_terms_model() -> Model:
    """Two terms on the leading factor, one of three effects, beside a crossed factor."""
    model = crossed_model(weighted=True)
    term = model.terms[0]
    extra = dataclasses.replace(
        term, name="g.1", effects=("z", "z2"), columns=model.X[:, [2, 2]] ** [1, 2]
    )
    return dataclasses.replace(model, terms=(term, extra, model.terms[1]))


MODELS = {
    "sleepstudy": sleepstudy_model(),
    "double bar": sleepstudy_model(double_bar=True),
    "crossed": crossed_model(),
    "weighted": crossed_model(weighted=True),
    "joined terms": joined_terms_model(),
    "twins": twin_factor_model(),
    "no fixed effects": dataclasses.replace(sleepstudy_model(), X=np.empty((180, 0)), fixed=()),
}


def some_theta(model: Model, kind: str, seed: int = 4) -> np.ndarray:
    """A theta in lme4's order: ordinary, with a dead column, or all zero."""
    rng = np.random.default_rng(seed)
    parts = []
    for term in model.terms:
        q = len(term.effects)
        block = np.tril(0.3 * rng.normal(size=(q, q)), -1) + np.diag(rng.uniform(0.2, 1.5, q))
        if kind == "singular":
            block[:, -1] = 0.0
        parts.append(block.T[np.triu_indices(q)] * (kind != "zero"))
    return np.concatenate(parts)


def problem_of(model: Model, reml: bool) -> Problem:
    return Problem(model, Exact(cross_products(model), reml))


def in_theta(
    evaluation: Evaluation, factors: list[np.ndarray], layouts: tuple[TermLayout, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Carry score and curvature from the covariances to theta by the chain rule."""
    m = layouts[-1].stop
    gradient = np.empty(m)
    jacobian = np.zeros((m, m))
    bending = np.zeros((m, m))
    for score, factor, layout in zip(evaluation.score, factors, layouts, strict=True):
        span = slice(layout.start, layout.stop)
        rows, columns = layout.rows, layout.columns
        gradient[span] = 2.0 * (score @ factor)[rows, columns]
        # G_rc = sum_b L_rb L_cb: the derivative by L_ab is [r = a] L_cb + [c = a] L_rb
        same_row = rows[:, None] == rows[None, :]
        same_column = columns[:, None] == rows[None, :]
        jacobian[span, span] = (
            same_row * factor[columns[:, None], columns[None, :]]
            + same_column * factor[rows[:, None], columns[None, :]]
        )
        same = columns[:, None] == columns[None, :]
        bending[span, span] = 2.0 * same * score[rows[:, None], rows[None, :]]
    return gradient, jacobian.T @ evaluation.curvature @ jacobian + bending


@pytest.mark.parametrize("kind", ["ordinary", "singular", "zero"])
@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("name", MODELS)
def test_every_number_equals_the_dense_answer(name: str, reml: bool, kind: str) -> None:
    model = MODELS[name]
    theta = some_theta(model, kind)
    fit = evaluate_at(problem_of(model, reml), theta)
    dense = dense_fit(model, theta, reml)
    as_fit = dense_as_fit(model, theta, reml)
    close = {"rtol": tol("oracle"), "atol": tol("oracle")}
    np.testing.assert_allclose(fit.criterion, dense.criterion, rtol=tol("criterion"))
    np.testing.assert_allclose(fit.theta, theta, **close)
    np.testing.assert_allclose(fit.beta, dense.beta, **close)
    np.testing.assert_allclose(fit.vcov, dense.vcov, **close)
    np.testing.assert_allclose(fit.sigma, dense.sigma, **close)
    np.testing.assert_allclose(fit.fitted, dense.fitted, **close)
    np.testing.assert_allclose(fit.residuals, model.y - dense.fitted, **close)
    for term in model.terms:
        np.testing.assert_allclose(fit.varcorr[term.name], dense.varcorr[term.name], **close)
    for group in model.factors:
        np.testing.assert_allclose(fit.ranef[group], as_fit.ranef[group], **close)
        np.testing.assert_allclose(fit.condvar[group], as_fit.condvar[group], **close)
        np.testing.assert_allclose(fit.pev[group], as_fit.pev[group], **close)


@pytest.mark.parametrize("kind", ["ordinary", "singular"])
@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_and_curvature_are_the_criterions_derivatives(
    name: str, reml: bool, kind: str
) -> None:
    model = MODELS[name]
    gram = cross_products(model)
    solver = Exact(gram, reml)
    layouts = gram.layouts
    factors = factors_from_theta(gram, some_theta(model, kind))
    theta = np.concatenate([u.elements(f) for u, f in zip(layouts, factors, strict=True)])

    def at(point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        there = [layout.factor(point) for layout in layouts]
        evaluation = solver.evaluate(there)
        return evaluation.criterion, *in_theta(evaluation, there, layouts)

    _, gradient, curvature = at(theta)
    step = 1e-5 * np.eye(len(theta))
    value_slopes = [(at(theta + s)[0] - at(theta - s)[0]) / 2e-5 for s in step]
    slope_slopes = [(at(theta + s)[1] - at(theta - s)[1]) / 2e-5 for s in step]
    size = tol("difference")
    np.testing.assert_allclose(gradient, value_slopes, atol=size * max(1.0, np.abs(gradient).max()))
    np.testing.assert_allclose(
        curvature, slope_slopes, atol=size * max(1.0, np.abs(curvature).max())
    )


@pytest.mark.parametrize("kind", ["ordinary", "singular"])
@pytest.mark.parametrize("name", ["sleepstudy", "joined terms"])
def test_derivatives_along_the_principal_axes(name: str, kind: str) -> None:
    model = MODELS[name]
    solver = Exact(cross_products(model), True)
    layouts = solver.bases.layouts
    factors = factors_from_theta(solver.bases, some_theta(model, kind))
    axes = [Axes.of(factor[None], layout) for factor, layout in zip(factors, layouts, strict=True)]

    def criterion(step: np.ndarray) -> float:
        moved = [a.factor(a.sizes, step[None])[0] for a in axes]
        return solver.evaluate(moved).criterion

    at = solver.evaluate(factors)
    found = in_axes(tuple(S[None] for S in at.score), at.curvature[None], axes)
    gradient, curvature = (part[0] for part in found)
    steps = 1e-4 * np.eye(len(gradient))
    up, down = (np.array([criterion(sign * s) for s in steps]) for sign in (1.0, -1.0))
    size = np.abs(curvature).max()
    np.testing.assert_allclose(gradient, (up - down) / 2e-4, atol=1e-6 * size)
    second = (up + down - 2.0 * criterion(0.0 * steps[0])) / 1e-8
    np.testing.assert_allclose(np.diag(curvature), second, atol=1e-4 * size)
    mixed = [
        [
            (criterion(s + t) - criterion(s - t) - criterion(t - s) + criterion(-s - t))
            for t in steps
        ]
        for s in steps
    ]
    np.testing.assert_allclose(curvature, np.array(mixed) / 4e-8, atol=1e-4 * size)


def test_average_information_agrees_with_the_observed_in_its_shared_part() -> None:
    """Observed curvature is twice the quadratic part less the traces; average is one of it."""
    gram = cross_products(crossed_model())
    solver = Crossed(gram, True)
    factors = factors_from_theta(gram, some_theta(crossed_model(), "ordinary"))
    observed = solver.evaluate(factors).curvature
    solver._exact = False
    average = solver.evaluate(factors).curvature
    assert np.linalg.eigvalsh(average)[0] > 0.0
    assert not np.allclose(observed, average)


def test_the_two_couplings_are_one_matrix() -> None:
    rng = np.random.default_rng(8)
    model = crossed_model()
    scalar = dataclasses.replace(
        model,
        terms=(
            dataclasses.replace(model.terms[0], effects=("(Intercept)",), columns=model.X[:, :1]),
            model.terms[1],
        ),
    )
    gram = cross_products(scalar)
    pairs = PairCoupling(gram.C, gram.C.shape[1] - gram.p - 1)
    dense = DenseCoupling(gram.C.toarray()[:, None, :])
    half = rng.uniform(size=(9, 1, 1))
    Q = rng.normal(size=(gram.C.shape[1] - 1,) * 2)
    x, v = rng.normal(size=(gram.C.shape[1], 3)), rng.normal(size=(9, 1, 4))
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(pairs.schur(half), dense.schur(half), **close)
    np.testing.assert_allclose(
        pairs.level_quadratics(Q + Q.T), dense.level_quadratics(Q + Q.T), **close
    )
    np.testing.assert_allclose(pairs.times(x), dense.times(x), **close)
    np.testing.assert_allclose(pairs.transpose_times(v), dense.transpose_times(v), **close)
    np.testing.assert_array_equal(pairs.dense(), dense.dense())


@pytest.mark.parametrize("name", ["sleepstudy", "weighted", "joined terms"])
def test_cross_products_do_not_depend_on_the_chunks(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cross_products(MODELS[name])
    monkeypatch.setattr(gram_module, "_CHUNK", 17)
    chunked = cross_products(MODELS[name])
    for field in ("A", "C", "D"):
        ours, theirs = getattr(chunked, field), getattr(whole, field)
        difference = abs(ours - theirs).max()
        assert difference <= 1e-12 * abs(theirs).max()


@pytest.mark.parametrize(
    ("q", "layout"),
    [(1, LEVELS_FIRST), (2, LEVELS_FIRST), (5, LEVELS_FIRST), (1, LEVELS_LAST), (2, LEVELS_LAST)],
    ids=lambda x: getattr(x, "name", x),
)
def test_levels_are_eliminated_alike_in_both_layouts(q: int, layout: Layout) -> None:
    rng = np.random.default_rng(q)
    Z = rng.normal(size=(7, 6, q))
    A = np.einsum("jna,jnb->jab", Z, Z)
    factor = np.tril(rng.normal(size=(q, q)))
    root, half, logdet = halves(layout.store(A), tf.constant(factor), q, layout)
    M = np.eye(q) + factor.T @ A @ factor
    root, half = layout.restore(root).numpy(), layout.restore(half).numpy()
    F = half.transpose(0, 2, 1) @ half
    inverse = root.transpose(0, 2, 1) @ root
    np.testing.assert_allclose(inverse, np.linalg.inv(M), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(F, factor @ np.linalg.inv(M) @ factor.T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(M)[1].sum(), rtol=1e-12)


@pytest.mark.parametrize("layout", [LEVELS_FIRST, LEVELS_LAST], ids=lambda x: x.name)
@pytest.mark.parametrize("size", [0.0, 0.7, 1e4])
def test_moments_of_scalars_are_those_of_the_graph(size: float, layout: Layout) -> None:
    rng = np.random.default_rng(3)
    A, e, quad = rng.uniform(0.5, 9.0, (3, 7, 1, 1)) * np.array([1, -1, 1])[:, None, None, None]
    graph = level_moments(1, size > 0.0, layout)
    theirs = graph(layout.store(A), np.array([[size]]), layout.store(e), layout.store(quad))
    ours = scalar_moments(A, size, e, quad)
    for name, expected in zip(MOMENTS, theirs, strict=True):
        np.testing.assert_allclose(ours[name], expected, rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("name", ["sleepstudy", "double bar", "crossed", "weighted"])
@pytest.mark.parametrize("kind", ["ordinary", "singular", "zero"])
def test_both_layouts_give_one_evaluation(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gram = cross_products(MODELS[name])
    factors = factors_from_theta(gram, some_theta(MODELS[name], kind))
    found = []
    for layout in (LEVELS_FIRST, LEVELS_LAST):
        for module in (exact_solver, crossed):
            monkeypatch.setattr(module, "choose_layout", lambda *_, layout=layout: layout)
        found.append(Exact(gram, True).evaluate(factors))
    first, last = found
    close = {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(first.criterion, last.criterion, rtol=1e-12)
    np.testing.assert_allclose(first.curvature, last.curvature, **close)
    for field in ("b", "traces", "squares"):
        for ours, theirs in zip(getattr(first, field), getattr(last, field), strict=True):
            np.testing.assert_allclose(ours, theirs, **close)


def test_theta_survives_the_way_through_the_whitened_bases() -> None:
    model = joined_terms_model()
    gram = cross_products(model)
    theta = some_theta(model, "ordinary")
    np.testing.assert_allclose(
        theta_from_factors(gram, factors_from_theta(gram, theta)), theta, rtol=1e-12, atol=1e-13
    )
