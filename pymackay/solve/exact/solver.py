"""`Exact`, the exact solver, and its kernel for one grouping factor; `Crossed` is for several.

With one grouping factor an evaluation is one graph call, observed curvature included.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.model.sums.gram import Gram, cross_products
from pymackay.solve.exact.along import ManyEffects
from pymackay.solve.exact.crossed import Crossed
from pymackay.solve.exact.eliminated import eliminate_levels, left_over
from pymackay.solve.exact.levels import (
    Graph,
    Layout,
    batch_spec,
    choose_layout,
    halves,
    is_regular,
    moments,
    n_matrices,
)
from pymackay.solve.exact.within import WithinLevels
from pymackay.solve.search.limits import Control
from pymackay.solve.search.newton import find_optimum, optimise
from pymackay.solve.solver import (
    Elements,
    ErrorVariance,
    Evaluation,
    Optimum,
    by_term,
    criterion_value,
)

# Effects of a level from which structures have a kernel of their own: of few parameters, of any.
_MANY, _VERY_MANY = 12, 30
_CANCELLED = 1e-6  # share of a column that the levels leave, below which it is summed up by itself
if TYPE_CHECKING:
    import tensorflow as tf
else:
    from pymackay.late import tf


class Exact:
    """The exact solver: a kernel for one grouping factor, another one for several.

    Parameters
    ----------
    sums : Gram
    reml : bool
    """

    precision = 0.0

    def __init__(self, sums: Gram, reml: bool) -> None:
        self.sums = sums
        self.reml = reml

    @property
    def bases(self) -> Gram:
        """Of the cross-products."""
        return self.sums

    @cached_property
    def kernel(self) -> OneBlock | Crossed:
        """What evaluates; made when it is first needed."""
        kind = OneBlock if len(self.sums.blocks) == 1 else Crossed
        return kind(self.sums, self.reml)

    @cached_property
    def along(self) -> ManyEffects | None:
        """What evaluates structures of many effects; None where the kernel does."""
        q, m = self.sums.blocks[0].q, self.sums.n_theta
        one = self.sums.structured and len(self.sums.blocks) == 1
        many = q > _MANY and (2 * m <= q or q > _VERY_MANY)
        return ManyEffects(self.sums, self.reml) if one and many else None

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the kernel holds tensors, and is made again."""
        return {"sums": self.sums, "reml": self.reml}

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        return (self.along or self.kernel).evaluate(factors)

    def error_variance(self, factors: list[np.ndarray], *, with_beta: bool) -> ErrorVariance:
        """Return Var(b̂ − b) / sigma²; `with_beta`: pev, else condvar."""
        return self.kernel.error_variance(factors, with_beta=with_beta)

    def find_optimum(
        self,
        start: list[np.ndarray] | None = None,
        control: Any = None,
        *,
        start_only: bool = False,
    ) -> Optimum:
        """Minimise the criterion (see `Solver`).

        From `start`, and from the data's own start too where that ends on the boundary or is not
        certified: the lower one is kept, of the certified ones.
        """
        if control is not None and not isinstance(control, Control):
            raise ArgumentError(
                f"control is of the kind {type(control).__name__}, but the exact solver takes a "
                f"Control; leave it out, or fit with solver='iterative'."
            )
        if start_only and start is not None:
            return optimise(self, start, control)
        return find_optimum(self, control, start)

    def with_response(self, response: np.ndarray) -> Exact:
        """Return the solver of the same design with another response (see `Solver`)."""
        return Exact(self.sums.with_response(response), self.reml)

    def reweighted(self, weights: np.ndarray, working_response: np.ndarray) -> Exact:
        """Return the solver with other prior weights and another response (see `Solver`)."""
        model = self.sums.model.with_response(working_response, weights)
        return Exact(cross_products(model), self.reml)

    def exact(self, largest: int) -> Exact:
        """Return itself."""
        return self

    def by(self, *, reml: bool) -> Exact:
        """Return the solver of the same sums by REML or maximum likelihood."""
        return Exact(self.sums, reml)

    def with_sums(self, sums: Gram) -> Exact:
        """Return the solver of other sums."""
        return Exact(sums, self.reml)

    def recipe(self) -> dict[str, Any]:
        """Return what, besides model and criterion, an equal solver is made from."""
        return {"kind": "exact"}


