"""Generalised models: the equations of the effects, the gradient, and the optimum."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.api.criterion import observations
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.solve.pirls import coupling
from pymackay.solve.pirls.criteria.exact import ExactCriterion
from pymackay.solve.pirls.criteria.joint import JointCriterion
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.criteria.nodes import Nodes
from pymackay.solve.pirls.criteria.quadrature import Quadrature
from pymackay.solve.pirls.hessian import by_differences, exact_hessian
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.system import System

N = 150
RANDOM = ("(1 | g)", "(x | g)", "(1 | g) + (1 | h)", "(x | g) + (1 | h)", "(x | g) + (z || h)")
FAMILIES = {
    "logit": pm.Binomial(),
    "cloglog": pm.Binomial("cloglog"),
    "poisson": pm.Poisson(),
    "sqrt": pm.Poisson("sqrt"),
    "Gamma": pm.Gamma("log"),
    "inverse Gaussian": pm.InverseGaussian("log"),
    "gaussian": pm.Gaussian("log"),
    "negative binomial": pm.NegativeBinomial(),
    "negative binomial of known shape": pm.NegativeBinomial(theta=1.3),
}


def rows_of(family: pm.Binomial, random_part: str) -> Rows:
    """Return the rows of a small model of a family."""
    random = np.random.default_rng(5)
    data = pd.DataFrame(
        {
            "x": random.normal(size=N),
            "z": random.normal(size=N),
            "g": random.integers(0, 12, N).astype(str),
            "h": random.integers(0, 7, N).astype(str),
        }
    )
    mu = random.uniform(1.0, 4.0, N)
    data["y"] = {
        "binomial": (mu > 2.5).astype(float),
        "count": np.floor(mu),
        "positive": mu,
        "real": mu,
    }[family.support]
    formula = f"y ~ x + {random_part}"
    general = build_general(formula, Table(data), Arguments(), family.support)
    return Rows.of(general.model, observations(general))


def some_parameters(laplace: Laplace) -> np.ndarray:
    """Return parameters at which nothing vanishes."""
    rows, random = laplace.rows, np.random.default_rng(1)
    mean = 0.5 if laplace.family.support == "binomial" else 2.5
    eta = laplace.family.predictor(np.full(rows.n, mean))
    beta = rows.basis.Q.T @ eta + 0.1 * random.normal(size=rows.p)
    elements = 0.2 + 0.2 * random.uniform(size=rows.n_theta)
    return np.concatenate([beta, elements, [0.3] * bool(laplace.extra)])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("random_part", RANDOM)
def test_system_is_that_of_the_dense_matrices(random_part, sparse, monkeypatch):
    if sparse:
        monkeypatch.setattr(coupling, "_DENSE_WORK", 0)
        monkeypatch.setattr(coupling, "_DENSE_SHARE", 2.0)
    rows, random = rows_of(pm.Binomial(), random_part), np.random.default_rng(2)
    factors = rows.block_factors(random.normal(size=rows.n_theta))
    weights = random.uniform(0.1, 1.0, N)
    system = System.of(rows, rows.products(weights), factors)
    Z, Lambda = rows.transposed.T.toarray(), np.zeros((rows.n_effects, rows.n_effects))
    for span, block, factor in zip(rows.spans, rows.blocks, factors, strict=True):
        Lambda[span, span] = np.kron(factor, np.eye(block.n_levels))
    A = Z @ Lambda
    H = A.T @ (weights[:, None] * A) + np.eye(rows.n_effects)
    right = random.normal(size=(rows.n_effects, 2))
    T = Z.T @ np.linalg.solve(np.diag(1.0 / weights) + A @ A.T, Z)
    covariance = Lambda @ np.linalg.solve(H, Lambda.T)
    near = {"rtol": tol("oracle"), "atol": tol("oracle")}
    np.testing.assert_allclose(system.logdet, np.linalg.slogdet(H)[1], **near)
    np.testing.assert_allclose(system.solve(right), np.linalg.solve(H, right), **near)
    leverages = np.einsum("ia,ia->i", A, np.linalg.solve(H, A.T).T)
    np.testing.assert_allclose(system.leverages(rows), leverages, **near)
    parts = zip(
        rows.spans,
        rows.blocks,
        factors,
        system.traces(),
        system.factor_slopes(),
        system.level_covariances(),
        strict=True,
    )
    for span, block, factor, traces, slopes, covariances in parts:
        index = span.start + np.arange(block.size).reshape(block.q, -1)
        own = T[index[:, None, :], index[None, :, :]]
        np.testing.assert_allclose(traces, own, **near)
        np.testing.assert_allclose(slopes, own.sum(axis=2) @ factor, **near)
        theirs = covariance[index[:, None, :], index[None, :, :]]
        np.testing.assert_allclose(covariances, theirs, **near)


def differences(criterion, psi: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the gradient of a criterion by differences of fourth order."""
    made = []
    for i in range(len(psi)):
        h = 1e-3 * (abs(psi[i]) + 0.1)
        values = []
        for k in (-2, -1, 1, 2):
            moved = psi.copy()
            moved[i] += k * h
            values.append(criterion.at(moved, u).criterion)
        made.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h))
    return np.array(made)


