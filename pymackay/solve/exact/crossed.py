"""The exact solver's kernel for several grouping factors: the leading block level by level.

What is left after it, K and Q̄, and the notation are those of `pymackay.solve.exact.eliminated`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pymackay.model.sums.gram import Block, Gram
from pymackay.solve.exact import levels
from pymackay.solve.exact.coupling import make_coupling
from pymackay.solve.exact.curvature import projected_gram, trace_curvature
from pymackay.solve.exact.eliminated import Eliminated, eliminate_levels
from pymackay.solve.exact.levels import Layout, choose_layout, is_regular
from pymackay.solve.linalg import blas
from pymackay.solve.solver import (
    Elements,
    ErrorVariance,
    Evaluation,
    by_term,
    criterion_value,
)

if TYPE_CHECKING:
    import tensorflow as tf

# Multiply-adds for Z'PZ up to which the observed curvature, which saves iterations, is worth it.
_EXACT_COST = 4e8
# Share of well-determined effects above which a difference from the identity keeps its digits.
_KEPT = 1e-4


class Crossed:
    """Solve models with any number of grouping factors, crossed or nested.

    Parameters
    ----------
    gram : Gram
    reml : bool
    """

    def __init__(self, gram: Gram, reml: bool) -> None:
        self.gram = gram
        self.reml = reml
        self.lead = gram.blocks[0]
        self._coupling = make_coupling(gram)
        effects = sum(block.size for block in gram.blocks)
        self._exact = float(effects) ** 2 * len(gram.D) < _EXACT_COST
        self._constant = None if gram.structured else Elements.of(gram)

    @cached_property
    def _stored(self) -> tuple[Layout, tf.Tensor]:
        """The layout of the leading block's levels, and A in it."""
        layout = choose_layout(self.lead.n_levels, self.lead.q)
        return layout, layout.store(self.gram.A)

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        dense, gram = self._eliminated(factors), self.gram
        nu = gram.n - gram.p if self.reml else gram.n
        sigma2 = dense.r2 / nu
        Q_trace = dense.Q if self.reml else dense.given_beta()
        lead = self._lead_moments(factors, dense, Q_trace)
        remainder = np.append(-dense.coefficients, 1.0)
        a_rest = blas.product(dense.K, remainder[:, None])[: dense.size, 0]
        effects = [lead["b"]]
        traces = [lead["sum_H"] - lead["sum_T"]]
        a_blocks = [lead["a"]]
        for i, (block, span, factor) in enumerate(
            zip(dense.blocks, dense.slices, dense.factors, strict=True)
        ):
            b = dense.coefficients[span].reshape(block.n_levels, block.q)
            a_blocks.append(dense.large.working(i, a_rest[span].reshape(b.shape), b))
            effects.append(b)
            traces.append(_level_traces(dense.K, Q_trace, span, block, factor))
        return Evaluation(
            criterion=criterion_value(
                gram,
                reml=self.reml,
                logdet_v=dense.logdet_v,
                logdet_x=dense.logdet_x,
                r2=dense.r2,
            ),
            sigma2=sigma2,
            beta=dense.beta,
            precision_inverse=dense.precision_inverse,
            b=tuple(effects),
            traces=by_term(gram, traces),
            squares=by_term(gram, [a.T @ a for a in a_blocks]),
            curvature=self._curvature(
                self._constant or Elements.of(gram, factors),
                dense,
                lead,
                a_blocks,
                Q_trace,
                sigma2,
                nu,
            ),
            exact=self._exact,
        )

    def error_variance(self, factors: list[np.ndarray], *, with_beta: bool) -> ErrorVariance:
        """Return Var(b̂ − b) / sigma², block by block."""
        return self._eliminated(factors).error_variance(self._coupling, with_beta=with_beta)

    def _eliminated(self, factors: list[np.ndarray]) -> Eliminated:
        half, F, logdet = eliminate_levels(self.gram, factors)
        K = self.gram.D - self._coupling.schur(half)
        return Eliminated.of(self.gram, factors, K, half, F, logdet)

    def _lead_moments(
        self, factors: list[np.ndarray], dense: Eliminated, Q: np.ndarray
    ) -> dict[str, np.ndarray]:
        factor = self.gram.joined(self.lead, factors)
        remainder = np.append(-dense.coefficients, 1.0)
        e = self._coupling.times(remainder[:, None])
        inner = self._coupling.level_quadratics(Q)
        if self.lead.q == 1:
            sums = levels.scalar_moments(self.gram.A, float(factor[0, 0]), e, inner)
        else:
            layout, A = self._stored
            graph = levels.level_moments(self.lead.q, is_regular(factor), layout)
            parts = graph(A, factor, layout.store(e), layout.store(inner))
            sums = dict(zip(levels.MOMENTS, parts, strict=True))
        return sums | {name: sums[name][:, :, 0] for name in ("a", "b")}

    def _curvature(
        self,
        elements: Elements,
        dense: Eliminated,
        lead: dict[str, np.ndarray],
        a_blocks: list[np.ndarray],
        Q_trace: np.ndarray,
        sigma2: float,
        nu: int,
    ) -> np.ndarray:
        """Return the curvature in theta's order: observed where affordable, else average."""
        working = elements.working(a_blocks)
        products = elements.in_theta(self._quadratic_products(dense, lead, working))
        curvature = elements.average_information(products, a_blocks, sigma2, nu)
        if self._exact:
            traces = self._traces(elements, dense, lead, Q_trace)
            curvature += products / sigma2 - elements.in_theta(traces)
        return curvature

    def _traces(
        self, elements: Elements, dense: Eliminated, lead: dict[str, np.ndarray], Q: np.ndarray
    ) -> np.ndarray:
        """Return tr(PV̇PV̇), block by block."""
        m = len(Q)
        C = self._coupling.dense()[:, :, :m]
        NC = np.matmul(lead["N"], C).reshape(-1, m)
        ZPZ = projected_gram(lead["H"], NC, dense.K[:m, :m], Q, dense.projection(Q))
        return trace_curvature(ZPZ, self.gram.blocks, elements.matrices)

    def _quadratic_products(
        self, dense: Eliminated, lead: dict[str, np.ndarray], working: list[np.ndarray]
    ) -> np.ndarray:
        """Return ``y'PV̇ᵢPV̇ⱼPy`` for all pairs of elements, block by block, shape (m, m).

        With ``a = Z'Py`` and Eᵢ the derivative of a level's G by element i, ``V̇ᵢPy = Z fᵢ`` where
        fᵢ stacks the levels' ``Eᵢ a_j``: a pair gives ``(Z fᵢ)'P(Z fⱼ)``.

        Parameters
        ----------
        dense : Eliminated
        lead : dict
            `MOMENTS` of the leading block.
        working : list of numpy.ndarray, each (J q, m_k)
            ``Eᵢ a_j`` of each block.
        """
        m = len(dense.Q)
        start = first = working[0].shape[1]
        rest = np.zeros((m + 1, sum(w.shape[1] for w in working)))
        for w, span in zip(working[1:], dense.slices, strict=True):
            rest[span, start : start + w.shape[1]] = w
            start += w.shape[1]
        lead_part = working[0].reshape(self.lead.n_levels, self.lead.q, first)
        carried = self._coupling.transpose_times(np.matmul(lead["N"].transpose(0, 2, 1), lead_part))
        own = working[0].T @ np.matmul(lead["H"], lead_part).reshape(working[0].shape)
        K_small = blas.product(dense.K, dense.small(rest))[:m]
        rest_projected = dense.projected(dense.Q, rest[:m], K_small)
        lead_rest = carried[:m].T @ rest_projected
        products = rest[:m].T @ blas.product(dense.K[:m, :m], rest_projected)
        products[:first] += lead_rest
        products[:, :first] += lead_rest.T
        products[:first, :first] += own - carried[:m].T @ blas.product(dense.Q, carried[:m])
        return products


