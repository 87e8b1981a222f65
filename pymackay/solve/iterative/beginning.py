"""Where the search begins: each grouping factor by itself, from its levels' moments."""

from __future__ import annotations

import numpy as np

from pymackay.model.covariance import lower_factor
from pymackay.model.sparse_gram import SparseGram

__all__ = ["beginning", "noise_levels"]

_RIDGE = 0.1  # of the mean information: keeps levels with few rows from dominating
_FLOOR = 0.1  # of the noise level: starts stay inside, where every direction has a slope
_CEILING = 1e6  # relative variance beyond which a larger start tells nothing


def noise_levels(gram: SparseGram) -> list[float]:
    """Return, term by term, the relative variance of one level's least-squares effect."""
    found = [0.0] * len(gram.layouts)
    for block in gram.blocks:
        for term in block.terms:
            found[term] = block.n_levels / gram.n
    return found


def beginning(gram: SparseGram) -> list[np.ndarray]:
    """Return a relative factor per term.

    With shrunken effects ``b_j = B_j c_j``, ``B_j = (Z_j'Z_j + kI)⁻¹``, mean(b b') is what noise,
    σ² mean(B Z'Z B), leaves of W G W, W = mean(B Z'Z). In the spirit of Henderson (1953,
    Biometrics 9), method 1.
    """
    factors: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    for block, A, dense in zip(gram.blocks, gram.diagonals, gram.dense, strict=True):
        c = dense[:, -1].reshape(block.n_levels, block.q)
        G = _relative_covariance(A, c, gram.n - gram.p)
        for term, columns in gram.block_slices(block):
            floor = _FLOOR * block.n_levels / gram.n
            values, vectors = np.linalg.eigh(G[columns, columns])
            root = np.sqrt(np.clip(values, floor, _CEILING))
            factors[term] = lower_factor(vectors * root)
    return factors


def _relative_covariance(A: np.ndarray, c: np.ndarray, freedom: int) -> np.ndarray:
    J, q = A.shape[:2]
    ridge = _RIDGE * float(np.einsum("jaa->", A)) / J / q
    B = np.linalg.inv(A + ridge * np.eye(q))
    b = np.einsum("jab,jb->ja", B, c)
    mean_B, flat = B.mean(axis=0), B.reshape(-1, q)
    W = np.eye(q) - ridge * mean_B
    explained = float(np.einsum("ja,ja->", c, b))
    sigma2 = max(1.0 - explained, 1e-10) / max(freedom - J * float(np.trace(W)), 1.0)
    noise = mean_B - ridge * flat.T @ flat / J
    shrink = np.linalg.inv(W)
    G = shrink @ (b.T @ b / J / sigma2 - noise) @ shrink.T
    return 0.5 * (G + G.T)
