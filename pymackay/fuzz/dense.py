"""The dense oracle: solves a mixed model from its n x n covariance by textbook formulas.

Everything follows from V = sigma² H with H = W⁻¹ + Z Λ Λᵀ Zᵀ: generalised least squares for beta,
best linear unbiased prediction for b, and the textbook formulas for their covariances
(Searle, Casella, McCulloch 1992, chapters 6 and 7). It shares no formula with the solver: no
penalised least squares, no factor of the mixed-model equations, no cross-products. If float64 is
not accurate enough to decide between two answers, it can use the platform's long double.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from pymackay.model.model import Model, RandomTerm
from pymackay.results import Convergence, Engine, Fit


@dataclass(frozen=True, eq=False)
class DenseFit:
    """The dense solution of a model at one theta.

    Attributes
    ----------
    beta : numpy.ndarray, shape (p,)
    vcov : numpy.ndarray, shape (p, p)
        Absolute scale.
    sigma : float
        Profiled residual standard deviation: divisor n - p under REML, n under ML.
    b : numpy.ndarray, shape (q,)
        Term after term; within a term level after level, effects of one level together.
    condvar, pev : numpy.ndarray, shape (q, q)
        Var(b | y, beta) and Var(b̂ - b), whole matrices in the order of `b`, absolute scale.
    criterion : float
        REML criterion or -2 log likelihood, all constants included.
    trace_hat : float
        Trace of the matrix that maps y - offset to the conditional fitted values - offset.
    fitted : numpy.ndarray, shape (n,)
        Offset included.
    varcorr : dict of str to numpy.ndarray, each (q_k, q_k)
        Term name to covariance, absolute scale.
    """

    beta: np.ndarray
    vcov: np.ndarray
    sigma: float
    b: np.ndarray
    condvar: np.ndarray
    pev: np.ndarray
    criterion: float
    trace_hat: float
    fitted: np.ndarray
    varcorr: dict[str, np.ndarray]


def relative_blocks(model: Model, theta: np.ndarray) -> list[np.ndarray]:
    """Return one lower-triangular relative factor per term, filled from theta by columns."""
    theta = np.asarray(theta, dtype=np.float64)
    blocks, start = [], 0
    for term in model.terms:
        q = len(term.effects)
        block = np.zeros((q, q))
        for column in range(q):
            for row in range(column, q):
                block[row, column] = theta[start]
                start += 1
        blocks.append(block)
    if start != len(theta):
        raise ValueError(f"theta has {len(theta)} elements, the model needs {start}")
    return blocks


def theta_names(model: Model) -> list[str]:
    """Return the names of theta's elements in ``getME(fit, "theta")``."""
    names = []
    for term in model.terms:
        for column, second in enumerate(term.effects):
            names.append(f"{term.group}.{second}")
            names += [f"{term.group}.{first}.{second}" for first in term.effects[column + 1 :]]
    return names


def random_design(model: Model) -> np.ndarray:
    """Return Z, shape (n, q): term after term, level after level, effects together."""
    return np.hstack([_term_design(model, term) for term in model.terms])


def _term_design(model: Model, term: RandomTerm) -> np.ndarray:
    factor = model.factors[term.group]
    q, levels = len(term.effects), len(factor.levels)
    dense = np.zeros((len(model.y), levels * q))
    for row, code in enumerate(factor.codes):
        dense[row, code * q : (code + 1) * q] = term.columns[row]
    return dense


