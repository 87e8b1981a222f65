"""Products, factors and inverses of large dense matrices, all by one BLAS library.

NumPy and SciPy each come with a BLAS that has threads of its own, and those of the one go on
spinning for a while after a product: a Cholesky factor by the other then takes several times as
long. So large matrices are left to SciPy's.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import dgemm, dtrsm
from scipy.linalg.lapack import dpotrf, dpotri, dsyevd


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``left @ right``, matrices, in C order."""
    if 0 in left.shape or 0 in right.shape:
        return np.zeros((left.shape[0], right.shape[1]))
    a, flip_a = _fortran(left)
    b, flip_b = _fortran(right)
    return np.asarray(dgemm(1.0, b, a, trans_a=1 - flip_b, trans_b=1 - flip_a).T)


def _fortran(matrix: np.ndarray) -> tuple[np.ndarray, int]:
    """Return a matrix in Fortran order, and whether that is the transpose."""
    if matrix.flags.f_contiguous:
        return matrix, 0
    return np.ascontiguousarray(matrix).T, 1


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Return L with ``L L' = matrix``, lower, in Fortran order; a matrix in C order is overwritten.

    What stands above L's diagonal is left over and means nothing.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is not positive definite, to working precision.
    """
    if not len(matrix):
        return matrix
    L, info = dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"{info}-th leading minor not positive definite")
    return np.asarray(L)


def solve_lower(L: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``L⁻¹ right`` for the factor that `cholesky` gives."""
    return np.asarray(dtrsm(1.0, L, right, lower=1)) if len(L) else right


def symmetric_inverse(L: np.ndarray) -> np.ndarray:
    """Return the inverse of ``L L'``; L, from `cholesky`, is overwritten."""
    if not len(L):
        return L
    inverse, _ = dpotri(L, lower=1, overwrite_c=1)
    for start in range(0, len(inverse), _TILE):
        stop = start + _TILE
        tile = inverse[start:stop, start:stop]
        tile[:] = np.tril(tile) + np.tril(tile, -1).T
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
    return np.asarray(inverse)


def eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues, ascending, and the eigenvectors, in columns, of a symmetric matrix.

    Raises
    ------
    numpy.linalg.LinAlgError
        If they are not found, as with a matrix that is not finite.
    """
    values, vectors, info = dsyevd(matrix)
    if info != 0:
        raise np.linalg.LinAlgError("eigenvalues did not converge")
    return values, vectors


_TILE = 256  # columns whose transpose is copied at a time: what fits in the cache