def _level_traces(
    K: np.ndarray, Q: np.ndarray, span: slice, block: Block, factor: np.ndarray
) -> np.ndarray:
    """Return the sum over a block's levels of the diagonal blocks of ``K − K Q K``, (q, q).

    From the error variances, ``Λ'τΛ = J I − Λ⁻¹ (Σ Q_jj) Λ⁻ᵀ``, where that keeps its digits;
    else from the definition, which costs a matrix product.
    """
    index = span.start + np.arange(block.size).reshape(block.n_levels, block.q)
    if is_regular(factor):
        inverse = np.linalg.inv(factor)
        errors = Q[index[:, :, None], index[:, None, :]].sum(axis=0)
        gamma = block.n_levels * np.eye(block.q) - inverse @ errors @ inverse.T
        least = gamma[0, 0] if block.q == 1 else np.linalg.eigvalsh(gamma)[0]
        if least > _KEPT * block.n_levels:
            return inverse.T @ gamma @ inverse
    m = len(Q)
    rows = K[span, :m]
    KQ = blas.product(rows, Q)
    by_effect = [part.reshape(block.n_levels, block.q, m).swapaxes(0, 1) for part in (KQ, rows)]
    first, second = (part.reshape(block.q, -1) for part in by_effect)
    removed = first @ second.T
    return K[index[:, :, None], index[:, None, :]].sum(axis=0) - removed
