"""A table with two crossed groups, and the errors of prediction from first principles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.linalg
from oracle import random_design, relative_blocks

import pymackay as pm
from pymackay.model.model import Model


def crossed_table(n: int = 120) -> pd.DataFrame:
    """Groups g and h, numbers x and z, a factor f, weights w, an offset o; unbalanced."""
    rng = np.random.default_rng(42)
    g, h = rng.integers(0, 9, n), rng.integers(0, 5, n)
    x = rng.normal(size=n)
    slopes = rng.normal(size=(9, 2)) * [1.5, 0.8]
    y = 2.0 + x + slopes[g, 0] + slopes[g, 1] * x + 2.0 * rng.normal(size=5)[h]
    return pd.DataFrame(
        {
            "y": y + rng.normal(size=n),
            "x": x,
            "z": rng.uniform(0.1, 2.0, n),
            "f": rng.choice(list("abc"), n),
            "g": [f"g{k}" for k in g],
            "h": [f"h{k}" for k in h],
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.normal(size=n),
        },
        index=pd.Index(np.arange(100, 100 + n), name="row"),
    )


def relative_covariance(model: Model, theta: np.ndarray) -> np.ndarray:
    """Return Λ Λᵀ of all random effects, in the order of `random_design`."""
    sizes = [len(model.factors[term.group].levels) for term in model.terms]
    pieces = [
        np.kron(np.eye(levels), block @ block.T)
        for levels, block in zip(sizes, relative_blocks(model, theta), strict=True)
    ]
    return scipy.linalg.block_diag(*pieces)


def dense_hat(fit: pm.Fit, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the matrix that turns y - offset into predictions of ``x beta + z b``."""
    model = fit.problem.model
    n = len(model.y)
    noise = np.ones(n) if model.weights is None else 1.0 / model.weights
    Z, D = random_design(model), relative_covariance(model, fit.theta.to_numpy())
    inverse = np.linalg.inv(np.diag(noise) + Z @ D @ Z.T)
    to_beta = np.linalg.solve(model.X.T @ inverse @ model.X, model.X.T @ inverse)
    to_b = D @ Z.T @ inverse @ (np.eye(n) - model.X @ to_beta)
    return x @ to_beta + z @ to_b


def dense_errors(fit: pm.Fit, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the standard deviation of ``x beta-hat + z b-hat - x beta - z b``, row by row.

    From how the prediction, linear in y, follows the effects and the noise: no mixed-model
    equation is used.
    """
    model = fit.problem.model
    noise = np.ones(len(model.y)) if model.weights is None else 1.0 / model.weights
    D = relative_covariance(model, fit.theta.to_numpy())
    L = dense_hat(fit, x, z)
    effects = L @ random_design(model) - z
    variance = np.einsum("ia,ab,ib->i", effects, D, effects) + (L**2) @ noise
    return fit.sigma * np.sqrt(variance)
