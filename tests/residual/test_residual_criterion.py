"""Models with residual structures against the n x n Gaussian likelihood."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.solve.pirls.hessian import by_differences


def design(seed: int, groups: int = 9, visits: int = 5) -> pd.DataFrame:
    """Return rows in random order, with visits missing and strata of the groups."""
    random = np.random.default_rng(seed)
    data = pd.DataFrame(
        [(g, t) for g in range(groups) for t in range(1, visits + 1)], columns=["g", "t"]
    )
    data["when"] = data["t"] + random.uniform(-0.3, 0.3, len(data))
    data["v"] = pd.Categorical([f"v{t}" for t in data["t"]])
    data["s"] = np.where(data["g"] % 2 == 0, "a", "b")
    data["x"] = random.normal(size=len(data))
    data["w"] = random.uniform(0.5, 2.0, len(data))
    data["item"] = random.integers(0, 4, len(data))
    shared = random.normal(size=groups)[data["g"]]
    noise = random.normal(size=len(data)) * np.where(data["s"] == "a", 1.0, 2.0)
    smooth = pd.Series(noise).rolling(2, min_periods=1).mean()
    data["y"] = 3.0 + data["x"] + shared + 0.4 * data["t"] + smooth
    kept = random.permutation(np.flatnonzero(random.uniform(size=len(data)) > 0.15))
    return data.iloc[kept]


def correlation(tag: str, par: pd.Series, one: pd.Series, other: pd.Series) -> float:
    """Return the correlation of two rows of one group."""
    if one.name == other.name:
        return 1.0
    if tag == "ar1":
        return float(par["ar1.rho"] ** abs(one["t"] - other["t"]))
    if tag == "ou":
        return float(par["ou.rho"] ** abs(one["when"] - other["when"]))
    if tag == "cs":
        return float(par["cs.rho"])
    if tag == "toep":
        return float(par[f"toep.rho{abs(one['t'] - other['t']):g}"])
    if tag == "us":
        first, second = sorted([one["v"], other["v"]])
        return float(par[f"cor.{first}.{second}"])
    return 0.0


def dense_criterion(fit: pm.Fit, data: pd.DataFrame, Z: np.ndarray, G: np.ndarray) -> float:
    """Return −2 log likelihood, or REML's, of the estimates by n x n matrices.

    Z has shape (n, q), G (q, q), absolute.
    """
    part = fit.residual_covariance
    sd = {str(name): value for name, value in part.sd.items()}
    n, X = len(data), fit.problem.model.X
    rows = [row for _, row in data.iterrows()]
    R = np.zeros((n, n))
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            if one["g"] != other["g"] or (not part.group and i != j):
                continue
            key = [
                str(row["s"]) if "varident" in part.text else str(row["v"]) for row in (one, other)
            ]
            scale = [sd.get(name, fit.sigma) for name in key]
            R[i, j] = scale[0] * scale[1] * correlation(part.tag, part.par, one, other)
    if fit.model.weights is not None:
        root = np.sqrt(fit.model.weights)
        R /= np.outer(root, root)
    V = Z @ G @ Z.T + R
    e = data["y"].to_numpy() - X @ fit.beta.to_numpy()
    value = np.linalg.slogdet(V)[1] + e @ np.linalg.solve(V, e)
    if not fit.reml:
        return float(value + n * np.log(2.0 * np.pi))
    value += np.linalg.slogdet(X.T @ np.linalg.solve(V, X))[1]
    return float(value + (n - X.shape[1]) * np.log(2.0 * np.pi))


CASES = [
    ("y ~ x", "ar1(t | g)"),
    ("y ~ x", "ou(when | g)"),
    ("y ~ x + v", "us(v | g)"),
    ("y ~ x", "cs(1 | g, hom = TRUE)"),
    ("y ~ x", "cs(v | g)"),
    ("y ~ x", "toep(t | g, hom = TRUE)"),
    ("y ~ x", "toep(v | g)"),
    ("y ~ x", "diag(v | g)"),
    ("y ~ x", "varident(s)"),
    ("y ~ x", "varident(s) + ar1(t | g)"),
    ("y ~ x + (1 | g)", "varident(s)"),
    ("y ~ x + (1 | g)", "ar1(t | g)"),
    ("y ~ x + (1 + x | g)", "ar1(t | g)"),
    ("y ~ x + (1 | item)", "varident(s) + ou(when | g)"),
]


@pytest.fixture(scope="module")
def fits() -> dict[tuple[str, str, bool], tuple[pm.Fit, pd.DataFrame]]:
    made = {}
    for k, (formula, residual) in enumerate(CASES):
        data, reml = design(k, groups=14), k % 2 == 0
        weights = "w" if k % 3 == 0 else None
        fit = pm.lmer(formula, data, residual=residual, reml=reml, weights=weights)
        made[formula, residual] = fit, data
    return made


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case) for case in CASES])
def test_the_criterion_is_the_dense_one(case, fits):
    fit, data = fits[case]
    Z, G = np.zeros((len(data), 0)), np.zeros((0, 0))
    if fit.varcorr:
        Z = fit_design(fit)
        term = fit.model.terms[0]
        G = np.kron(np.eye(len(fit.model.levels[term.group])), fit.varcorr[term.name])
    np.testing.assert_allclose(
        fit.criterion, dense_criterion(fit, data, Z, G), rtol=tol("oracle"), atol=0.0
    )


def fit_design(fit: pm.Fit) -> np.ndarray:
    """Return Z of the only random term, (n, J q), level by level."""
    term = fit.problem.model.terms[0]
    factor = fit.problem.model.factors[term.group]
    q = len(term.effects)
    Z = np.zeros((fit.n_obs, len(factor.levels) * q))
    for i, code in enumerate(factor.codes):
        Z[i, code * q : (code + 1) * q] = term.columns[i]
    return Z


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case) for case in CASES])
def test_derivatives_are_those_of_the_criterion(case, fits):
    fit, _ = fits[case]
    marginal, psi = fit.problem.marginal, 0.8 * fit.problem.psi
    point = marginal.at(psi)
    step = 1e-5
    slopes = [
        (marginal.at(psi + move).criterion - marginal.at(psi - move).criterion) / (2.0 * step)
        for move in step * np.eye(len(psi))
    ]
    scale = np.abs(point.gradient).max()
    np.testing.assert_allclose(point.gradient, slopes, atol=tol("difference") * scale, rtol=0.0)
    hessian = by_differences(marginal, point)
    largest = np.abs(hessian).max()
    np.testing.assert_allclose(
        point.curvature.hessian, hessian, atol=tol("difference") * largest, rtol=0.0
    )


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case) for case in CASES])
def test_each_optimum_is_certified(case, fits):
    fit, _ = fits[case]
    assert fit.convergence.converged, fit.convergence.message
    assert fit.convergence.curvature > 0.0


def test_effects_and_their_variances_are_the_dense_ones(fits):
    fit, data = fits["y ~ x + (1 + x | g)", "ar1(t | g)"]
    Z, q = fit_design(fit), 2
    J = len(fit.model.levels["g"])
    G = np.kron(np.eye(J), fit.varcorr["g"])
    rho = fit.residual_covariance.par["ar1.rho"]
    t, g = data["t"].to_numpy(), data["g"].to_numpy()
    R = fit.sigma**2 * rho ** np.abs(t[:, None] - t) * (g[:, None] == g)
    root = np.sqrt(np.ones(len(data)) if fit.model.weights is None else fit.model.weights)
    W = np.linalg.inv(Z @ G @ Z.T + R / np.outer(root, root))
    X = fit.problem.model.X
    P = W - W @ X @ np.linalg.solve(X.T @ W @ X, X.T @ W)
    b = (G @ Z.T @ P @ data["y"].to_numpy()).reshape(J, q)
    np.testing.assert_allclose(fit.ranef["g"].to_numpy(), b, rtol=0.0, atol=tol("oracle"))
    for inner, ours in ((W, fit.condvar["g"]), (P, fit.pev["g"])):
        whole = G - G @ Z.T @ inner @ Z @ G
        dense = [whole[j * q : j * q + q, j * q : j * q + q] for j in range(J)]
        np.testing.assert_allclose(ours, dense, rtol=0.0, atol=tol("oracle"))


def test_compound_symmetry_is_a_random_intercept():
    data = design(3)
    plain = pm.lmer("y ~ x + (1 | g)", data)
    fit = pm.lmer("y ~ x", data, residual="cs(1 | g, hom = TRUE)")
    np.testing.assert_allclose(fit.criterion, plain.criterion, rtol=tol("optimum"))
    pd.testing.assert_frame_equal(
        pd.DataFrame(fit.coefficients()), pd.DataFrame(plain.coefficients()), rtol=1e-6
    )


def test_kenward_roger_is_that_of_a_random_intercept_where_no_visit_is_missing():
    """There the observed information, which residual structures have, is the expected one."""
    teeth = pm.load_data("Orthodont")
    plain = pm.lmer("distance ~ age + (1 | Subject)", teeth)
    fit = pm.lmer("distance ~ age", teeth, residual="cs(1 | Subject, hom = TRUE)")
    ours, theirs = (pd.DataFrame(f.coefficients("Kenward-Roger")) for f in (fit, plain))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6)


def test_rows_in_any_order_give_the_same_numbers():
    data = design(5, groups=14)
    one = pm.lmer("y ~ x", data, residual="us(v | g)")
    other = pm.lmer("y ~ x", data.sort_values(["g", "t"]), residual="us(v | g)")
    np.testing.assert_allclose(one.criterion, other.criterion, rtol=tol("optimum"))
    pd.testing.assert_series_equal(
        one.residual_covariance.par, other.residual_covariance.par, rtol=tol("tight")
    )


def test_a_covariance_that_becomes_singular_is_said():
    data = design(6)  # nine groups, of which few have all five visits
    with pytest.warns(pm.ConvergenceWarning, match="becomes singular.*too few groups"):
        pm.lmer("y ~ x", data, residual="us(v | g)")


def test_what_the_data_do_not_determine_is_said():
    data = design(2)
    with pytest.warns(pm.ConvergenceWarning, match="flat along"):
        pm.lmer("y ~ x + (1 | g)", data, residual="cs(1 | g, hom = TRUE)")
