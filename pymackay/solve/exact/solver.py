"""The solver for one grouping factor: one graph call an evaluation, observed curvature included."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pymackay.model.sums.gram import Gram
from pymackay.solve.exact import levels
from pymackay.solve.exact.layouts import choose_layout
from pymackay.solve.solver import (
    Evaluation,
    block_factor,
    by_term,
    criterion_value,
    symmetric_basis,
)

__all__ = ["OneBlock", "is_regular"]


def is_regular(factor: np.ndarray) -> bool:
    """Say whether Λ can be inverted without losing digits (columns are whitened: scale is 1)."""
    diagonal = np.abs(np.diag(factor))
    return bool(diagonal.min() > 1e-3 * diagonal.max())


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
        self._basis = np.concatenate(
            [
                symmetric_basis(gram.layouts[term], self.block.q, columns.start)
                for term, columns in gram.block_slices(self.block)
            ]
        )

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        factor = block_factor(self.gram, self.block, factors)
        graph = levels.one_block(self.block.q, is_regular(factor), self._layout)
        b, packed = graph(self._A, self._C, self._D, factor)
        found = levels.OneBlockSums.unpack(packed, self.block.q, self.gram.p)
        K, p = found.K, self.gram.p
        precision_inverse = np.linalg.inv(K[:p, :p])
        beta = precision_inverse @ K[:p, p]
        r2 = float(K[p, p] - K[:p, p] @ beta)
        nu = self.gram.n - p if self.reml else self.gram.n
        sigma2 = r2 / nu
        traces = found.sum_H - found.sum_S if self.reml else found.sum_H
        criterion = criterion_value(
            self.gram,
            reml=self.reml,
            logdet_v=found.logdet,
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
            squares=by_term(self.gram, [found.aa]),
            curvature=self._curvature(found, precision_inverse, sigma2, nu),
            exact=True,
        )

    def _curvature(
        self, found: levels.OneBlockSums, precision_inverse: np.ndarray, sigma2: float, nu: int
    ) -> np.ndarray:
        """Return the observed curvature in G: −tr(PV̇PV̇) + 2 y'PV̇PV̇Py/σ² − s s'/(ν σ⁴)."""
        q, p, E = self.block.q, self.gram.p, self._basis
        flat = E.reshape(len(E), q * q)
        trace = flat @ _crosswise(found.HH, q) @ flat.T
        Xa = flat @ found.Xa.transpose(0, 2, 1).reshape(q * q, p)
        if self.reml:
            X = flat @ found.XX.transpose(0, 2, 1, 3).reshape(q * q, p * p)
            QX = precision_inverse @ X.reshape(len(E), p, p)
            trace += QX.reshape(len(E), p * p) @ QX.transpose(0, 2, 1).reshape(len(E), p * p).T
            trace -= 2.0 * flat @ _crosswise(found.HS, q) @ flat.T
        pairs = found.Haa.reshape(q, q, q, q).transpose(0, 2, 1, 3).reshape(q * q, q * q)
        quadratic = flat @ pairs @ flat.T - Xa @ precision_inverse @ Xa.T
        squares = flat @ found.aa.ravel()
        return -trace + 2.0 * quadratic / sigma2 - np.outer(squares, squares) / (nu * sigma2**2)

    def error_variance(
        self, factors: list[np.ndarray], *, with_beta: bool
    ) -> tuple[np.ndarray, ...]:
        """Return Var(b̂ − b) / sigma² of every level, shape (J, q, q)."""
        factor = block_factor(self.gram, self.block, factors)
        half, F, _ = levels.eliminate(self.block.q, self._layout)(self._A, factor)
        if not with_beta:
            return (F,)
        p = self.gram.p
        halfway = half @ self.gram.C
        K = self.gram.D - np.einsum("jam,jan->mn", halfway, halfway, optimize=True)
        precision_inverse = np.linalg.inv(K[:p, :p])
        FX = half.transpose(0, 2, 1) @ halfway[:, :, :p]
        return (F + FX @ precision_inverse @ FX.transpose(0, 2, 1),)


def _crosswise(products: np.ndarray, q: int) -> np.ndarray:
    """Reorder Σ H_ab S_cd, shape (q², q²), so that ``E_i · E_j`` gives Σ tr(H E_i S E_j)."""
    return products.reshape(q, q, q, q).transpose(1, 2, 3, 0).reshape(q * q, q * q)
