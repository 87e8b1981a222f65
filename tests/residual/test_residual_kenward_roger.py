"""Kenward and Roger's method where V is no linear function of its parameters.

The oracle writes V down as a function of other parameters than the package's (logs, Fisher's z,
log sigma²), and takes its derivatives by differences: the method of 2009 does not depend on them.
Beside residual structures the information on the parameters is the observed one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.covariance.chart import chart_around
from pymackay.covariance.residual.correlation import Ar1, Cs, Independent, Ou, Toep
from pymackay.covariance.residual.structure import Scaled, Unstructured
from pymackay.covariance.structures import STRUCTURES, make_structure

STEP = 1e-3


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    teeth = pm.load_data("Orthodont")
    teeth = teeth.assign(visit=((teeth["age"] - 6) / 2).astype(int))
    teeth["when"] = pd.Categorical(teeth["visit"])
    teeth["start"] = (teeth["age"] == 8).astype(float)
    return teeth[(np.arange(len(teeth)) + 1) % 7 != 4].reset_index(drop=True)


def slopes(V: Callable[[np.ndarray], np.ndarray | float], at: np.ndarray) -> np.ndarray:
    """Return dV by differences of the fourth order, (k, ...)."""
    moves = STEP * np.eye(len(at))
    return np.array(
        [
            (8.0 * (V(at + m) - V(at - m)) - V(at + 2 * m) + V(at - 2 * m)) / (12.0 * STEP)
            for m in moves
        ]
    )


def observed_curvature(
    X: np.ndarray, y: np.ndarray, V: Callable[[np.ndarray], np.ndarray], at: np.ndarray
) -> np.ndarray:
    """Return the second derivatives of −2 log L by REML, (k, k)."""

    def deviance(x: np.ndarray) -> float:
        inverse = np.linalg.inv(V(x))
        A = X.T @ inverse @ X
        e = y - X @ np.linalg.solve(A, X.T @ inverse @ y)
        return np.linalg.slogdet(A)[1] - np.linalg.slogdet(inverse)[1] + e @ inverse @ e

    return slopes(lambda x: slopes(deviance, x), at)


def dense(
    X: np.ndarray,
    V: Callable[[np.ndarray], np.ndarray],
    at: np.ndarray,
    *,
    curved: bool,
    y: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the adjusted covariance of beta, and degrees of freedom of each coefficient.

    Kenward & Roger 1997, eqs. 4 to 8, with the bias of REML estimates (Cox & Snell 1968); with the
    observed information where the response is given.
    """
    first, second = slopes(V, at), slopes(lambda x: slopes(V, x), at)
    inverse = np.linalg.inv(V(at))
    Phi = np.linalg.inv(X.T @ inverse @ X)
    P = inverse - inverse @ X @ Phi @ X.T @ inverse
    expected = np.einsum("ab,ibc,cd,jda->ij", P, first, P, first, optimize=True)
    W = 2.0 * np.linalg.inv(expected if y is None else observed_curvature(X, y, V, at))
    H = np.einsum("ij,ijab->ab", W, second)
    bias = (
        -0.5 * np.linalg.inv(expected) @ np.einsum("ab,ibc,cd,da->i", P, first, P, H, optimize=True)
    )
    left = X.T @ inverse
    Pi = -(left @ first @ left.T)
    Q = np.einsum("pa,iab,bc,jcd,qd->ijpq", left, first, inverse, first, left, optimize=True)
    inner = np.einsum("ij,ijpq->pq", W, Q) - np.einsum("ij,ipr,rs,jsq->pq", W, Pi, Phi, Pi)
    if curved:
        inner = inner - 0.25 * left @ H @ left.T + 0.5 * np.einsum("i,ipq->pq", bias, Pi)
    df = []
    for row in np.eye(len(Phi)):
        v = row @ Phi @ row
        change = -np.einsum("a,iab,b->i", row @ Phi, Pi, Phi @ row)
        df.append(2.0 * v**2 / (change @ W @ change))
    return Phi + 2.0 * Phi @ inner @ Phi, np.array(df)


