"""The log determinant of S, by stochastic Lanczos quadrature, or exactly where S is small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from pymackay.solve.iterative.conjugate import Operator
from pymackay.solve.iterative.equations import Equations, block_times

_SMALL = 512  # number of effects up to which S is formed, which costs one product per effect
_MOST_STEPS = 80
_SETTLED = 0.02  # of the Monte-Carlo error: a change per Lanczos step that is small enough


@dataclass(frozen=True)
class LogDeterminant:
    """An estimate of log |S|.

    Attributes
    ----------
    value : float
        log |S|.
    error : float
        Its Monte-Carlo standard error; 0 where it is exact.
    """

    value: float
    error: float


def estimate_logdet(equations: Equations, probes: np.ndarray) -> LogDeterminant:
    """Estimate log |S|.

    With S₀ the diagonal blocks of S and ``r r' = S₀⁻¹``, ``log |S| = log |S₀| + tr log(r'Sr)``. The
    diagonal blocks of M = r'Sr are identities, so that ``z'(M − I)z`` has mean zero. It is
    subtracted from each sample; as the first Lanczos coefficient, it needs no further product.

    Parameters
    ----------
    equations : Equations
    probes : numpy.ndarray, shape (size, N)
        Random signs.

    References
    ----------
    Ubaru, S., Chen, J., Saad, Y. (2017). Fast estimation of tr(f(A)) via stochastic Lanczos
    quadrature. SIAM J. Matrix Anal. Appl. 38(4).
    """
    size = equations.couplings.size
    if size <= _SMALL:
        factor = scipy.linalg.cholesky(equations.dense_schur(), lower=True, check_finite=False)
        return LogDeterminant(float(2.0 * np.log(np.diag(factor)).sum()), 0.0)
    roots = [np.linalg.cholesky(inverse) for inverse in equations.inverse]

    def operator(x: np.ndarray) -> np.ndarray:
        inner = equations.schur(_by_root(equations, roots, x, transposed=False))
        return _by_root(equations, roots, inner, transposed=True)

    samples = size * log_quadrature(operator, probes)
    value = equations.logdet_diagonal + float(samples.mean())
    return LogDeterminant(value, float(samples.std(ddof=1) / np.sqrt(len(samples))))


def log_quadrature(operator: Operator, probes: np.ndarray) -> np.ndarray:
    """Return ``v'(log M − (M − I))v`` for unit vectors v along the probes, shape (N,).

    By the Lanczos recursion ``β_k v_{k+1} = M v_k − α_k v_k − β_{k−1} v_{k−1}`` for all probes,
    (size, N), at once; `operator` multiplies by M, whose diagonal blocks are identities (see
    `estimate_logdet`).
    """
    dtype = probes.dtype
    v = probes / np.linalg.norm(probes, axis=0)
    before, beta = np.zeros_like(v), np.zeros(v.shape[1])
    alphas: list[np.ndarray] = []
    betas: list[np.ndarray] = []
    estimates = np.zeros(v.shape[1])
    for step in range(min(_MOST_STEPS, len(v))):
        w = operator(v)
        alpha = np.einsum("ik,ik->k", v, w, dtype=np.float64)
        w -= alpha.astype(dtype) * v + beta.astype(dtype) * before
        beta = np.sqrt(np.einsum("ik,ik->k", w, w, dtype=np.float64))
        alphas.append(alpha)
        betas.append(beta)
        latest = _gauss(np.array(alphas), np.array(betas[:-1]))
        change = abs(float((latest - estimates).mean()))
        estimates = latest
        if step > 2 and change <= _SETTLED * estimates.std() / np.sqrt(len(estimates)) + 1e-12:
            break
        if float(beta.min()) < 1e-6:  # an invariant subspace: the quadrature is complete
            break
        before, v = v, w / beta.astype(dtype)
    return estimates


def _gauss(alphas: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """Return the Gauss quadrature of log, less its first-order part, of each probe, (N,).

    `alphas`, (steps, N), and `betas`, (steps − 1, N), are the diagonals of tridiagonal matrices.
    Their eigenvalues are the nodes, the squared first elements of eigenvectors the weights.
    """
    steps, count = alphas.shape
    tridiagonal = np.zeros((count, steps, steps))
    index = np.arange(steps)
    tridiagonal[:, index, index] = alphas.T
    tridiagonal[:, index[1:], index[:-1]] = betas.T
    values, vectors = np.linalg.eigh(tridiagonal)
    weights = vectors[:, 0, :] ** 2
    logs = np.log(np.maximum(values, np.finfo(np.float32).eps))
    return np.asarray((weights * logs).sum(axis=1) - (alphas[0] - 1.0))


def _by_root(
    equations: Equations, roots: list[np.ndarray], x: np.ndarray, *, transposed: bool
) -> np.ndarray:
    """Return ``r x``, or ``r' x``, with r r' the inverse of S's diagonal blocks."""
    products = np.empty_like(x)
    for root, span in zip(roots, equations.couplings.slices, strict=True):
        side = root.swapaxes(1, 2) if transposed else root
        products[span] = block_times(side.astype(x.dtype), x[span])
    return products
