"""Algebra over the levels of the leading block, as TensorFlow graphs, in two layouts.

Notation, per level j of the leading block (q effects, relative factor Λ, G = ΛΛ'):

- ``A_j = Z_j'Z_j`` and ``C_j = Z_j'R``, R being all other columns, the response last;
- ``F_j = Λ (I + Λ'A_jΛ)⁻¹ Λ'``, so that ``V⁻¹ = I − Z F Z'`` when only this block is random;
- ``N_j = (I + A_j G)⁻¹ = I − A_j F_j`` and ``H_j = N_j A_j = Z_j' V⁻¹ Z_j``.

Nothing divides by Λ unless it is safe, so that a variance may be exactly zero.

With few levels, or many effects per level, TensorFlow's batched kernels are fast. They have a fixed
cost per level, which for one or two effects is several times that of the arithmetic. The levels are
the last axis then, and a product is a few operations on long contiguous vectors.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf
else:
    from pymackay.late import tf

from pymackay.errors import PymackayError

_FEW = 30  # levels of two effects up to which batched kernels win; of one effect they never do
_REGULAR = 1e-3  # least over largest diagonal element of Λ above which dividing keeps digits

_INLINE = 8000  # elements of all arguments up to which TensorFlow does without its threads

MOMENTS = ("a", "b", "H", "N", "aa", "sum_H", "sum_T")


class Layout:
    """How a batch is laid out, a matrix X_j of shape (a, b) for every level j: here (J, a, b).

    Attributes
    ----------
    name : str
    executor : str
        TensorFlow's executor that runs graphs in this layout quickest.
    """

    name = "first"
    executor = "SINGLE_THREADED_EXECUTOR"  # handing tiny operations to threads costs more than them

    def store(self, X: np.ndarray) -> tf.Tensor:
        """Lay out an array of shape (J, a, b)."""
        return tf.constant(X)

    def restore(self, X: tf.Tensor) -> tf.Tensor:
        """Return a batch as (J, a, b)."""
        return X

    def shape(self, a: int | None, b: int | None) -> list[int | None]:
        """Return the shape of a batch of (a, b) matrices, the number of levels left open."""
        return [None, a, b]

    def shape_of_one(self, q: int) -> list[int]:
        """Return the shape in which one (q, q) matrix broadcasts over the levels."""
        return [1, q, q]

    def transpose(self, X: tf.Tensor) -> tf.Tensor:
        """Return ``X_j'``."""
        return tf.linalg.matrix_transpose(X)

    def product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        """Return ``X_j Y_j``, the inner dimension known."""
        return X * Y if inner == 1 else tf.matmul(X, Y)

    def transpose_product(self, X: tf.Tensor, Y: tf.Tensor, inner: int) -> tf.Tensor:
        """Return ``X_j' Y_j``, the inner dimension known."""
        return tf.matmul(X, Y, transpose_a=True)

    def small_times(self, small: tf.Tensor, X: tf.Tensor) -> tf.Tensor:
        """Return ``small X_j`` for one small matrix."""
        return tf.matmul(small, X)

    def times_small(self, X: tf.Tensor, small: tf.Tensor) -> tf.Tensor:
        """Return ``X_j small`` for one small matrix."""
        return tf.matmul(X, small)

    def contract(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        """Return ``Σ_j X_j'Y_j``."""
        return tf.reduce_sum(tf.matmul(X, Y, transpose_a=True), axis=0)

    def contract_columns(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        """Return ``X_j Y_j'`` for wide matrices, their width left open."""
        return tf.matmul(X, Y, transpose_b=True)

    def flatten(self, X: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
        """Write every X_j, of `size` elements, as a vector in row-major order."""
        levels = -1 if isinstance(size, int) else tf.shape(X)[0]  # a width left open may be 0
        return tf.reshape(X, [levels, size])

    def join(self, parts: list[tf.Tensor]) -> tf.Tensor:
        """Write flattened batches one after the other, level by level."""
        return tf.concat(parts, axis=1)

    def moments(self, X: tf.Tensor, Y: tf.Tensor) -> tf.Tensor:
        """Return ``Σ_j x_j y_j'`` for flattened batches."""
        return tf.matmul(X, Y, transpose_a=True)

    def total(self, X: tf.Tensor) -> tf.Tensor:
        """Return ``Σ_j X_j``, or ``Σ_j x_j`` for a flattened batch."""
        return tf.reduce_sum(X, axis=0)

    def without_last(self, X: tf.Tensor) -> tf.Tensor:
        """Return every X_j without its last column."""
        return X[:, :, :-1]

    def inverse_root(self, M: tf.Tensor, q: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return ``L_j⁻¹``, lower, and ``Σ_j log|M_j|``, for ``M_j = L_j L_j'`` (q × q)."""
        L = tf.linalg.cholesky(M)
        logdet = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(L)))
        return tf.linalg.triangular_solve(L, tf.constant(np.eye(q)[None])), logdet


class _LevelsLast(Layout):
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

    def small_times(self, small: tf.Tensor, X: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(X)
        flat = tf.matmul(small, tf.reshape(X, [shape[0], shape[1] * shape[2]]))
        return tf.reshape(flat, [tf.shape(small)[0], shape[1], shape[2]])

    def times_small(self, X: tf.Tensor, small: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.transpose(small), X)

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

    def total(self, X: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(X, axis=-1)

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


LEVELS_FIRST, LEVELS_LAST = Layout(), _LevelsLast()


def choose_layout(n_levels: int, q: int) -> Layout:
    """Return the layout that is quicker for this many levels of `q` effects."""
    return LEVELS_LAST if q == 1 or (q == 2 and n_levels > _FEW) else LEVELS_FIRST


class ForkError(PymackayError, RuntimeError):
    """TensorFlow cannot work in a fork of a process in which it has worked."""


@functools.cache
def _first_process() -> int:
    """Return the process in which the first graph was made."""
    return os.getpid()


def _size(array: tf.Tensor | np.ndarray) -> int:
    return math.prod(array.shape)


def is_regular(factor: np.ndarray) -> bool:
    """Say whether Λ, (q, q), can be inverted without losing digits: its columns are whitened."""
    diagonal = np.abs(np.diag(factor))
    return bool(diagonal.min() > _REGULAR * diagonal.max())


Tensors = dict[str, "tf.Tensor"]


class Graph:
    """A TensorFlow graph that takes and returns arrays.

    It is called as one operation on the layout's executor: a `tf.function` spends three times
    the work of a small model on checking its arguments.

    Parameters
    ----------
    run : callable
        Tensors in, a tuple of tensors out.
    layout : Layout
    signature : tensorflow.TensorSpec
        Of every argument.
    """

    def __init__(
        self, run: Callable[..., tuple[tf.Tensor, ...]], layout: Layout, *signature: tf.TensorSpec
    ) -> None:
        _first_process()
        graph = tf.function(run, input_signature=signature, autograph=False)
        self._function = graph.get_concrete_function()
        self._types = [output.dtype for output in self._function.outputs]
        self._executor = layout.executor

    def __call__(self, *arguments: tf.Tensor | np.ndarray) -> list[np.ndarray]:
        """Run the graph.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a matrix that must be positive definite is not, to working precision.
        ForkError
            In a fork of the process in which TensorFlow has worked, if the arrays are so large
            that TensorFlow would wait for its threads, which a fork does not have.
        """
        if os.getpid() != _first_process() and sum(map(_size, arguments)) > _INLINE:
            raise ForkError(
                f"TensorFlow has worked in process {_first_process()}, of which this process "
                f"({os.getpid()}) is a fork, and its threads do not survive a fork: the fit would "
                f"never end. Start processes with multiprocessing.get_context('spawn'), or fit "
                f"nothing before the fork."
            )
        try:
            outputs = tf.raw_ops.PartitionedCall(
                args=list(arguments),
                Tout=self._types,
                f=self._function,
                executor_type=self._executor,
            )
        except tf.errors.InvalidArgumentError as error:
            raise np.linalg.LinAlgError(error.message) from error
        return [tensor.numpy() for tensor in outputs]


def batch_spec(*shape: int | None) -> tf.TensorSpec:
    """Return the signature of a float64 argument of a graph."""
    return tf.TensorSpec(shape, tf.float64)


def halves(
    A: tf.Tensor, factor: tf.Tensor, q: int, layout: Layout
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return L⁻¹, ``L⁻¹Λ'`` and the sum of log determinants, with ``LL' = I + Λ'AΛ``.

    Products are taken with these halves, ``F = (L⁻¹Λ')'(L⁻¹Λ')``: an explicit inverse would lose
    digits where effects nearly depend on each other.
    """
    eye = tf.constant(np.eye(q).reshape(layout.shape_of_one(q)))
    M = eye + layout.times_small(layout.small_times(tf.transpose(factor), A), factor)
    root, logdet = layout.inverse_root(M, q)
    return root, layout.times_small(root, tf.transpose(factor)), logdet


def n_matrices(
    A: tf.Tensor,
    root: tf.Tensor,
    half: tf.Tensor,
    factor: tf.Tensor,
    q: int,
    regular: bool,
    layout: Layout,
) -> tf.Tensor:
    """Return N_j; for a regular Λ as ``Λ⁻ᵀL⁻ᵀ(L⁻¹Λ')``, which keeps digits when A_j G is large."""
    if q == 1:
        return root * root
    if not regular:
        eye = tf.constant(np.eye(q).reshape(layout.shape_of_one(q)))
        return eye - layout.product(A, layout.transpose_product(half, half, q), q)
    scaled = layout.times_small(root, tf.linalg.inv(factor))
    return layout.transpose_product(scaled, half, q)


def scalar_moments(
    A: np.ndarray, size: float, e: np.ndarray, quad: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what the graph of `level_moments` does for one effect a level, by NumPy.

    A graph takes ten times as long for some hundreds of levels.

    Parameters
    ----------
    A, e, quad : numpy.ndarray, each (J, 1, 1)
        As in `level_moments`.
    size : float
        Λ.
    """
    N = 1.0 / (1.0 + size * A * size)
    a, H, T = N * e, N * A, N * quad * N
    sums = {"aa": (a * a).sum(axis=0), "sum_H": H.sum(axis=0), "sum_T": T.sum(axis=0)}
    return {"a": a, "b": size * size * a, "H": H, "N": N} | sums


@functools.cache
def level_moments(q: int, regular: bool, layout: Layout) -> Graph:
    """Return the graph of the sums over levels that score and curvature are made of.

    The graph takes A, Λ, ``e`` = Z'(y − Xβ − other random effects), a batch of (q, 1), and
    ``quad`` = C_j Q̄ C_j', a batch of (q, q); see `pymackay.solve.exact.crossed` for Q̄. It returns,
    in this order (`MOMENTS`),

    - ``a`` = Z'Py and ``b`` = F e, both (J, q, 1); ``H`` and ``N``, both (J, q, q);
    - ``aa`` = Σ a a', ``sum_H`` = Σ H, ``sum_T`` = Σ T with T = N quad N'.
    """

    def run(
        A: tf.Tensor, factor: tf.Tensor, e: tf.Tensor, quad: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        root, half, _ = halves(A, factor, q, layout)
        N = n_matrices(A, root, half, factor, q, regular, layout)
        parts = moments(A, half, N, e, quad, q, layout)
        batches = [layout.restore(parts[name]) for name in ("a", "b", "H", "N")]
        sums = [layout.total(parts[name]) for name in ("outer", "H", "T")]
        return tuple(batches + sums)

    shape = layout.shape(q, q)
    return Graph(
        run,
        layout,
        batch_spec(*shape),
        batch_spec(q, q),
        batch_spec(*layout.shape(q, 1)),
        batch_spec(*shape),
    )


def moments(
    A: tf.Tensor,
    half: tf.Tensor,
    N: tf.Tensor,
    e: tf.Tensor,
    quad: tf.Tensor,
    q: int,
    layout: Layout,
) -> Tensors:
    """Return a, b, H, N, ``T = N quad N'`` and ``outer = a a'`` of every level.

    Parameters
    ----------
    A, half, N : tensorflow.Tensor, batches of (q, q)
        ``Z_j'Z_j``, ``L⁻¹Λ'`` and N_j (see `halves`, `n_matrices`).
    e : tensorflow.Tensor, batch of (q, 1)
        ``Z_j'`` times what the other effects leave of the response.
    quad : tensorflow.Tensor, batch of (q, q)
        ``C_j Q̄ C_j'``.
    """
    a = layout.product(N, e, q)
    return {
        "N": N,
        "a": a,
        "b": layout.transpose_product(half, layout.product(half, e, q), q),
        "H": layout.product(N, A, q),
        "T": layout.product(layout.product(N, quad, q), layout.transpose(N), q),
        "outer": layout.product(a, layout.transpose(a), 1),
    }
