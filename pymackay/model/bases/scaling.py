"""Bases in which a model is computed: orthonormal X, whitened random columns, centred response.

A mixed model does not change when X is replaced by a basis of its column space, when the
columns of an unstructured random term are mixed by an invertible matrix, or when a least-squares
fit on X is taken off the response. Rounding does: answers in these bases keep the digits that raw
units lose (response near 1e12, covariates of size 1e6, powers of a year).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

__all__ = ["Basis", "fixed_basis", "term_basis"]

_SMALL = 100_000  # elements under which Householder QR is quicker than two Cholesky passes
_SLANT = 1e-10  # departure of Q'Q from the identity that no answer can feel


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal basis (to `_SLANT`) of the columns of a matrix, ``columns = Q @ R``.

    Attributes
    ----------
    Q : numpy.ndarray, shape (n, k)
    R : numpy.ndarray, shape (k, k)
        Upper triangular.
    """

    Q: np.ndarray
    R: np.ndarray

    @cached_property
    def log_determinant(self) -> float:
        """The columns' own part of a log determinant, log |R'R|."""
        return 2.0 * float(np.log(np.abs(self.R.diagonal())).sum())

    def from_basis(self, coefficients: np.ndarray) -> np.ndarray:
        """Turn coefficients of Q, shape (k, ...), into coefficients of the original columns."""
        return np.linalg.solve(self.R, coefficients)


def fixed_basis(X: np.ndarray) -> Basis:
    """Return a well-conditioned basis of the columns of `X`, shape (n, p), full column rank.

    Small matrices by Householder QR; tall ones by Cholesky QR, repeated where X is so
    ill-conditioned that one pass leaves more than `_SLANT` of slant between the columns of Q
    (Yamamoto et al. 2015, ETNA 44). A pass is one matrix product.
    """
    if X.shape[1] == 0:
        return Basis(X, np.zeros((0, 0)))
    if X.shape[1] == 1 and X.strides[0] == 0:  # one number that all rows share
        length = np.sqrt(len(X)) * np.abs(X[:1])
        return Basis(np.broadcast_to(X[:1] / length, X.shape), length)
    if X.size > _SMALL:
        basis = _cholesky_qr(X)
        if basis is not None:
            return basis
    Q, R = np.linalg.qr(X)
    return Basis(Q, R)


def _cholesky_qr(X: np.ndarray, passes: int = 4) -> Basis | None:
    R, Q = np.eye(X.shape[1]), X
    gram = Q.T @ Q
    for _ in range(passes):
        scale = np.sqrt(np.diag(gram))
        try:
            step = scipy.linalg.cholesky(gram / np.outer(scale, scale)) * scale
        except np.linalg.LinAlgError:
            return None
        Q = Q @ np.linalg.inv(step)
        R = step @ R
        # what rounding of the Cholesky factor can leave of Q'Q - I: no need to form it
        pivots = np.abs(np.diag(step)) / scale
        if np.finfo(float).eps * len(gram) / pivots.min() ** 2 < _SLANT:
            return Basis(Q, R)
        gram = Q.T @ Q
    return None


def term_basis(columns: np.ndarray) -> np.ndarray:
    """Return T, shape (q, q), upper triangular: ``columns @ T`` has unit mean squares, no overlap.

    Columns that depend on each other (allowed in a random term) are scaled only.
    """
    n, q = columns.shape
    rms = np.sqrt(np.einsum("nq,nq->q", columns, columns) / n)
    rms = np.where(rms > 0.0, rms, 1.0)
    if q == 1:
        return np.diag(1.0 / rms)
    gram = (columns / rms).T @ (columns / rms) / n
    try:
        R = scipy.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        return np.diag(1.0 / rms)
    if np.abs(np.diag(R)).min() < 1e-6:
        return np.diag(1.0 / rms)
    return np.linalg.inv(R * rms)
