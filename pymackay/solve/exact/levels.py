"""Algebra over the levels of the leading block, as TensorFlow graphs.

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

from pymackay.solve.exact.layouts import Layout

__all__ = ["MOMENTS", "Graph", "OneBlockSums", "eliminate", "level_moments", "one_block"]

MOMENTS = ("a", "b", "H", "N", "aa", "sum_H", "sum_S")

Tensors = dict[str, tf.Tensor]


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
        """
        try:
            found = tf.raw_ops.PartitionedCall(
                args=list(arguments),
                Tout=self._types,
                f=self._function,
                executor_type=self._executor,
            )
        except tf.errors.InvalidArgumentError as error:
            raise np.linalg.LinAlgError(error.message) from error
        return [tensor.numpy() for tensor in found]


def _spec(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float64)


def _eliminate(
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


def _n_matrices(
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


@functools.cache
def eliminate(q: int, layout: Layout) -> Graph:
    """Return the graph ``(A, Λ) → (L⁻¹Λ', F, log det)`` for blocks of `q` effects.

    The first two are (J, q, q); ``F = (L⁻¹Λ')'(L⁻¹Λ')``.
    """

    def run(A: tf.Tensor, factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        _, half, logdet = _eliminate(A, factor, q, layout)
        F = layout.transpose_product(half, half, q)
        return layout.restore(half), layout.restore(F), logdet

    return Graph(run, layout, _spec(*layout.shape(q, q)), _spec(q, q))


@functools.cache
def level_moments(q: int, regular: bool, layout: Layout) -> Graph:
    """Return the graph of the sums over levels that score and curvature are made of.

    The graph takes A, Λ, ``e`` = Z'(y − Xβ − other random effects), a batch of (q, 1), and
    ``quad`` = C_j Q̄ C_j', a batch of (q, q); see `pymackay.solve.exact.crossed` for Q̄. It returns,
    in this order (`MOMENTS`),

    - ``a`` = Z'Py and ``b`` = F e, both (J, q, 1); ``H`` and ``N``, both (J, q, q);
    - ``aa`` = Σ a a', ``sum_H`` = Σ H, ``sum_S`` = Σ S with S = N quad N'.
    """

    def run(
        A: tf.Tensor, factor: tf.Tensor, e: tf.Tensor, quad: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        root, half, _ = _eliminate(A, factor, q, layout)
        N = _n_matrices(A, root, half, factor, q, regular, layout)
        found = _moments(A, half, N, e, quad, q, layout)
        batches = [layout.restore(found[name]) for name in ("a", "b", "H", "N")]
        sums = [layout.total(found[name]) for name in ("outer", "H", "S")]
        return tuple(batches + sums)

    shape = layout.shape(q, q)
    return Graph(run, layout, _spec(*shape), _spec(q, q), _spec(*layout.shape(q, 1)), _spec(*shape))


def _moments(
    A: tf.Tensor,
    half: tf.Tensor,
    N: tf.Tensor,
    e: tf.Tensor,
    quad: tf.Tensor,
    q: int,
    layout: Layout,
) -> Tensors:
    a = layout.product(N, e, q)
    return {
        "N": N,
        "a": a,
        "b": layout.transpose_product(half, layout.product(half, e, q), q),
        "H": layout.product(N, A, q),
        "S": layout.product(layout.product(N, quad, q), layout.transpose(N), q),
        "outer": layout.product(a, layout.transpose(a), 1),
    }


@functools.cache
def one_block(q: int, regular: bool, layout: Layout) -> Graph:
    """Return the graph of a whole evaluation when there is one grouping factor.

    It takes A, C, D and Λ and returns the effects, shape (J, q, 1), and one vector that
    `OneBlockSums.unpack` cuts up: a call costs less the fewer tensors it returns.
    """

    def run(
        A: tf.Tensor, C: tf.Tensor, D: tf.Tensor, factor: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        root, half, logdet = _eliminate(A, factor, q, layout)
        scaled = layout.product(half, C, q)
        K = D - layout.contract(scaled, scaled)
        precision = tf.linalg.inv(K[:-1, :-1])
        remainder = tf.concat([-tf.matmul(precision, K[:-1, -1:]), [[1.0]]], axis=0)
        X = layout.without_last(C)
        quad = layout.contract_columns(layout.times_small(X, precision), X)
        N = _n_matrices(A, root, half, factor, q, regular, layout)
        found = _moments(A, half, N, layout.times_small(C, remainder), quad, q, layout)
        E = layout.flatten(layout.product(N, X, q), q * (tf.shape(D)[0] - 1))
        E_a = layout.join([E, layout.flatten(found["a"], q)])
        H = layout.flatten(found["H"], q * q)
        others = [layout.flatten(found[name], q * q) for name in ("S", "outer")]
        H_S_outer = layout.join([H, *others])
        parts = [logdet, K, layout.moments(E, E_a)]
        parts += [layout.total_flat(H_S_outer), layout.moments(H, H_S_outer)]
        packed = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
        return layout.restore(found["b"]), packed

    return Graph(
        run,
        layout,
        _spec(*layout.shape(q, q)),
        _spec(*layout.shape(q, None)),
        _spec(None, None),
        _spec(q, q),
    )


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
        As in `level_moments`.
    HH, HS, Haa : numpy.ndarray, each (q², q²)
        Σ of products of elements of H_j with those of H_j, S_j and a_j a_j'.
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
        shapes = [(p + 1, p + 1), (q * p, q * p + q), (3, q, q), (q * q, 3, q * q)]
        parts, start = [], 1
        for shape in shapes:
            stop = start + math.prod(shape)
            parts.append(packed[start:stop].reshape(shape))
            start = stop
        K, E, sums, products = parts
        XX = E[:, : q * p].reshape(q, p, q, p)
        Xa = E[:, q * p :].reshape(q, p, q)
        return cls(
            logdet=float(packed[0]),
            K=K,
            XX=XX,
            Xa=Xa,
            sum_H=sums[0],
            sum_S=sums[1],
            aa=sums[2],
            HH=products[:, 0],
            HS=products[:, 1],
            Haa=products[:, 2],
        )
