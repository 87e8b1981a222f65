"""The plain dense answer: a mixed model solved from its n x n covariance, nothing clever.

Everything follows from V = sigma² H with H = W⁻¹ + Z Λ Λᵀ Zᵀ: generalised least squares for beta,
best linear unbiased prediction for b, and the textbook formulas for their covariances
(Searle, Casella, McCulloch 1992, chapters 6 and 7). It shares no formula with the solver: no
penalised least squares, no factor of the mixed-model equations, no cross-products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from pymackay.model.model import Model, RandomTerm
from pymackay.results import Convergence, Engine, Fit

__all__ = [
    "DenseFit",
    "dense_as_fit",
    "dense_criterion",
    "dense_fit",
    "dense_optimum",
    "random_design",
    "relative_blocks",
    "theta_names",
]


@dataclass(frozen=True, eq=False)
class DenseFit:
    """What the n x n covariance says about a model at one theta.

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
    """Cut theta into one lower-triangular relative factor per term, filled column by column."""
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
    """Name theta's elements as ``getME(fit, "theta")`` does."""
    names = []
    for term in model.terms:
        for column, second in enumerate(term.effects):
            names.append(f"{term.group}.{second}")
            names += [f"{term.group}.{first}.{second}" for first in term.effects[column + 1 :]]
    return names


def _term_design(model: Model, term: RandomTerm) -> np.ndarray:
    factor = model.factors[term.group]
    q, levels = len(term.effects), len(factor.levels)
    dense = np.zeros((len(model.y), levels * q))
    for row, code in enumerate(factor.codes):
        dense[row, code * q : (code + 1) * q] = term.columns[row]
    return dense


def random_design(model: Model) -> np.ndarray:
    """Write Z out, shape (n, q): term after term, level after level, effects together."""
    return np.hstack([_term_design(model, term) for term in model.terms])


def _relative_covariance(model: Model, theta: np.ndarray) -> np.ndarray:
    """Write Λ Λᵀ out, shape (q, q)."""
    sizes = [len(model.factors[t.group].levels) for t in model.terms]
    pieces = [
        np.kron(np.eye(levels), block @ block.T)
        for levels, block in zip(sizes, relative_blocks(model, theta), strict=True)
    ]
    total = sum(len(piece) for piece in pieces)
    out, start = np.zeros((total, total)), 0
    for piece in pieces:
        stop = start + len(piece)
        out[start:stop, start:stop] = piece
        start = stop
    return out


def dense_fit(model: Model, theta: np.ndarray, reml: bool) -> DenseFit:
    """Solve `model` at `theta` (lme4's order) from its n x n covariance."""
    n, p = model.X.shape
    X, y = model.X, model.y - (0.0 if model.offset is None else model.offset)
    noise = np.diag(np.ones(n) if model.weights is None else 1.0 / model.weights)
    Z, D = random_design(model), _relative_covariance(model, theta)
    H = noise + Z @ D @ Z.T
    H_inv = np.linalg.inv(H)
    H_inv = (H_inv + H_inv.T) / 2.0
    information = X.T @ H_inv @ X
    beta = np.linalg.solve(information, X.T @ H_inv @ y) if p else np.zeros(0)
    r = y - X @ beta
    df = n - p if reml else n
    sigma_var = float(r @ H_inv @ r) / df
    P = H_inv - H_inv @ X @ np.linalg.solve(information, X.T @ H_inv) if p else H_inv
    criterion = np.linalg.slogdet(H)[1] + df * (1.0 + np.log(2.0 * np.pi * sigma_var))
    if reml and p:
        criterion += np.linalg.slogdet(information)[1]
    b = D @ Z.T @ H_inv @ r
    offset = 0.0 if model.offset is None else model.offset
    return DenseFit(
        beta=beta,
        vcov=sigma_var * np.linalg.inv(information),
        sigma=float(np.sqrt(sigma_var)),
        b=b,
        condvar=sigma_var * (D - D @ Z.T @ H_inv @ Z @ D),
        pev=sigma_var * (D - D @ Z.T @ P @ Z @ D),
        criterion=float(criterion),
        trace_hat=float(n - np.trace(noise @ P)),
        fitted=X @ beta + Z @ b + offset,
        varcorr={
            term.name: sigma_var * block @ block.T
            for term, block in zip(model.terms, relative_blocks(model, theta), strict=True)
        },
    )


def dense_criterion(model: Model, theta: np.ndarray, reml: bool) -> float:
    """REML criterion or -2 log likelihood of `model` at `theta`, all constants included."""
    return dense_fit(model, theta, reml).criterion


def dense_optimum(model: Model, reml: bool, start: np.ndarray | None = None) -> np.ndarray:
    """Find theta of the smallest criterion by restarted Nelder-Mead: slow, simple, independent."""
    diagonal = np.concatenate(
        [
            np.concatenate(
                [[1.0] + [0.0] * (len(t.effects) - i - 1) for i in range(len(t.effects))]
            )
            for t in model.terms
        ]
    )
    theta = diagonal if start is None else np.asarray(start, dtype=np.float64)
    bounds = [(0.0 if d == 1.0 else None, None) for d in diagonal]
    for _ in range(6):
        result = minimize(
            lambda t: dense_criterion(model, t, reml),
            theta,
            method="Nelder-Mead",
            bounds=bounds,
            options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000, "maxfev": 4000},
        )
        moved = float(np.max(np.abs(result.x - theta), initial=0.0))
        theta = result.x
        if moved < 1e-7:
            break
    return theta


def _group_arrays(model: Model, whole: np.ndarray) -> dict[str, np.ndarray]:
    """Cut a (q, q) matrix into one (levels, effects, effects) array per group, terms joined."""
    starts = np.cumsum(
        [0] + [len(t.effects) * len(model.factors[t.group].levels) for t in model.terms]
    )
    out = {}
    for group, factor in model.factors.items():
        mine = [(s, t) for s, t in zip(starts, model.terms, strict=False) if t.group == group]
        index = np.array(
            [
                [s + j * len(t.effects) + i for s, t in mine for i in range(len(t.effects))]
                for j in range(len(factor.levels))
            ]
        )
        out[group] = whole[index[:, :, None], index[:, None, :]]
    return out


def _ranef(model: Model, b: np.ndarray) -> dict[str, pd.DataFrame]:
    """Lay b out as levels by effects per group, terms of one group joined."""
    tables: dict[str, list[pd.DataFrame]] = {}
    start = 0
    for term in model.terms:
        levels = model.factors[term.group].levels
        stop = start + len(levels) * len(term.effects)
        table = pd.DataFrame(
            b[start:stop].reshape(len(levels), -1),
            index=list(levels),
            columns=list(term.effects),
        )
        tables.setdefault(term.group, []).append(table)
        start = stop
    return {group: pd.concat(parts, axis=1) for group, parts in tables.items()}


def dense_as_fit(model: Model, theta: np.ndarray, reml: bool, *, singular: bool = False) -> Fit:
    """Dress a dense answer up as a `Fit`, with everything a live engine offers."""
    theta = np.asarray(theta, dtype=np.float64)
    dense = dense_fit(model, theta, reml)
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
        evaluate_source=lambda t: dense_as_fit(model, t, reml, singular=singular),
    )
