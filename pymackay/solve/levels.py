"""Batched algebra over the levels of the leading block, in TensorFlow.

Notation, per level j of the leading block (q effects, relative factor Λ, G = ΛΛ'):

- ``A_j = Z_j'Z_j`` and ``C_j = Z_j'R``, R being all other columns, the response last;
- ``F_j = Λ (I + Λ'A_jΛ)⁻¹ Λ'``, so that ``V⁻¹ = I − Z F Z'`` when only this block is random;
- ``N_j = (I + A_j G)⁻¹ = I − A_j F_j`` and ``H_j = N_j A_j = Z_j' V⁻¹ Z_j``.

Nothing divides by Λ unless it is safe, so that a variance may be exactly zero.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

__all__ = ["eliminate", "level_moments", "one_block"]

Tensors = dict[str, tf.Tensor]


def _matrix(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float64)


def _inverse(M: tf.Tensor, q: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the inverses of positive definite M, shape (J, q, q), and the sum of log dets.

    Closed forms for q = 1, 2: the batched Cholesky kernel costs several times as much.
    """
    if q == 1:
        return 1.0 / M, tf.reduce_sum(tf.math.log(M))
    if q == 2:
        a, b, c = M[:, 0, 0], M[:, 1, 0], M[:, 1, 1]
        pivot = c - b * b / a
        d = 1.0 / pivot
        off = -b * d / a
        inverse = tf.stack([1.0 / a - off * b / a, off, off, d], axis=1)
        return tf.reshape(inverse, [-1, 2, 2]), tf.reduce_sum(tf.math.log(a * pivot))
    L = tf.linalg.cholesky(M)
    eye = tf.eye(q, batch_shape=tf.shape(M)[:1], dtype=tf.float64)
    logdet = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(L)))
    return tf.linalg.cholesky_solve(L, eye), logdet


def _sandwich(S: tf.Tensor, X: tf.Tensor, q: int) -> tf.Tensor:
    """Return ``X' S_j X`` for every level, S of shape (J, q, q), as one matrix product."""
    if q == 1:
        return S * X * X
    kron = tf.reshape(tf.einsum("ac,bd->abcd", X, X), [q * q, q * q])
    return tf.reshape(tf.matmul(tf.reshape(S, [-1, q * q]), kron), [-1, q, q])


def _times_small(S: tf.Tensor, X: tf.Tensor, q: int) -> tf.Tensor:
    """Return ``S_j X`` for every level as one matrix product."""
    return tf.reshape(tf.matmul(tf.reshape(S, [-1, q]), X), [-1, q, q])