class OneBlock:
    """Solve models whose random terms share one grouping factor.

    Parameters
    ----------
    gram : Gram
        With a single block.
    reml : bool
    """

    def __init__(self, gram: Gram, reml: bool) -> None:
        self.gram = gram
        self.reml = reml
        self.block = gram.blocks[0]
        self._layout = choose_layout(self.block.n_levels, self.block.q)
        self._A = self._layout.store(gram.A)
        self._C = self._layout.store(gram.C)
        self._D = tf.constant(gram.D)
        self._basis = None if gram.structured else Elements.of(gram).matrices[0]

    @cached_property
    def _within(self) -> WithinLevels | None:
        return WithinLevels.of(self.gram)

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        factor = self.gram.joined(self.block, factors)
        b, sums, cancelled = self._sums(factor)
        K, p = sums.K, self.gram.p
        precision_inverse = np.linalg.inv(K[:p, :p])
        beta = precision_inverse @ K[:p, p]
        r2 = float(K[p, p] - K[:p, p] @ beta)
        nu = self.gram.n - p if self.reml else self.gram.n
        sigma2 = r2 / nu
        traces = sums.sum_H - sums.sum_T if self.reml else sums.sum_H
        criterion = criterion_value(
            self.gram,
            reml=self.reml,
            logdet_v=sums.logdet,
            logdet_x=float(np.linalg.slogdet(K[:p, :p])[1]),
            r2=r2,
        )
        return Evaluation(
            criterion=criterion,
            sigma2=sigma2,
            beta=beta,
            precision_inverse=precision_inverse,
            b=(b[:, :, 0],),
            traces=by_term(self.gram, [traces]),
            squares=by_term(self.gram, [sums.aa]),
            curvature=self._curvature(self._elements(factors), sums, precision_inverse, sigma2, nu),
            exact=True,
            cancelled=cancelled,
        )

    def _sums(self, factor: np.ndarray) -> tuple[np.ndarray, OneBlockSums, bool]:
        """Return effects and sums at a factor, (q, q), and whether K has lost digits there.

        Where K is a small part of D, it is made from the sums within levels, which lose none.
        """
        q, regular = self.block.q, is_regular(factor)
        graph, K = one_block(q, regular, self._layout), self._D
        for cancelled in (True, False):
            try:
                b, packed = graph(self._A, self._C, K, factor)
                sums = OneBlockSums.unpack(packed, q, self.gram.p)
                if not cancelled or np.diagonal(sums.K).min() > _CANCELLED:
                    return b, sums, False
            except np.linalg.LinAlgError:
                if self._within is None or not cancelled:
                    raise
            if self._within is None:
                break
            graph = one_block(q, regular, self._layout, given_K=True)
            K = tf.constant(self._within.left_over(factor))
        return b, sums, True

    def _elements(self, factors: list[np.ndarray]) -> np.ndarray:
        """Return the directions in G of the curvature at these factors, (m, q, q)."""
        return Elements.of(self.gram, factors).matrices[0] if self._basis is None else self._basis

    def _curvature(
        self,
        E: np.ndarray,
        sums: OneBlockSums,
        precision_inverse: np.ndarray,
        sigma2: float,
        nu: int,
    ) -> np.ndarray:
        """Return the observed curvature in G: −tr(PV̇PV̇) + 2 y'PV̇PV̇Py/σ² − s s'/(ν σ⁴).

        Shape (m, m), from the directions E, `OneBlockSums` and ``precision_inverse = (X'V⁻¹X)⁻¹``,
        (p, p).
        """
        q, p = self.block.q, self.gram.p
        flat = E.reshape(len(E), q * q)
        trace = flat @ _crosswise(sums.HH, q) @ flat.T
        Xa = flat @ sums.Xa.transpose(0, 2, 1).reshape(q * q, p)
        if self.reml:
            X = flat @ sums.XX.transpose(0, 2, 1, 3).reshape(q * q, p * p)
            QX = precision_inverse @ X.reshape(len(E), p, p)
            trace += QX.reshape(len(E), p * p) @ QX.transpose(0, 2, 1).reshape(len(E), p * p).T
            trace -= 2.0 * flat @ _crosswise(sums.HT, q) @ flat.T
        pairs = sums.Haa.reshape(q, q, q, q).transpose(0, 2, 1, 3).reshape(q * q, q * q)
        quadratic = flat @ pairs @ flat.T - Xa @ precision_inverse @ Xa.T
        squares = flat @ sums.aa.ravel()
        return -trace + 2.0 * quadratic / sigma2 - np.outer(squares, squares) / (nu * sigma2**2)

    def error_variance(self, factors: list[np.ndarray], *, with_beta: bool) -> ErrorVariance:
        """Return Var(b̂ − b) / sigma² of every level: F, and ``F X (X'V⁻¹X)⁻¹ X'F`` with beta.

        By an inverse and not by a Cholesky factor: a fixed effect that is confounded with the
        levels has a variance without digits then, instead of none.
        """
        half, F, _ = eliminate_levels(self.gram, factors)
        if not with_beta:
            return ErrorVariance.exact([F])
        p = self.gram.p
        FX = half.transpose(0, 2, 1) @ (half @ np.asarray(self.gram.C)[:, :, :p])
        K = left_over(self.gram, half)
        if not np.diagonal(K).min() > _CANCELLED and self._within is not None:
            K = self._within.left_over(self.gram.joined(self.block, factors))
        precision = K[:p, :p]
        return ErrorVariance.exact([F + FX @ np.linalg.inv(precision) @ FX.transpose(0, 2, 1)])