@pytest.mark.parametrize("determinant", ["expected", "observed"])
@pytest.mark.parametrize("random_part", RANDOM[1::2])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_is_that_of_differences(name, random_part, determinant):
    family = FAMILIES[name]
    rows = rows_of(family, random_part)
    for dispersion in ("ml", "lme4") if family.has_dispersion else ("ml",):
        laplace = Laplace(rows, family, determinant, dispersion)
        psi = some_parameters(laplace)
        point = laplace.at(psi)
        by_difference = differences(laplace, psi, point.mode.u)
        size = 1.0 + np.abs(point.gradient).max()
        assert np.abs(point.gradient - by_difference).max() < tol("difference") * size


@pytest.mark.parametrize("determinant", ["expected", "observed"])
@pytest.mark.parametrize("random_part", RANDOM)
@pytest.mark.parametrize("name", FAMILIES)
def test_second_derivatives_are_those_of_differences_of_the_gradient(
    name, random_part, determinant
):
    """Also away from an optimum, where no part of them is small; at modes that are searched."""
    laplace = Laplace(rows_of(FAMILIES[name], random_part), FAMILIES[name], determinant)
    psi, h = some_parameters(laplace), 1e-3
    point = laplace.at(psi)
    made = point.second_derivatives()
    if laplace.extra:
        assert made is None  # they are left to differences
        return
    columns = []
    for move in np.eye(len(psi)) * h:
        ends = [laplace.at(psi + k * move, point.mode.u).gradient for k in (-2, -1, 1, 2)]
        columns.append((ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h))
    size = np.abs(made).max()
    assert np.abs(made - np.array(columns)).max() < tol("difference") * size
    assert np.abs(exact_hessian(laplace, point) - made).max() == 0.0  # none is flat


def test_at_a_factor_of_zero_the_curvature_is_exact():
    """Where all variances are zero, nothing is left to the secant correction of the search."""
    rows = rows_of(pm.Binomial(), "(1 | g)")
    laplace = Laplace(rows, pm.Binomial())
    psi = some_parameters(laplace)
    psi[rows.p :] = 0.0
    point = laplace.at(psi)
    for exact in (exact_hessian(laplace, point), by_differences(laplace, point)):
        np.testing.assert_allclose(point.curvature.hessian, exact, rtol=1e-5, atol=1e-5)


def test_slopes_of_the_mode_are_those_of_differences():
    laplace = Laplace(rows_of(pm.Poisson(), "(x | g) + (1 | h)"), pm.Poisson())
    psi, h = some_parameters(laplace), 1e-5
    point = laplace.at(psi)
    slopes = point.curvature.mode_slopes
    for i in range(len(psi)):
        move = np.eye(len(psi))[i] * h
        change = laplace.at(psi + move).mode.u - laplace.at(psi - move).mode.u
        np.testing.assert_allclose(slopes[:, i], change / (2 * h), atol=1e-7)


@pytest.mark.parametrize("nodes", [1, 2, 5])
@pytest.mark.parametrize("random_part", RANDOM[:2])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_of_quadrature(name, random_part, nodes):
    """Through nodes and scales that move; one node is Laplace's approximation."""
    laplace = Laplace(rows_of(FAMILIES[name], random_part), FAMILIES[name])
    criterion = Quadrature(laplace, Nodes.hermite(nodes, laplace.rows.blocks[0].q))
    psi = some_parameters(laplace)
    point = criterion.at(psi)
    by_difference = differences(criterion, psi, point.start)
    size = 1.0 + np.abs(point.gradient).max()
    assert np.abs(point.gradient - by_difference).max() < tol("difference") * size
    if nodes == 1:
        assert point.criterion == pytest.approx(point.center.criterion, rel=tol("oracle"))


@pytest.mark.parametrize("name", FAMILIES)
def test_exact_likelihood_is_the_limit_of_quadrature(name):
    laplace = Laplace(rows_of(FAMILIES[name], "(1 | g)"), FAMILIES[name])
    psi = some_parameters(laplace)
    point = ExactCriterion(laplace).at(psi)
    many = Quadrature(laplace, Nodes.hermite(41, 1)).at(psi)
    assert point.criterion == pytest.approx(many.criterion, rel=tol("oracle"))
    size = 1.0 + np.abs(point.gradient).max()
    assert np.abs(point.gradient - many.gradient).max() < tol("difference") * size


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_at_the_joint_mode(name):
    laplace = Laplace(rows_of(FAMILIES[name], "(x | g) + (1 | h)"), FAMILIES[name])
    psi, p = some_parameters(laplace), laplace.rows.p
    criterion = JointCriterion(laplace, psi[:p])
    point = criterion.at(psi[p:])
    by_difference = differences(criterion, psi[p:], point.start)
    size = 1.0 + np.abs(point.gradient).max()
    assert np.abs(point.gradient - by_difference).max() < tol("difference") * size
    slope = laplace.rows.basis.Q.T @ point.center.mode.at.d1
    assert np.abs(slope).max() < tol("difference")
