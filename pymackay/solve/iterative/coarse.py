"""`CoarseSpace`: a second part of the preconditioner, for designs with weakly connected levels.

Where users rate only neighbouring items, or groups of levels are hardly connected, S has
eigenvectors that vary slowly from level to level, and conjugate gradients preconditioned with S's
diagonal blocks converge slowly along them. Smoothed random vectors have nearly equal values on
levels that are strongly connected. Clusters of such levels give the columns Y, and
``S₀⁻¹ + Y (Y'SY)⁻¹ Y'`` is the preconditioner, S₀ being the diagonal blocks of S.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from pymackay.solve.iterative.conjugate import Operator

_VECTORS = 16
_CLUSTERS = 128  # for each block
_SMOOTHING = 20  # damped Jacobi steps, after which a random vector has mostly slow eigenvectors
_DAMPING = 0.6
_LEAST = 4  # levels per cluster on average, at least
_SAMPLE = 4096  # levels from which the clusters' centres are computed


class CoarseSpace:
    """A coarse space, computed and factored once, at one theta.

    It can be used at other thetas too: the preconditioner stays symmetric, and is good near by.

    Parameters
    ----------
    blocks : sequence of (int, int)
        Number of levels and of effects per level, of each block that is not eliminated.
    schur, jacobi : callable
        Products with S and with S₀⁻¹, on arrays of shape (size, k).
    seed : int
    """

    def __init__(
        self, blocks: Sequence[tuple[int, int]], schur: Operator, jacobi: Operator, seed: int
    ) -> None:
        rng = np.random.default_rng((seed, 1))
        v = rng.standard_normal((sum(J * q for J, q in blocks), _VECTORS)).astype(np.float32)
        for _ in range(_SMOOTHING):
            v -= np.float32(_DAMPING) * jacobi(schur(v))
        spread = v.std(axis=0)
        Y = _columns(blocks, v / np.where(spread > 0.0, spread, 1.0), rng)
        coarse = Y.T @ schur(Y.toarray().astype(np.float32)).astype(np.float64)
        inverse = np.linalg.inv(0.5 * (coarse + coarse.T))
        self._parts = {
            np.dtype(dtype): (Y.astype(dtype), inverse.astype(dtype))
            for dtype in (np.float64, np.float32)
        }

    def apply(self, r: np.ndarray) -> np.ndarray:
        """Return ``Y (Y'SY)⁻¹ Y' r``, shape (size, k)."""
        Y, inverse = self._parts[r.dtype]
        return np.asarray(Y @ (inverse @ (Y.T @ r)))


def _columns(
    blocks: Sequence[tuple[int, int]], v: np.ndarray, rng: np.random.Generator
) -> sp.csr_matrix:
    """Return Y, shape (size, columns): each column one effect on the levels of one cluster."""
    columns = np.empty(len(v), dtype=np.int64)
    begin = first = 0  # the block's first effect, and its first column of Y
    for J, q in blocks:
        span = slice(begin, begin + J * q)
        place = _clusters(v[span].reshape(J, -1).astype(np.float64), rng)
        columns[span] = first + (place[:, None] * q + np.arange(q)).ravel()
        begin, first = span.stop, first + (int(place.max()) + 1) * q
    sizes = np.bincount(columns)
    shape = (len(v), len(sizes))
    rows = np.arange(len(v))
    return sp.csr_matrix((1.0 / np.sqrt(sizes[columns]), (rows, columns)), shape=shape)


def _clusters(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the cluster of each level, (J,), by k-means of its features, (J, k); none is empty."""
    from scipy.cluster.vq import kmeans2, vq  # a slow import, and few fits need it

    count = max(1, min(_CLUSTERS, len(features) // _LEAST))
    sample = features
    if len(features) > _SAMPLE:
        sample = features[rng.choice(len(features), _SAMPLE, replace=False)]
    start = sample[rng.choice(len(sample), count, replace=False)]
    centres, _ = kmeans2(sample, start, minit="matrix", iter=10, missing="warn")
    nearest, _ = vq(features, centres)
    return np.unique(nearest, return_inverse=True)[1]
