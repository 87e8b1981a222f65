"""Start values from the data: a moment estimate of each block's relative covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.covariance import TermLayout, lower_factor
from pymackay.model.gram import Gram
from pymackay.model.sparse_gram import SparseGram
from pymackay.solve.batched import choose_layout
from pymackay.solve.levels import eliminate
from pymackay.solve.pls import symmetric_basis

__all__ = ["moment_start", "noise_level"]

_RIDGE = 0.03  # of the mean information: keeps levels with few rows from dominating
_FLOOR = 0.1  # of the noise level: starts stay inside, where every direction has a slope
_OVERLAP = 0.1  # share of what one block leaves that others may be thought to leave of it
_FEW = 200  # levels up to which LAPACK is quicker than a graph
_CEILING = 1e6  # relative variance beyond which a larger start tells nothing
_BLIND = 1e-8  # share of the largest effect below which a direction tells nothing
_AFFORDABLE = 10**8  # products that the fixed columns' own part in the moments may take


def noise_level(gram: Gram | SparseGram, term: int) -> float:
    """Return the relative variance of one level's least-squares effect (columns are whitened)."""
    for block in gram.blocks:
        if term in block.terms:
            return block.n_levels / gram.n
    raise KeyError(term)


def moment_start(gram: Gram | SparseGram, *, reml: bool = True) -> list[np.ndarray]:
    """Return a relative factor per term from the between-level moments of the response.

    For each block by itself, with shrunken effects ``b_j = B_j Z_j'r``, ``B_j = (A_j + kI)⁻¹``, r
    the least-squares residual: G and σ² are those that make Σ b b' and |r − Zb|² what is expected
    of them. Henderson's first method in spirit (1953, Biometrics 9), free of bias; with one
    grouping factor, balanced, whose columns span those of X, it is the REML estimate itself.

    Parameters
    ----------
    gram : Gram or SparseGram
    reml : bool
        Whether to allow for the coefficients that r has lost; without, the balanced estimate is
        the maximum-likelihood one.
    """
    factors: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    found = [_moments(*gram.level_moments(k), gram, reml) for k in range(len(gram.blocks))]
    sigma2 = _unexplained(found, gram)
    for block, moments in zip(gram.blocks, found, strict=True):
        G = moments.relative_covariance(moments.noise_alone() if len(found) == 1 else sigma2)
        floor = _FLOOR * block.n_levels / gram.n
        for term, columns in gram.block_slices(block):
            factors[term] = _floored_factor(G[columns, columns], floor)
    return factors


@dataclass(frozen=True, eq=False)
class _Moments:
    """What one block by itself says, and what it would say of σ² and of G on average.

    Attributes
    ----------
    second : numpy.ndarray, shape (q, q)
        Estimate of σ²G with the noise in it.
    noise : numpy.ndarray, shape (q, q)
        The noise by unit of σ².
    left : float
        Sum of squares that b leaves of the response, which has one.
    freedom : float
        The degrees of freedom of that.
    leak : numpy.ndarray, shape (q, q)
        What of σ²G is in `left`, element by element.
    """

    second: np.ndarray
    noise: np.ndarray
    left: float
    freedom: float
    leak: np.ndarray

    def relative_covariance(self, sigma2: float) -> np.ndarray:
        """Return the effects' covariance by unit of σ², not always positive definite."""
        return self.second / sigma2 - self.noise

    def noise_alone(self) -> float:
        """Return σ² where there is no other block."""
        left = self.left - float((self.leak * self.second).sum())
        freedom = self.freedom - float((self.leak * self.noise).sum())
        if left > 1e-10 and freedom > 0.5:
            return left / freedom
        return max(self.left, 1e-10) / max(self.freedom, 1.0)


def _unexplained(found: list[_Moments], gram: Gram | SparseGram) -> float:
    """Return σ²: what all blocks leave where they are orthogonal, else what the best one leaves."""
    freedom = gram.n - gram.p
    least = min(max(m.left, 1e-10) / max(m.freedom, 1.0) for m in found)
    left = 1.0 - sum(1.0 - m.left for m in found)
    still_free = freedom - sum(freedom - m.freedom for m in found)
    if left <= 0.0 or still_free <= 0.0:
        return least
    return min(least, max(left / still_free, _OVERLAP * least))


