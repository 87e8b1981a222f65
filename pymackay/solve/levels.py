"""Batched algebra over the levels of the leading block, in TensorFlow.

Notation, per level j of the leading block (q effects, relative factor Λ, G = ΛΛ'):

- ``A_j = Z_j'Z_j`` and ``C_j = Z_j'R``, R being all other columns, the response last;
- ``F_j = Λ (I + Λ'A_jΛ)⁻¹ Λ'``, so that ``V⁻¹ = I − Z F Z'`` when only this block is random;
- ``N_j = (I + A_j G)⁻¹ = I − A_j F_j`` and ``H_j = N_j A_j = Z_j' V⁻¹ Z_j``.

Nothing divides by Λ unless it is safe, so that a variance may be exactly zero.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

__all__ = ["OneBlockSums", "eliminate", "level_moments", "one_block"]

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
def one_block(q: int, regular: bool) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Return the graph of a whole evaluation when there is one grouping factor.

    It takes A, C, D and Λ and returns the effects, shape (J, q), and one vector that
    `OneBlockSums.unpack` cuts up: a call costs less the fewer tensors it returns.
    """

    def run(
        A: tf.Tensor, C: tf.Tensor, D: tf.Tensor, factor: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        inverse, F, logdet = _eliminate(A, factor, q)
        n_levels, width = tf.shape(C)[0], tf.shape(C)[2]
        flat_C = tf.reshape(C, [n_levels * q, width])
        FC = tf.reshape(tf.matmul(F, C), [n_levels * q, width])
        K = D - tf.matmul(flat_C, FC, transpose_a=True)
        p = width - 1
        precision = tf.linalg.inv(K[:p, :p])
        remainder = tf.concat([-tf.matmul(precision, K[:p, p:]), [[1.0]]], axis=0)
        e = tf.reshape(tf.matmul(flat_C, remainder), [n_levels, q])
        X = C[:, :, :p]
        XQ = tf.reshape(tf.matmul(flat_C[:, :p], precision), [n_levels, q, p])
        N = _n_matrices(A, F, inverse, factor, q, regular)
        moments = _moments(A, F, N, e, tf.matmul(XQ, X, transpose_b=True), q)
        E = tf.reshape(tf.matmul(N, X), [n_levels, q * p])
        products = tf.matmul(E, tf.concat([E, moments["a"]], axis=1), transpose_a=True)
        sums = [moments[name] for name in ("aa", "sum_H", "sum_S", "HH", "HS", "Haa")]
        parts = [logdet, K, products[:, : q * p], products[:, q * p :], *sums]
        return moments["b"], tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)

    signature = [_matrix(None, q, q), _matrix(None, q, None), _matrix(None, None), _matrix(q, q)]
    graph = tf.function(run, input_signature=signature, autograph=False)
    return graph.get_concrete_function()


@dataclass(frozen=True, eq=False)
class OneBlockSums:
    """The sums over levels that `one_block` returns as one vector.

    Attributes
    ----------
    logdet : float
        log |V|.
    K : numpy.ndarray, shape (p + 1, p + 1)
        ``R'V⁻¹R`` with R = [X y].
    XX : numpy.ndarray, shape (q, p, q, p)
        Σ of products of elements of E_j = N_j X_j.
    Xa : numpy.ndarray, shape (q, p, q)
        Σ of products of elements of E_j with those of a_j.
    aa, sum_H, sum_S : numpy.ndarray, each (q, q)
    HH, HS, Haa : numpy.ndarray, each (q², q²)
        As in `level_moments`.
    """

    logdet: float
    K: np.ndarray
    XX: np.ndarray
    Xa: np.ndarray
    aa: np.ndarray
    sum_H: np.ndarray
    sum_S: np.ndarray
    HH: np.ndarray
    HS: np.ndarray
    Haa: np.ndarray

    @classmethod
    def unpack(cls, packed: np.ndarray, q: int, p: int) -> OneBlockSums:
        """Cut the vector up; q effects a level, p fixed columns."""
        shapes = [
            (),
            (p + 1, p + 1),
            (q, p, q, p),
            (q, p, q),
            *[(q, q)] * 3,
            *[(q * q, q * q)] * 3,
        ]
        parts, start = [], 0
        for shape in shapes:
            stop = start + math.prod(shape)
            parts.append(packed[start:stop].reshape(shape))
            start = stop
        return cls(float(parts[0]), *parts[1:])