def _eliminate(A: tf.Tensor, factor: tf.Tensor, q: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    M = tf.eye(q, dtype=tf.float64) + _sandwich(A, factor, q)
    inverse, logdet = _inverse(M, q)
    return inverse, _sandwich(inverse, tf.transpose(factor), q), logdet


def _n_matrices(
    A: tf.Tensor, F: tf.Tensor, inverse: tf.Tensor, factor: tf.Tensor, q: int, regular: bool
) -> tf.Tensor:
    """Return N_j; for a regular Λ as ``Λ⁻ᵀ M_j⁻¹ Λ'``, which keeps digits when A_j G is large."""
    if q == 1:
        return inverse
    if not regular:
        return tf.eye(q, dtype=tf.float64) - tf.matmul(A, F)
    right = _times_small(inverse, tf.transpose(factor), q)
    left = tf.linalg.triangular_solve(
        tf.transpose(factor), tf.eye(q, dtype=tf.float64), lower=False
    )
    return tf.einsum("ab,jbc->jac", left, right)


@functools.cache
def eliminate(q: int) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return the graph ``(A, Λ) → (F, log det)`` for blocks of `q` effects."""

    def run(A: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        _, F, logdet = _eliminate(A, factor, q)
        return F, logdet

    signature = [_matrix(None, q, q), _matrix(q, q)]
    return tf.function(run, input_signature=signature, autograph=False)


def _gemm(left: tf.Tensor, right: tf.Tensor, rows: int) -> tf.Tensor:
    """Sum over levels of all products of an element of `left` with one of `right`."""
    return tf.matmul(
        tf.reshape(left, [-1, rows]),
        tf.reshape(right, [tf.shape(right)[0], -1]),
        transpose_a=True,
    )


@functools.cache
def level_moments(q: int, regular: bool) -> Callable[..., Tensors]:
    """Return the graph of the sums over levels that score and curvature are made of.

    The graph takes A, Λ, ``e`` = Z'(y − Xβ − other random effects), shape (J, q), and
    ``quad`` = C_j Q̄ C_j', shape (J, q, q); see `pymackay.solve.pls` for Q̄. It returns

    - ``a`` = Z'Py and ``b`` = F e, both (J, q); ``aa`` = Σ a a';
    - ``H``, ``N``, both (J, q, q); ``sum_H`` = Σ H, ``sum_S`` = Σ S with S = N quad N';
    - ``HH``, ``HS``, ``Haa``: Σ of products of elements of H with those of H, S, a a',
      each (q², q²).
    """

    def run(A: tf.Tensor, factor: tf.Tensor, e: tf.Tensor, quad: tf.Tensor) -> Tensors:
        inverse, F, _ = _eliminate(A, factor, q)
        N = _n_matrices(A, F, inverse, factor, q, regular)
        return _moments(A, F, N, e, quad, q)

    signature = [_matrix(None, q, q), _matrix(q, q), _matrix(None, q), _matrix(None, q, q)]
    return tf.function(run, input_signature=signature, autograph=False)


def _moments(
    A: tf.Tensor, F: tf.Tensor, N: tf.Tensor, e: tf.Tensor, quad: tf.Tensor, q: int
) -> Tensors:
    column = e[:, :, None]
    a = tf.matmul(N, column)
    b = tf.matmul(F, column)[:, :, 0]
    H = tf.matmul(N, A)
    S = tf.matmul(tf.matmul(N, quad), N, transpose_b=True)
    outer = a * tf.transpose(a, [0, 2, 1])
    HH = _gemm(H, tf.concat([tf.reshape(x, [-1, q * q]) for x in (H, S, outer)], axis=1), q * q)
    return {
        "a": a[:, :, 0],
        "b": b,
        "F": F,
        "N": N,
        "H": H,
        "aa": tf.reduce_sum(outer, axis=0),
        "sum_H": tf.reduce_sum(H, axis=0),
        "sum_S": tf.reduce_sum(S, axis=0),
        "HH": HH[:, : q * q],
        "HS": HH[:, q * q : 2 * q * q],
        "Haa": HH[:, 2 * q * q :],
    }


@functools.cache
def one_block(q: int, regular: bool) -> Callable[..., Tensors]:
    """Return the graph of a whole evaluation when there is one grouping factor.

    It takes A, C, D and Λ and returns what `level_moments` does, and besides: ``K`` =
    R'V⁻¹R, shape (p + 1, p + 1); ``logdet``; ``E'E`` = ``XX``, shape (q p, q p), and
    ``E'a`` = ``Xa``, shape (q p, q), with E_j = N_j C_j (fixed columns only).
    """

    def run(A: tf.Tensor, C: tf.Tensor, D: tf.Tensor, factor: tf.Tensor) -> Tensors:
        inverse, F, logdet = _eliminate(A, factor, q)
        n_levels, width = tf.shape(C)[0], tf.shape(C)[2]
        K = D - tf.matmul(
            tf.reshape(C, [-1, width]), tf.reshape(tf.matmul(F, C), [-1, width]), transpose_a=True
        )
        p = width - 1
        precision = tf.linalg.inv(K[:p, :p])
        beta = tf.matmul(precision, K[:p, p:])
        X = C[:, :, :p]
        e = tf.reshape(
            tf.matmul(tf.reshape(C, [-1, width]), tf.concat([-beta, [[1.0]]], axis=0)), [-1, q]
        )
        flat_X = tf.reshape(X, [n_levels * q, p])
        XQ = tf.reshape(tf.matmul(flat_X, precision), [n_levels, q, p])
        N = _n_matrices(A, F, inverse, factor, q, regular)
        moments = _moments(A, F, N, e, tf.matmul(XQ, X, transpose_b=True), q)
        E = tf.reshape(tf.matmul(N, X), [n_levels, q * p])
        return moments | {
            "K": K,
            "logdet": logdet,
            "XX": tf.matmul(E, E, transpose_a=True),
            "Xa": tf.matmul(E, moments["a"], transpose_a=True),
        }

    signature = [_matrix(None, q, q), _matrix(None, q, None), _matrix(None, None), _matrix(q, q)]
    return tf.function(run, input_signature=signature, autograph=False)
