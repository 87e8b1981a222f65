"""Products and inverses of one small matrix per level, in two layouts.

With few levels, or many effects, the batched kernels are quick. They start anew for each level,
though: where levels have one or two effects that costs several times the arithmetic, so the levels
go last there, and a product is a few operations on long contiguous vectors.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import tensorflow as tf

__all__ = ["LEVELS_FIRST", "LEVELS_LAST", "Layout", "choose_layout"]

_FEW = 30  # levels of two effects up to which batched kernels win; of one effect they never do


class Layout(Protocol):
    """A layout of a batch: a matrix X_j of shape (a, b) for every level j.

    Attributes
    ----------
    name : str
    executor : str
        TensorFlow's executor that runs graphs in this layout quickest.
    """

    name: str
    executor: str

    def __hash__(self) -> int:
        """Return a hash, so that a graph is built once for each layout."""
        ...

    def store(self, X: np.ndarray) -> tf.Tensor:
        """Lay out an array of shape (J, a, b)."""
        ...

    def restore(self, X: tf.Tensor) -> tf.Tensor:
        """Return a batch as (J, a, b)."""
        ...

    def shape(self, a: int | None, b: int | None) -> list[int | None]:
        """Return the shape of a batch of (a, b) matrices, the number of levels left open."""
        ...

    def shape_of_one(self, q: int) -> list[int]:
        """Return the shape in which one (q, q) matrix broadcasts over the levels."""
        ...

    def transpose(self, X: tf.Tensor) -> tf.Tensor:
        """Return ``X_j'``."""
        ...

    def product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        """Return ``X_j Y_j``, the inner dimension known."""
        ...

    def transpose_product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        """Return ``X_j' Y_j``, the inner dimension known."""
        ...

    def small_times(self, S: tf.Tensor, X: tf.Tensor) -> tf.Tensor:
        """Return ``S X_j`` for one small matrix S."""
        ...

    def times_small(self, X: tf.Tensor, S: tf.Tensor) -> tf.Tensor:
        """Return ``X_j S`` for one small matrix S."""
        ...

    def contract(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        """Return ``Σ_j X_j'Y_j``."""
        ...

    def contract_columns(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        """Return ``X_j Y_j'`` for wide matrices, their width left open."""
        ...

    def flatten(self, X: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        """Write every X_j, of `size` elements, as a vector in row-major order."""
        ...

    def moments(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        """Return ``Σ_j x_j y_j'`` for flattened batches."""
        ...

    def join(self, parts: list[tf.Tensor]) -> tf.Tensor:
        """Write flattened batches one after the other, level by level."""
        ...

    def total(self, X: tf.Tensor) -> tf.Tensor:
        """Return ``Σ_j X_j``."""
        ...

    def total_flat(self, X: tf.Tensor) -> tf.Tensor:
        """Return ``Σ_j x_j`` for a flattened batch."""
        ...

    def without_last(self, X: tf.Tensor) -> tf.Tensor:
        """Return every X_j without its last column."""
        ...

    def inverse_root(self, M: tf.Tensor, q: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return ``L_j⁻¹``, lower, and ``Σ_j log|M_j|``, for ``M_j = L_j L_j'`` (q × q)."""
        ...


class _LevelsFirst:
    """Shape (J, a, b)."""

    name = "first"
    executor = "SINGLE_THREADED_EXECUTOR"  # handing tiny operations to threads costs more than them

    def store(self, X: np.ndarray) -> tf.Tensor:
        return tf.constant(X)

    def restore(self, X: tf.Tensor) -> tf.Tensor:
        return X

    def shape(self, a: int | None, b: int | None) -> list[int | None]:
        return [None, a, b]

    def shape_of_one(self, q: int) -> list[int]:
        return [1, q, q]

    def transpose(self, X: tf.Tensor) -> tf.Tensor:
        return tf.linalg.matrix_transpose(X)

    def product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        return X * Y if inner == 1 else tf.matmul(X, Y)

    def transpose_product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        return tf.matmul(X, Y, transpose_a=True)

    def small_times(self, S: tf.Tensor, X: tf.Tensor) -> tf.Tensor:
        return tf.matmul(S, X)

    def times_small(self, X: tf.Tensor, S: tf.Tensor) -> tf.Tensor:
        return tf.matmul(X, S)

    def contract(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.matmul(X, Y, transpose_a=True), axis=0)

    def contract_columns(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        return tf.matmul(X, Y, transpose_b=True)

    def flatten(self, X: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        levels = -1 if isinstance(size, int) else tf.shape(X)[0]  # a width left open may be 0
        return tf.reshape(X, [levels, size])

    def join(self, parts: list[tf.Tensor]) -> tf.Tensor:
        return tf.concat(parts, axis=1)

    def moments(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        return tf.matmul(X, Y, transpose_a=True)

    def total_flat(self, X: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(X, axis=0)

    def total(self, X: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(X, axis=0)

    def without_last(self, X: tf.Tensor) -> tf.Tensor:
        return X[:, :, :-1]

    def inverse_root(self, M: tf.Tensor, q: int) -> tuple[tf.Tensor, tf.Tensor]:
        L = tf.linalg.cholesky(M)
        logdet = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(L)))
        return tf.linalg.triangular_solve(L, tf.constant(np.eye(q)[None])), logdet


class _LevelsLast:
    """Shape (a, b, J)."""

    name = "last"
    executor = ""  # TensorFlow's own

    def store(self, X: np.ndarray) -> tf.Tensor:
        return tf.constant(np.ascontiguousarray(X.transpose(1, 2, 0)))

    def restore(self, X: tf.Tensor) -> tf.Tensor:
        return tf.transpose(X, [2, 0, 1])

    def shape(self, a: int | None, b: int | None) -> list[int | None]:
        return [a, b, None]

    def shape_of_one(self, q: int) -> list[int]:
        return [q, q, 1]

    def transpose(self, X: tf.Tensor) -> tf.Tensor:
        return tf.transpose(X, [1, 0, 2])

    def product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        return X * Y if inner == 1 else tf.reduce_sum(X[:, :, None, :] * Y, axis=1)

    def transpose_product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        return tf.reduce_sum(X[:, :, None, :] * Y[:, None, :, :], axis=0)

    def small_times(self, S: tf.Tensor, X: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(X)
        flat = tf.matmul(S, tf.reshape(X, [shape[0], shape[1] * shape[2]]))
        return tf.reshape(flat, [tf.shape(S)[0], shape[1], shape[2]])

    def times_small(self, X: tf.Tensor, S: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.transpose(S), X)

    def contract(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.matmul(X, Y, transpose_b=True), axis=0)

    def contract_columns(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(X[:, None, :, :] * Y[None, :, :, :], axis=2)

    def flatten(self, X: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        levels = -1 if isinstance(size, int) else tf.shape(X)[2]
        return tf.reshape(X, [size, levels])

    def join(self, parts: list[tf.Tensor]) -> tf.Tensor:
        return tf.concat(parts, axis=0)

    def moments(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        return tf.matmul(X, Y, transpose_b=True)

    def total_flat(self, X: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(X, axis=1)

    def total(self, X: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(X, axis=2)

    def without_last(self, X: tf.Tensor) -> tf.Tensor:
        return X[:, :-1, :]

    def inverse_root(self, M: tf.Tensor, q: int) -> tuple[tf.Tensor, tf.Tensor]:
        if q == 1:
            return 1.0 / tf.sqrt(M), tf.reduce_sum(tf.math.log(M))
        a, b, c = M[0, 0], M[1, 0], M[1, 1]
        pivot = c - b * b / a
        first, last = 1.0 / tf.sqrt(a), 1.0 / tf.sqrt(pivot)
        root = tf.stack([first, tf.zeros_like(a), -b / a * last, last])
        logdet = tf.reduce_sum(tf.math.log(a * pivot))
        return tf.reshape(root, [2, 2, tf.shape(M)[2]]), logdet


LEVELS_FIRST: Layout = _LevelsFirst()
LEVELS_LAST: Layout = _LevelsLast()


def choose_layout(n_levels: int, q: int) -> Layout:
    """Return the layout that is quicker for this many levels of `q` effects."""
    return LEVELS_LAST if q == 1 or (q == 2 and n_levels > _FEW) else LEVELS_FIRST