def relative_covariance(model: Model, theta: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
    """Return Λ Λᵀ, shape (q, q)."""
    root = _relative_factor(model, theta, dtype)
    return np.asarray(root @ root.T)


def _relative_factor(model: Model, theta: np.ndarray, dtype: Any) -> np.ndarray:
    """Return Λ, shape (q, q)."""
    sizes = [len(model.factors[t.group].levels) for t in model.terms]
    blocks = [block.astype(dtype) for block in relative_blocks(model, theta)]
    pieces = [
        np.kron(np.eye(levels, dtype=dtype), block)
        for levels, block in zip(sizes, blocks, strict=True)
    ]
    return block_diag(*pieces) if pieces else np.zeros((0, 0), dtype=dtype)


def dense_fit(model: Model, theta: np.ndarray, reml: bool, *, dtype: Any = np.float64) -> DenseFit:
    """Solve `model` at `theta` (lme4's order) from its n x n covariance.

    Parameters
    ----------
    model : Model
    theta : array-like, shape (m,)
    reml : bool
    dtype : numpy dtype
        Type for the computation; the result is rounded to float64.
    """
    n = len(model.y)
    Z, D, H_inv, _ = _covariance(model, theta, dtype)
    X, y = model.X.astype(dtype), _less_offset(model, dtype)
    information_inv, _ = _inverse(X.T @ H_inv @ X)
    beta = information_inv @ (X.T @ (H_inv @ y))
    r = y - X @ beta
    sigma_var = (r @ (H_inv @ r)) / (n - X.shape[1] if reml else n)
    P = H_inv - H_inv @ X @ information_inv @ (X.T @ H_inv)
    b = D @ (Z.T @ (H_inv @ r))
    ZD = Z @ D
    weights = 1.0 if model.weights is None else model.weights
    offset = 0.0 if model.offset is None else model.offset
    return DenseFit(
        beta=beta.astype(float),
        vcov=(sigma_var * information_inv).astype(float),
        sigma=float(np.sqrt(sigma_var)),
        b=b.astype(float),
        condvar=(sigma_var * (D - ZD.T @ H_inv @ ZD)).astype(float),
        pev=(sigma_var * (D - ZD.T @ P @ ZD)).astype(float),
        criterion=dense_criterion(model, theta, reml, dtype=dtype),
        trace_hat=float(n - np.sum(np.diag(P) / weights)),
        fitted=(X @ beta + Z @ b + offset).astype(float),
        varcorr={
            term.name: float(sigma_var) * block @ block.T
            for term, block in zip(model.terms, relative_blocks(model, theta), strict=True)
        },
    )


def dense_criterion(
    model: Model, theta: np.ndarray, reml: bool, *, dtype: Any = np.float64
) -> float:
    """REML criterion or -2 log likelihood of `model` at `theta`, all constants included."""
    n, p = model.X.shape
    _, _, H_inv, H_log = _covariance(model, theta, dtype)
    X, y = model.X.astype(dtype), _less_offset(model, dtype)
    information_inv, information_log = _inverse(X.T @ H_inv @ X)
    r = y - X @ (information_inv @ (X.T @ (H_inv @ y)))
    df = n - p if reml else n
    fit = df * (1.0 + np.log(2.0 * dtype(np.pi) * (r @ (H_inv @ r)) / df))
    return float(H_log + fit + information_log if reml else H_log + fit)


def dense_error_variances(
    model: Model, theta: np.ndarray, x: np.ndarray, z: np.ndarray, *, dtype: Any = np.float64
) -> np.ndarray:
    """Return ``Var(x'β̂ + z'b̂ − x'β − z'b) / sigma²`` of each row of x and z, shape (k,).

    It is ``w'M⁻¹w`` with ``w = (Λ'z, x)`` and M the matrix of the mixed-model equations of the
    spherical effects, in which no digits cancel (Henderson 1975, Biometrics 31).

    Parameters
    ----------
    model : Model
    theta : array-like, shape (m,)
    x : numpy.ndarray, shape (k, p)
    z : numpy.ndarray, shape (k, q)
    dtype : numpy dtype
    """
    weights = np.ones(len(model.y)) if model.weights is None else model.weights
    root = _relative_factor(model, theta, dtype)
    design = np.hstack([random_design(model).astype(dtype) @ root, model.X.astype(dtype)])
    M = design.T @ (weights[:, None] * design)
    effects = np.arange(len(root))
    M[effects, effects] += dtype(1.0)
    w = np.hstack([z.astype(dtype) @ root, x.astype(dtype)])
    return np.asarray(np.sum((w @ _inverse(M)[0]) * w, axis=1)).astype(float)


def dense_squares(
    model: Model, theta: np.ndarray, columns: np.ndarray, *, dtype: Any = np.float64
) -> float:
    """Return ``r'H⁻¹r`` of generalised least squares on some of the fixed columns.

    Parameters
    ----------
    model : Model
    theta : array-like, shape (m,)
    columns : numpy.ndarray of int
        Positions of the columns of X.
    dtype : numpy dtype
    """
    _, _, H_inv, _ = _covariance(model, theta, dtype)
    X, y = model.X[:, columns].astype(dtype), _less_offset(model, dtype)
    information_inv, _ = _inverse(X.T @ H_inv @ X)
    r = y - X @ (information_inv @ (X.T @ (H_inv @ y)))
    return float(r @ (H_inv @ r))


def _covariance(
    model: Model, theta: np.ndarray, dtype: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Return Z, Λ Λᵀ, the inverse of H = W⁻¹ + Z Λ Λᵀ Zᵀ, and log |H|."""
    weights = np.ones(len(model.y)) if model.weights is None else model.weights
    Z, D = random_design(model).astype(dtype), relative_covariance(model, theta, dtype)
    H_inv, H_log = _inverse(np.diag(dtype(1.0) / weights) + Z @ D @ Z.T)
    return Z, D, H_inv, H_log


def _less_offset(model: Model, dtype: Any) -> np.ndarray:
    y = model.y.astype(dtype)
    return y if model.offset is None else y - model.offset


def _inverse(matrix: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return the inverse of a positive definite matrix, shape (k, k), and its log-determinant.

    Both are nan if the matrix is singular in the arithmetic of its type.
    """
    if not len(matrix):
        return matrix, 0.0
    scale = np.sqrt(np.diag(matrix))  # so that the units of a covariate do not cost digits
    unit = matrix / np.outer(scale, scale)
    if matrix.dtype == np.float64:
        inverse, log = _lapack(unit)
    else:
        inverse, log = _gauss_jordan(unit)
    inverse = (inverse + inverse.T) / 2.0
    return inverse / np.outer(scale, scale), log + 2.0 * np.sum(np.log(scale))


def _lapack(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    try:
        return np.linalg.inv(matrix), float(np.linalg.slogdet(matrix)[1])
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.nan), float("nan")


def _gauss_jordan(matrix: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return inverse and log-determinant of a matrix, (k, k), of a type that LAPACK lacks.

    Gauss-Jordan elimination in place; the determinant is the product of the pivots.
    """
    a, log = matrix.copy(), matrix.dtype.type(0.0)
    for k in range(len(a)):
        pivot = a[k, k]
        log = log + np.log(pivot)
        column = a[:, k].copy()
        a[k] = a[k] / pivot
        a[k, k] = 1.0 / pivot
        column[k] = 0.0
        a[:, k] = np.where(np.arange(len(a)) == k, a[:, k], 0.0)
        a -= np.outer(column, a[k])
    return a, log


def _group_arrays(model: Model, whole: np.ndarray) -> dict[str, np.ndarray]:
    """Return the diagonal blocks of a (q, q) matrix, (levels, effects, effects) for each group.

    The effects of a group are those of all its terms.
    """
    return {g: whole[k[:, :, None], k[:, None, :]] for g, k in _positions(model).items()}


def _ranef(model: Model, b: np.ndarray) -> dict[str, pd.DataFrame]:
    """Return b, shape (q,), as a table levels x effects per group, with its terms joined."""
    return {
        group: pd.DataFrame(
            b[positions],
            index=list(model.factors[group].levels),
            columns=[e for term in model.terms if term.group == group for e in term.effects],
        )
        for group, positions in _positions(model).items()
    }


def _positions(model: Model) -> dict[str, np.ndarray]:
    """Return, per group, the positions in b of its levels' effects, shape (levels, effects)."""
    tables: dict[str, list[np.ndarray]] = {}
    start = 0
    for term in model.terms:
        shape = (len(model.factors[term.group].levels), len(term.effects))
        table = start + np.arange(shape[0] * shape[1]).reshape(shape)
        tables.setdefault(term.group, []).append(table)
        start += table.size
    return {group: np.hstack(parts) for group, parts in tables.items()}


def dense_as_fit(
    model: Model, theta: np.ndarray, reml: bool, *, singular: bool = False, dtype: Any = np.float64
) -> Fit:
    """Return the dense solution as a `Fit` with all quantities of a live engine."""
    theta = np.asarray(theta, dtype=np.float64)
    dense = dense_fit(model, theta, reml, dtype=dtype)
    effects = {t.name: list(t.effects) for t in model.terms}
    fitted = pd.Series(dense.fitted, index=model.rows)
    fixed = list(model.fixed)
    return Fit(
        formula=model.formula,
        reml=reml,
        beta=pd.Series(dense.beta, index=fixed),
        vcov=pd.DataFrame(dense.vcov, index=fixed, columns=fixed),
        sigma=dense.sigma,
        theta=pd.Series(theta, index=theta_names(model)),
        varcorr={
            name: pd.DataFrame(cov, index=effects[name], columns=effects[name])
            for name, cov in dense.varcorr.items()
        },
        ranef=_ranef(model, dense.b),
        criterion=dense.criterion,
        fitted=fitted,
        residuals=model.y - fitted,
        singular=singular,
        dropped=model.dropped,
        messages=model.messages,
        convergence=Convergence(True, "dense oracle"),
        engine=Engine("oracle", {"numpy": np.__version__}),
        model=model.summary(),
        condvar_source=lambda: _group_arrays(model, dense.condvar),
        pev_source=lambda: _group_arrays(model, dense.pev),
        evaluate_source=lambda t: dense_as_fit(model, t, reml, singular=singular, dtype=dtype),
    )
