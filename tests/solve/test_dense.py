"""Large dense matrices: every memory layout gives NumPy's answer."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import tol

from pymackay.solve.linalg import blas as dense

ROUNDING = tol("dense algebra")


def layouts(matrix: np.ndarray) -> dict[str, np.ndarray]:
    wide = np.zeros((matrix.shape[0], matrix.shape[1] + 3))
    wide[:, 1:-2] = matrix
    return {
        "C": np.ascontiguousarray(matrix),
        "Fortran": np.asfortranarray(matrix),
        "a slice": wide[:, 1:-2],
    }


@pytest.mark.parametrize("inner", [0, 1, 7])
def test_product_in_every_layout(inner):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(5, inner)), rng.normal(size=(inner, 4))
    for left in layouts(a).values():
        for right in layouts(b).values():
            result = dense.product(left, right)
            assert result.flags.c_contiguous
            np.testing.assert_allclose(result, a @ b, rtol=0.0, atol=ROUNDING)


@pytest.mark.parametrize("size", [1, 3, 300])
def test_factor_inverse_and_solution(size):
    rng = np.random.default_rng(2)
    root = rng.normal(size=(size, size + 5))
    M = root @ root.T + size * np.eye(size)
    L = dense.cholesky(M.copy())
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(M), rtol=0.0, atol=ROUNDING * size)
    right = rng.normal(size=(size, 2))
    np.testing.assert_allclose(
        np.tril(L) @ dense.solve_lower(L, right), right, atol=ROUNDING * size
    )
    inverse = dense.symmetric_inverse(L)
    np.testing.assert_array_equal(inverse, inverse.T)
    np.testing.assert_allclose(inverse @ M, np.eye(size), atol=ROUNDING * size)


def test_what_is_not_positive_definite_is_refused():
    with pytest.raises(np.linalg.LinAlgError, match="2-th leading minor"):
        dense.cholesky(np.diag([1.0, -1.0, 1.0]))


def test_eigenvectors_give_the_matrix_back():
    M = np.random.default_rng(3).normal(size=(6, 6))
    M = M + M.T
    values, vectors = dense.eigen(M)
    assert (np.diff(values) >= 0.0).all()
    np.testing.assert_allclose(vectors * values @ vectors.T, M, atol=ROUNDING)