def parts(data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X of ``age + start``, which rows are of one child, and the lags of visits."""
    X = np.column_stack([np.ones(len(data)), data["age"], data["start"]])
    subject, visit = data["Subject"].astype(str).to_numpy(), data["visit"].to_numpy()
    return X, subject[:, None] == subject, np.abs(visit[:, None] - visit)


def of_random_ar1(fit: pm.Fit, data: pd.DataFrame):
    _, same, lag = parts(data)
    sd, rho = fit.par.to_numpy() * [fit.sigma, 1.0]

    def V(x):
        return np.exp(x[0]) * np.tanh(x[1]) ** lag * same + np.exp(x[2]) * np.eye(len(same))

    return V, np.array([2.0 * np.log(sd), np.arctanh(rho), 2.0 * np.log(fit.sigma)])


def of_residual_ar1(fit: pm.Fit, data: pd.DataFrame):
    _, same, lag = parts(data)
    female = (data["Sex"].astype(str) == "Female").to_numpy()
    par = fit.residual_covariance.par
    start = [
        2.0 * np.log(fit.sigma),
        2.0 * np.log(fit.sigma * par["varident.Female"]),
        np.log(par["ar1.rho"]),
        fit.varcorr["Subject"].iat[0, 0],
    ]

    def V(x):
        sd = np.exp(0.5 * np.where(female, x[1], x[0]))
        return (np.outer(sd, sd) * np.exp(x[2] * lag) + x[3]) * same

    return V, np.array(start)


CURVED = {
    "random ar1": ("ar1(0 + when | Subject)", None, of_random_ar1),
    "residual ar1": ("(1 | Subject)", "varident(Sex) + ar1(visit | Subject)", of_residual_ar1),
}


@pytest.mark.parametrize("case", CURVED)
def test_the_method_is_that_of_2009_whatever_the_parameters(case, data):
    term, residual, dense_model = CURVED[case]
    fit = pm.lmer(f"distance ~ age + start + {term}", data, residual=residual)
    V, at = dense_model(fit, data)
    y = None if residual is None else data["distance"].to_numpy()
    vcov, df = dense(parts(data)[0], V, at, curved=True, y=y)
    table = fit.coefficients(ddf="Kenward-Roger")
    errors = np.sqrt(np.diag(vcov))
    np.testing.assert_allclose(table["Std. Error"], errors, rtol=tol("difference"))
    np.testing.assert_allclose(table["df"], df, rtol=tol("difference"))
    first_order = np.sqrt(np.diag(dense(parts(data)[0], V, at, curved=False, y=y)[0]))
    assert np.abs(table["Std. Error"] / first_order - 1.0).max() > 1e-4  # the term is not zero


LINEAR = {
    "us": ("distance ~ age + start", "us(visit | Subject)"),
    "cs": ("distance ~ age + start", "cs(1 | Subject, hom = TRUE)"),
    "toep": ("distance ~ age + start", "toep(visit | Subject, hom = TRUE)"),
    "diag": ("distance ~ age + start", "diag(visit | Subject)"),
}


def tangent_model(fit: pm.Fit, data: pd.DataFrame):
    """Return V as a linear function of variances and covariances of visits."""
    _, same, lag = parts(data)
    text, visit = fit.residual_covariance.text, data["visit"].to_numpy() - 1
    R = fit.residual_covariance.covariance.to_numpy()
    if text.startswith("us"):
        pairs = [(i, j) for i in range(4) for j in range(i + 1)]
        masks = [
            ((visit[:, None] == i) & (visit == j)) | ((visit[:, None] == j) & (visit == i))
            for i, j in pairs
        ]
        values = [R[i, j] for i, j in pairs]
    elif text.startswith("diag"):
        masks = [np.diag(visit == i) for i in range(4)]
        values = list(np.diag(R))
    else:
        last = 2 if text.startswith("cs") else 4
        masks = [np.minimum(lag, last - 1) == k for k in range(last)]
        values = [R[0, k] for k in range(last)]
    basis = np.array([mask * same for mask in masks], dtype=float)
    return (lambda x: np.tensordot(x, basis, axes=1)), np.array(values)


@pytest.mark.parametrize("case", LINEAR)
def test_linear_structures_have_no_such_term(case, data):
    formula, residual = LINEAR[case]
    fit = pm.lmer(formula, data, residual=residual)
    V, at = tangent_model(fit, data)
    vcov, df = dense(parts(data)[0], V, at, curved=False, y=data["distance"].to_numpy())
    table = fit.coefficients(ddf="Kenward-Roger")
    np.testing.assert_allclose(table["Std. Error"], np.sqrt(np.diag(vcov)), rtol=tol("difference"))
    np.testing.assert_allclose(table["df"], df, rtol=tol("difference"))


def test_compound_symmetry_has_the_result_of_the_nested_model():
    machines = pm.load_data("Machines")
    ours, nested = (
        pm.lmer(f"score ~ Machine + {term}", machines).coefficients(ddf="Kenward-Roger")
        for term in ("cs(0 + Machine | Worker, hom = TRUE)", "(1 | Worker/Machine)")
    )
    np.testing.assert_allclose(ours["Std. Error"], nested["Std. Error"], rtol=tol("invariance"))
    np.testing.assert_allclose(ours["df"], nested["df"], rtol=tol("two searches"))


@pytest.mark.parametrize("name", sorted(set(STRUCTURES) - {"propto"}))
@pytest.mark.parametrize("hom", [True, False])
def test_second_derivatives_of_charts_agree_with_their_traces(name, hom):
    structure = make_structure(name, hom, times=(0.0, 1.0, 2.5, 3.0), rank=2)
    q, k = 4, structure.n_par(4)
    rng = np.random.default_rng(3)
    chart = chart_around(structure, structure.factor(np.linspace(0.3, 0.9, k), q))
    W = rng.normal(size=(k, k))
    W = W + W.T
    S = rng.normal(size=(q, q))
    S = S + S.T
    np.testing.assert_allclose(
        np.sum(S * chart.bent(W)), np.sum(W * chart.bending(S)), rtol=tol("dense algebra") * 100
    )


@pytest.mark.parametrize(
    "structure",
    [
        Scaled(("a", "b", "c"), Ar1()),
        Scaled(("a", "b"), Ou(unit=2.0)),
        Scaled(("",), Cs(4)),
        Scaled(("a", "b"), Independent()),
        Scaled(("a", "b"), Toep((1.0, 2.0, 3.0))),
        Unstructured(("1", "2", "3", "4")),
    ],
    ids=lambda structure: type(getattr(structure, "correlation", structure)).__name__,
)
def test_second_derivatives_of_residuals_agree_with_their_traces(structure):
    rng = np.random.default_rng(4)
    k = structure.n_par
    W, S = rng.normal(size=(k, k)), rng.normal(size=(2, 4, 4))
    W, S = W + W.T, S + S.swapaxes(1, 2)
    s, t = np.array([[0, 1, 0, 1], [1, 0, 1, 1]]), np.array([[0.0, 1, 2, 3], [0.0, 1, 2, 3]])
    s = np.minimum(s, len(structure.levels) - 1)
    psi = np.linspace(0.1, 0.4, k)
    np.testing.assert_allclose(
        np.sum(S * structure.bent(psi, s, t, W)),
        np.sum(W * structure.bending(psi, s, t, S)),
        rtol=tol("dense algebra") * 100,
    )