def _crosswise(products: np.ndarray, q: int) -> np.ndarray:
    """Reorder Σ H_ab T_cd, shape (q², q²), so that ``E_i · E_j`` gives Σ tr(H E_i T E_j)."""
    return products.reshape(q, q, q, q).transpose(1, 2, 3, 0).reshape(q * q, q * q)


@functools.cache
def one_block(q: int, regular: bool, layout: Layout, *, given_K: bool = False) -> Graph:
    """Return the graph of a whole evaluation when there is one grouping factor.

    With `given_K` it takes K in the place of D.

    It takes A, C, D and Λ and returns the effects, shape (J, q, 1), and one vector that
    `OneBlockSums.unpack` cuts up: a call costs less the fewer tensors it returns.
    """

    def run(
        A: tf.Tensor, C: tf.Tensor, D: tf.Tensor, factor: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        root, half, logdet = halves(A, factor, q, layout)
        scaled = layout.product(half, C, q)
        K = D if given_K else D - layout.contract(scaled, scaled)
        precision = tf.linalg.inv(K[:-1, :-1])
        remainder = tf.concat([-tf.matmul(precision, K[:-1, -1:]), [[1.0]]], axis=0)
        X = layout.without_last(C)
        quad = layout.contract_columns(layout.times_small(X, precision), X)
        N = n_matrices(A, root, half, factor, q, regular, layout)
        level = moments(A, half, N, layout.times_small(C, remainder), quad, q, layout)
        NX = layout.flatten(layout.product(N, X, q), q * (tf.shape(D)[0] - 1))
        NX_a = layout.join([NX, layout.flatten(level["a"], q)])
        H = layout.flatten(level["H"], q * q)
        others = [layout.flatten(level[name], q * q) for name in ("T", "outer")]
        H_T_outer = layout.join([H, *others])
        parts = [logdet, K, layout.moments(NX, NX_a)]
        parts += [layout.total(H_T_outer), layout.moments(H, H_T_outer)]
        packed = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
        return layout.restore(level["b"]), packed

    return Graph(
        run,
        layout,
        batch_spec(*layout.shape(q, q)),
        batch_spec(*layout.shape(q, None)),
        batch_spec(None, None),
        batch_spec(q, q),
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
        Σ of products of elements of N_jX_j.
    Xa : numpy.ndarray, shape (q, p, q)
        Σ of products of elements of N_jX_j with those of a_j.
    aa, sum_H, sum_T : numpy.ndarray, each (q, q)
        As in `level_moments`.
    HH, HT, Haa : numpy.ndarray, each (q², q²)
        Σ of products of elements of H_j with those of H_j, T_j and a_j a_j'.
    """

    logdet: float
    K: np.ndarray
    XX: np.ndarray
    Xa: np.ndarray
    aa: np.ndarray
    sum_H: np.ndarray
    sum_T: np.ndarray
    HH: np.ndarray
    HT: np.ndarray
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
        K, fixed, sums, products = parts
        XX = fixed[:, : q * p].reshape(q, p, q, p)
        Xa = fixed[:, q * p :].reshape(q, p, q)
        return cls(
            logdet=float(packed[0]),
            K=K,
            XX=XX,
            Xa=Xa,
            sum_H=sums[0],
            sum_T=sums[1],
            aa=sums[2],
            HH=products[:, 0],
            HT=products[:, 1],
            Haa=products[:, 2],
        )
