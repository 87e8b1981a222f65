"""Start values from the data: a moment estimate of each block's relative covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.covariance import lower_factor
from pymackay.model.gram import Gram
from pymackay.model.sparse_gram import SparseGram
from pymackay.solve.batched import choose_layout
from pymackay.solve.levels import eliminate

__all__ = ["moment_start", "noise_level"]

_RIDGE = 0.03  # of the mean information: keeps levels with few rows from dominating
_FLOOR = 0.1  # of the noise level: starts stay inside, where every direction has a slope
_OVERLAP = 0.1  # share of what one block leaves that others may be thought to leave of it
_CEILING = 1e6  # relative variance beyond which a larger start tells nothing


def noise_level(gram: Gram | SparseGram, term: int) -> float:
    """Return the relative variance of one level's least-squares effect (columns are whitened)."""
    for block in gram.blocks:
        if term in block.terms:
            return block.n_levels / gram.n
    raise KeyError(term)


def moment_start(gram: Gram | SparseGram) -> list[np.ndarray]:
    """Return a relative factor per term from the between-level moments of the response.

    For each block by itself, with shrunken effects ``b_j = B_j c_j``, ``B_j = (A_j + kI)⁻¹``:
    mean(b b') is what σ² mean(B A B) leaves of σ² W G W, W = mean(B A). Henderson's method in
    spirit (1953, Biometrics 9), cheap, and only a start.
    """
    factors: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    found = [_moments(*gram.level_moments(k), gram) for k in range(len(gram.blocks))]
    sigma2 = _unexplained(found, gram)
    for block, moments in zip(gram.blocks, found, strict=True):
        G = moments.relative_covariance(sigma2)
        floor = _FLOOR * block.n_levels / gram.n
        for term, columns in gram.block_slices(block):
            factors[term] = _floored_factor(G[columns, columns], floor)
    return factors


@dataclass(frozen=True, eq=False)
class _Moments:
    """What one block by itself says.

    Attributes
    ----------
    second : numpy.ndarray, shape (q, q)
        Mean of b b'.
    noise : numpy.ndarray, shape (q, q)
        What of it is noise, by unit of σ².
    shrink : numpy.ndarray, shape (q, q)
        Inverse of W; a direction that no row tells of is left out.
    explained : float
        Sum of squares that b takes off the response, which has one.
    spent : float
        Degrees of freedom that this costs.
    """

    second: np.ndarray
    noise: np.ndarray
    shrink: np.ndarray
    explained: float
    spent: float

    def relative_covariance(self, sigma2: float) -> np.ndarray:
        """Return the effects' covariance by unit of σ², not always positive definite."""
        return self.shrink @ (self.second / sigma2 - self.noise) @ self.shrink.T


def _unexplained(found: list[_Moments], gram: Gram | SparseGram) -> float:
    """Return σ²: what all blocks leave where they are orthogonal, else what the best one leaves."""
    freedom = gram.n - gram.p
    least = min(max(1.0 - m.explained, 1e-10) / max(freedom - m.spent, 1.0) for m in found)
    left = 1.0 - sum(m.explained for m in found)
    still_free = freedom - sum(m.spent for m in found)
    if left <= 0.0 or still_free <= 0.0:
        return least
    return min(least, max(left / still_free, _OVERLAP * least))


def _moments(A: np.ndarray, c: np.ndarray, gram: Gram | SparseGram) -> _Moments:
    J, q = A.shape[:2]
    ridge = _RIDGE * np.einsum("jaa->", A) / J / q
    layout = choose_layout(J, q)
    B = eliminate(q, layout)(layout.store(A), np.eye(q) / np.sqrt(ridge))[1]  # (A + ridge I)⁻¹
    b = np.einsum("jab,jb->ja", B, c)
    mean_B, flat = B.mean(axis=0), B.reshape(-1, q)
    return _Moments(
        second=b.T @ b / J,
        noise=mean_B - ridge * flat.T @ flat / J,
        shrink=np.linalg.pinv(np.eye(q) - ridge * mean_B, hermitian=True),
        explained=float(np.einsum("ja,ja->", c, b) + ridge * np.einsum("ja,ja->", b, b)),
        spent=J * q - ridge**2 * float(np.einsum("ja,ja->", flat, flat)),
    )


def _floored_factor(G: np.ndarray, floor: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(0.5 * (G + G.T))
    return lower_factor(vectors * np.sqrt(np.clip(values, floor, _CEILING)))
