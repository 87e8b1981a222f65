"""How the leading block's levels couple all other columns: products with C, sparse or dense.

With ``C_j = Z_j'R`` (q × (m + 1), response last) the blocked factor needs ``Σ_j C_j'F_jC_j`` with
``F_j = h_j'h_j``, which gives the Schur complement; ``C_j Q C_j'`` of every level; and plain
products with C. Where each level meets few of the other columns, the first two are linear in (F_j)
and in Q with coefficients that never change: one sparse matrix of pairs serves both.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from pymackay.model.sums.gram import Gram
from pymackay.solve.linalg.blas import product

# A pair costs about 2 ns, a multiply-add of a dense product 1/40 ns: pairs win below this share.
_PAIR_SHARE = 0.025
_MOST_PAIRS = 150_000_000


def make_coupling(gram: Gram) -> Coupling:
    """Choose the representation that costs less."""
    J, q = gram.A.shape[:2]
    C = sp.csr_matrix(gram.C)
    n_sparse = C.shape[1] - gram.p - 1
    if q == 1:
        entries = np.diff(C.indptr) - gram.p - 1.0
        pairs = 0.5 * float(entries @ (entries + 1.0))
        few = pairs < min(_PAIR_SHARE * J * n_sparse**2, _MOST_PAIRS)
        if few and n_sparse**2 < 20 * pairs + 1e7:
            return PairCoupling(C, n_sparse)
    return DenseCoupling(C.toarray().reshape(J, q, -1))


class DenseCoupling:
    """C as a dense array, shape (J, q, m + 1): matrix products."""

    def __init__(self, C: np.ndarray) -> None:
        self.C = C
        self._flat = C.reshape(-1, C.shape[2])

    def schur(self, half: np.ndarray) -> np.ndarray:
        """Return ``Σ (h_jC_j)'(h_jC_j)``, shape (m + 1, m + 1), for h of shape (J, q, q)."""
        scaled = np.matmul(half, self.C).reshape(self._flat.shape)
        return product(scaled.T, scaled)

    def level_quadratics(self, Q: np.ndarray, half: np.ndarray | None = None) -> np.ndarray:
        """Return ``C_j Q C_j'``, shape (J, q, q); Q, shape (m, m), leaves the response out.

        With h, shape (J, q, q), ``h_j C_j Q C_j' h_j'``: h and C are multiplied first, because
        Q may be large where that product cancels.
        """
        m = len(Q)
        C = self.C if half is None else np.matmul(half, self.C)
        CQ = product(C.reshape(self._flat.shape)[:, :m], Q).reshape(*C.shape[:2], m)
        return np.matmul(CQ, C[:, :, :m].transpose(0, 2, 1))

    def times(self, x: np.ndarray) -> np.ndarray:
        """Return ``C x``, shape (J, q, k), for x of shape (m + 1, k)."""
        return product(self._flat, x).reshape(*self.C.shape[:2], -1)

    def transpose_times(self, v: np.ndarray) -> np.ndarray:
        """Return ``Σ C_j'v_j``, shape (m + 1, k), for v of shape (J, q, k)."""
        return product(self._flat.T, v.reshape(len(self._flat), -1))

    def dense(self) -> np.ndarray:
        """Return C."""
        return self.C


class PairCoupling:
    """One effect a level, C sparse but for X and the response.

    Every pair of sparse columns that share a level is computed once; the few dense columns go
    through plain products.
    """

    def __init__(self, C: sp.csr_matrix, n_sparse: int) -> None:
        self.sparse = C[:, :n_sparse]
        self.sparse.sort_indices()
        self.other = C[:, n_sparse:].toarray()
        self.pairs = _pair_matrix(self.sparse)
        self._transposed = self.sparse.T.tocsr()

    def schur(self, half: np.ndarray) -> np.ndarray:
        """Return ``Σ (h_jC_j)'(h_jC_j)``."""
        k = self.sparse.shape[1]
        F = half[:, 0] ** 2
        upper = (self.pairs @ F[:, 0]).reshape(k, k)
        weighted = self.other * F
        full = np.empty((k + weighted.shape[1],) * 2)
        np.add(upper, upper.T, out=full[:k, :k])
        index = np.arange(k)
        full[index, index] *= 0.5
        full[:k, k:] = self._transposed @ weighted
        full[k:, :k] = full[:k, k:].T
        full[k:, k:] = product(self.other.T, weighted)
        return full

    def level_quadratics(self, Q: np.ndarray, half: np.ndarray | None = None) -> np.ndarray:
        """Return ``C_j Q C_j'`` of every level, or ``h_j C_j Q C_j' h_j'``."""
        k = self.sparse.shape[1]
        X = self.other[:, : len(Q) - k]
        doubled = 2.0 * Q[:k, :k]
        index = np.arange(k)
        doubled[index, index] *= 0.5
        quadratics = self.pairs.T @ doubled.ravel()
        quadratics += np.einsum(
            "jx,jx->j", X, 2.0 * (self.sparse @ Q[:k, k:]) + product(X, Q[k:, k:])
        )
        quadratics = quadratics.reshape(-1, 1, 1)
        return quadratics if half is None else half**2 * quadratics

    def times(self, x: np.ndarray) -> np.ndarray:
        """Return ``C x``."""
        k = self.sparse.shape[1]
        return (self.sparse @ x[:k] + product(self.other, x[k:]))[:, None, :]

    def transpose_times(self, v: np.ndarray) -> np.ndarray:
        """Return ``Σ C_j'v_j``."""
        return np.concatenate([self._transposed @ v[:, 0, :], product(self.other.T, v[:, 0, :])])

    def dense(self) -> np.ndarray:
        """Return C."""
        return np.concatenate([self.sparse.toarray(), self.other], axis=1)[:, None, :]


Coupling = DenseCoupling | PairCoupling


def _pair_matrix(C: sp.csr_matrix) -> sp.csr_matrix:
    """Return the matrix with ``C_js C_jt`` at row (s, t), s ≤ t, and column j."""
    J, width = C.shape
    counts = np.diff(C.indptr)
    level = np.repeat(np.arange(J), counts)
    # entry i of a level is paired with itself and the entries after it
    after = C.indptr[1:][level] - np.arange(C.nnz)
    first = np.repeat(np.arange(C.nnz), after)
    second = np.arange(len(first)) - np.repeat(np.cumsum(after) - after, after) + first
    rows = C.indices[first].astype(np.int64) * width + C.indices[second]
    values = C.data[first] * C.data[second]
    return sp.csr_matrix((values, (rows, level[first])), shape=(width * width, J))