def _moments(A: np.ndarray, C: np.ndarray, gram: Gram | SparseGram, reml: bool) -> _Moments:
    """Return the moments of a block: A = Z'Z and C = Z'[X r], level by level.

    X being orthonormal, ``E r r' = M (σ²I + σ²Z G Z') M`` with M = I − XX'. The sums over levels
    below are what that makes of ``Σ b b'`` and ``|r − Zb|²``, linear in σ² and in σ²G.
    """
    J, q, p = *A.shape[:2], C.shape[2] - 1
    c, X = C[:, :, -1], C[:, :, :p]
    if not reml or J * (q * p) ** 2 > _AFFORDABLE:
        X = X[:, :, :0]
    k = _RIDGE * float(np.einsum("jaa->", A)) / (J * q)
    B = _ridged_inverse(A, k)
    b = np.einsum("jab,jb->ja", B, c)
    D, F = np.eye(q) - k * B, B @ X
    E = F @ X.transpose(0, 2, 1)
    XX, FF = _pairs(X, X), _pairs(F, F)
    squared = np.einsum("abbc->ac", _pairs(B, B))
    seen = B.sum(axis=0) - k * squared
    turned = np.einsum("abbc->ac", _pairs(B, E))
    carried = np.einsum("aman->mn", _pairs(X, F) + k * FF)
    leak = k**2 * (seen - turned - turned.T) + np.einsum(
        "ambn,mn->ab", XX, np.eye(X.shape[2]) - carried
    )
    back = FF.transpose(0, 2, 1, 3).reshape(q * q, -1) @ XX.transpose(1, 3, 0, 2).reshape(-1, q * q)
    own = _pairs(D, D) - _pairs(D, E) - _pairs(E, D)
    effect = own.transpose(0, 2, 1, 3).reshape(q * q, q * q) + back
    second, noise = _symmetric_solutions(effect, b.T @ b, seen - np.einsum("ambm->ab", FF))
    return _Moments(
        second=second,
        noise=noise,
        left=1.0 - float(np.einsum("ja,ja->", c, b) + k * np.einsum("ja,ja->", b, b)),
        freedom=gram.n - reml * p - J * q + k**2 * np.trace(squared) + np.trace(carried),
        leak=leak,
    )


def _pairs(M: np.ndarray, N: np.ndarray) -> np.ndarray:
    """Return the sum over levels of the products of their elements, ``[a, b, c, d]``."""
    levels = len(M)
    products = M.reshape(levels, -1).T @ N.reshape(levels, -1)
    return products.reshape(*M.shape[1:], *N.shape[1:])


def _symmetric_solutions(effect: np.ndarray, *wanted: np.ndarray) -> np.ndarray:
    """Solve ``effect vec(G) = vec(S)`` for symmetric G; directions without information are zero."""
    q = len(wanted[0])
    layout = TermLayout.of(q, 0)
    basis = symmetric_basis(layout, q, 0).reshape(-1, q * q).T
    kept = layout.rows * q + layout.columns
    right = np.stack([layout.elements(S) for S in wanted], axis=1)
    found = np.linalg.lstsq(effect[kept] @ basis, right, rcond=_BLIND)[0]
    return (basis @ found).T.reshape(-1, q, q)


def _ridged_inverse(A: np.ndarray, ridge: float) -> np.ndarray:
    """Return ``(A_j + ridge I)⁻¹`` of every level, shape (J, q, q)."""
    J, q = A.shape[:2]
    if J <= _FEW:
        return np.linalg.inv(A + ridge * np.eye(q))
    layout = choose_layout(J, q)
    return eliminate(q, layout)(layout.store(A), np.eye(q) / np.sqrt(ridge))[1]


def _floored_factor(G: np.ndarray, floor: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(0.5 * (G + G.T))
    return lower_factor(vectors * np.sqrt(np.clip(values, floor, _CEILING)))
