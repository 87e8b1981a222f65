"""The solver for several grouping factors: the leading block level by level, the rest dense.

After the leading block is eliminated, ``K = R'V₁⁻¹R`` (V₁: only that block random) is what is left
of all other columns R = [Z₂ X y]. With Λ₂ the factors of the other blocks and
``B = [Λ₂ 0; 0 I]' K [Λ₂ 0; 0 I] + [I 0; 0 0]``, the matrix ``Q̄ = [Λ₂ 0; 0 I] B⁻¹ [Λ₂ 0; 0 I]'``
carries everything: ``P = V₁⁻¹ − V₁⁻¹ R Q̄ R' V₁⁻¹``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.sums.gram import Block, Gram
from pymackay.solve.exact import levels
from pymackay.solve.exact.coupling import make_coupling
from pymackay.solve.exact.curvature import projected_gram, trace_curvature
from pymackay.solve.exact.large_effects import LargeEffects
from pymackay.solve.exact.layouts import choose_layout
from pymackay.solve.exact.solver import is_regular
from pymackay.solve.linalg import blas
from pymackay.solve.solver import (
    Evaluation,
    block_factor,
    by_term,
    criterion_value,
    symmetric_basis,
)

__all__ = ["Crossed"]

# Multiply-adds for Z'PZ up to which the observed curvature, which saves iterations, is worth it.
_EXACT_COST = 4e8
# Share of well-determined effects above which a difference from the identity keeps its digits.
_KEPT = 1e-4


@dataclass(frozen=True, eq=False)
class _Dense:
    """The dense stage at one theta (see the module's first lines).

    Attributes
    ----------
    K : numpy.ndarray, shape (m + 1, m + 1)
    half, F : numpy.ndarray, each (J, q, q)
        ``L⁻¹Λ'`` of the leading block's levels, and ``F = (L⁻¹Λ')'(L⁻¹Λ')``.
    Q : numpy.ndarray, shape (m, m)
        Q̄ with X, m = other random effects + p.
    coefficients : numpy.ndarray, shape (m,)
        Random effects of the other blocks, then beta.
    large : LargeEffects
        Of the other blocks.
    """

    K: np.ndarray
    half: np.ndarray
    F: np.ndarray
    Q: np.ndarray
    coefficients: np.ndarray
    logdet_v: float
    logdet_x: float
    r2: float
    large: LargeEffects


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
        self.lead, self.others = gram.blocks[0], gram.blocks[1:]
        self._layout = choose_layout(self.lead.n_levels, self.lead.q)
        self._A = self._layout.store(gram.A)
        self._coupling = make_coupling(gram)
        self._slices = _block_slices(self.others)
        self._size = self._slices[-1].stop
        effects = self._size + self.lead.size
        self._exact = float(effects) ** 2 * len(gram.D) < _EXACT_COST
        self._basis = [
            np.concatenate(
                [
                    symmetric_basis(gram.layouts[term], block.q, columns.start)
                    for term, columns in gram.block_slices(block)
                ]
            )
            for block in gram.blocks
        ]

        self._order = np.concatenate(
            [
                np.arange(gram.layouts[t].start, gram.layouts[t].stop)
                for block in gram.blocks
                for t in block.terms
            ]
        )

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        dense = self._dense_stage(factors)
        gram, p = self.gram, self.gram.p
        nu = gram.n - p if self.reml else gram.n
        sigma2 = dense.r2 / nu
        Q_trace = dense.Q if self.reml else self._given_beta(dense.Q)
        lead = self._lead_moments(factors, dense, Q_trace)
        remainder = np.append(-dense.coefficients, 1.0)
        a_rest = blas.product(dense.K, remainder[:, None])[: self._size, 0]
        effects = [lead["b"]]
        traces = [lead["sum_H"] - lead["sum_S"]]
        a_blocks = [lead["a"]]
        for i, (block, span, factor) in enumerate(
            zip(self.others, self._slices, self._other_factors(factors), strict=True)
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
            beta=dense.coefficients[self._size :],
            precision_inverse=dense.Q[self._size :, self._size :],
            b=tuple(effects),
            traces=by_term(gram, traces),
            squares=by_term(gram, [a.T @ a for a in a_blocks]),
            curvature=self._curvature(dense, lead, a_blocks, Q_trace, sigma2, nu),
            exact=self._exact,
        )

    def error_variance(
        self, factors: list[np.ndarray], *, with_beta: bool
    ) -> tuple[np.ndarray, ...]:
        """Return Var(b̂ − b) / sigma², block by block, each (J, q, q)."""
        dense = self._dense_stage(factors)
        Q = dense.Q if with_beta else self._given_beta(dense.Q)
        inner = self._coupling.level_quadratics(Q, dense.half)
        found = [dense.F + dense.half.transpose(0, 2, 1) @ inner @ dense.half]
        for block, span in zip(self.others, self._slices, strict=True):
            rows = span.start + np.arange(block.size).reshape(block.n_levels, block.q)
            found.append(Q[rows[:, :, None], rows[:, None, :]])
        return tuple(found)

    def _dense_stage(self, factors: list[np.ndarray]) -> _Dense:
        lead_factor = block_factor(self.gram, self.lead, factors)
        graph = levels.eliminate(self.lead.q, self._layout)
        half_lead, F, logdet_lead = graph(self._A, lead_factor)
        K = self.gram.D - self._coupling.schur(half_lead)
        blocks = self._other_factors(factors)
        m, size = len(K) - 1, self._size
        scaled = self._scale(K[:m, :m], blocks)
        index = np.arange(size)
        scaled[index, index] += 1.0
        L = blas.cholesky(scaled)
        logs = 2.0 * np.log(np.diag(L))
        half = blas.solve_lower(L, self._scale_rows(K[:m, m:], blocks))[:, 0]
        Q = self._scale(blas.symmetric_inverse(L), [factor.T for factor in blocks])
        return _Dense(
            K=K,
            half=half_lead,
            F=F,
            Q=Q,
            coefficients=blas.product(Q, K[:m, m:])[:, 0],
            logdet_v=float(logdet_lead + logs[:size].sum()),
            logdet_x=float(logs[size:].sum()),
            r2=float(K[m, m] - half @ half),
            large=LargeEffects.of(blocks),
        )

    def _given_beta(self, Q: np.ndarray) -> np.ndarray:
        """Return Q̄ with beta known: zero in X's rows and columns."""
        size = self._size
        given = np.zeros_like(Q)
        given[:size, :size] = Q[:size, :size]
        if len(Q) > size:
            inverse = np.linalg.inv(Q[size:, size:])
            carried = blas.product(inverse, Q[size:, :size])
            given[:size, :size] -= blas.product(Q[:size, size:], carried)
        return given

    def _other_factors(self, factors: list[np.ndarray]) -> list[np.ndarray]:
        return [block_factor(self.gram, block, factors) for block in self.others]

    def _scale(self, M: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
        """Return ``[Λ₂ 0; 0 I]' M [Λ₂ 0; 0 I]`` for symmetric M, as a new array."""
        if all(block.q == 1 for block in self.others):
            sizes = [block.size for block in self.others]
            scale = np.ones(len(M))
            scale[: self._size] = np.repeat([factor[0, 0] for factor in factors], sizes)
            scaled = M * scale
            scaled *= scale[:, None]
            return scaled
        return self._scale_rows(self._scale_rows(M, factors).T, factors)

    def _scale_rows(self, M: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
        """Return ``[Λ₂ 0; 0 I]' M``; the rows beyond the blocks (X) are left alone."""
        scaled = M.copy()
        for factor, block, span in zip(factors, self.others, self._slices, strict=True):
            rows = M[span].reshape(block.n_levels, block.q, -1)
            scaled[span] = np.matmul(factor.T, rows).reshape(block.size, -1)
        return scaled

    def _lead_moments(
        self, factors: list[np.ndarray], dense: _Dense, Q: np.ndarray
    ) -> dict[str, np.ndarray]:
        factor = block_factor(self.gram, self.lead, factors)
        remainder = np.append(-dense.coefficients, 1.0)
        e = self._layout.store(self._coupling.times(remainder[:, None]))
        inner = self._layout.store(self._coupling.level_quadratics(Q))
        graph = levels.level_moments(self.lead.q, is_regular(factor), self._layout)
        found = dict(zip(levels.MOMENTS, graph(self._A, factor, e, inner), strict=True))
        return found | {name: found[name][:, :, 0] for name in ("a", "b")}

    def _curvature(
        self,
        dense: _Dense,
        lead: dict[str, np.ndarray],
        a_blocks: list[np.ndarray],
        Q_trace: np.ndarray,
        sigma2: float,
        nu: int,
    ) -> np.ndarray:
        """Return the curvature in theta's order: observed where affordable, else average.

        The average information, y'PV̇PV̇Py/σ² − s s'/(ν σ⁴), is the mean of the observed
        curvature and its expectation (Gilmour et al. 1995, eq. 8).
        """
        products = self._quadratic_products(dense, lead, a_blocks)
        squares = np.concatenate(
            [np.einsum("iab,ab->i", E, a.T @ a) for E, a in zip(self._basis, a_blocks, strict=True)]
        )
        curvature = products / sigma2 - np.outer(squares, squares) / (nu * sigma2**2)
        if self._exact:
            curvature += products / sigma2 - self._traces(dense, lead, Q_trace)
        found = np.empty_like(curvature)
        found[np.ix_(self._order, self._order)] = curvature
        return found

    def _traces(self, dense: _Dense, lead: dict[str, np.ndarray], Q: np.ndarray) -> np.ndarray:
        """Return tr(PV̇PV̇), block by block."""
        m = len(Q)
        C = self._coupling.dense()[:, :, :m]
        E = np.matmul(lead["N"], C).reshape(-1, m)
        K_small = self._small(dense, dense.K[:m, :m]).T[:, : self._size]
        U = self._projected(dense, Q, np.eye(m, self._size), K_small)
        W = projected_gram(lead["H"], E, dense.K[:m, :m], Q, U)
        return trace_curvature(W, self.gram.blocks, self._basis)

    def _quadratic_products(
        self, dense: _Dense, lead: dict[str, np.ndarray], a_blocks: list[np.ndarray]
    ) -> np.ndarray:
        """Return y'PV̇PV̇Py for all pairs of elements, block by block."""
        m = len(dense.Q)
        working = [
            np.einsum("iab,jb->jai", E, a) for E, a in zip(self._basis, a_blocks, strict=True)
        ]
        counts = [w.shape[2] for w in working]
        first = counts[0]
        total = sum(counts)
        rest = np.zeros((m + 1, total))
        start = first
        for w, span in zip(working[1:], self._slices, strict=True):
            rest[span, start : start + w.shape[2]] = w.reshape(-1, w.shape[2])
            start += w.shape[2]
        lead_part = working[0]
        carried = self._coupling.transpose_times(np.matmul(lead["N"].transpose(0, 2, 1), lead_part))
        own = np.einsum("jai,jab,jbk->ik", lead_part, lead["H"], lead_part, optimize=True)
        small = self._small(dense, rest)
        U_rest = self._projected(dense, dense.Q, rest[:m], blas.product(dense.K, small)[:m])
        lead_rest = carried[:m].T @ U_rest
        products = rest[:m].T @ blas.product(dense.K[:m, :m], U_rest)
        products[:first] += lead_rest
        products[:, :first] += lead_rest.T
        products[:first, :first] += own - carried[:m].T @ blas.product(dense.Q, carried[:m])
        return products

    def _small(self, dense: _Dense, columns: np.ndarray) -> np.ndarray:
        """Return the part of columns along small effects; rows beyond the blocks are left alone."""
        large = dense.large
        return self._scale_rows(columns, large.small) if large.some else columns

    def _projected(
        self, dense: _Dense, Q: np.ndarray, columns: np.ndarray, K_small: np.ndarray
    ) -> np.ndarray:
        """Return ``(I − Q̄K) V`` for columns V that are zero in X's rows; `K_small`: K `_small`."""
        if not dense.large.some:
            return columns - blas.product(Q, K_small)
        inverse = self._scale_rows(columns, dense.large.inverse)
        return self._small(dense, columns) + blas.product(Q, inverse - K_small)


def _block_slices(blocks: tuple[Block, ...]) -> list[slice]:
    slices, start = [], 0
    for block in blocks:
        slices.append(slice(start, start + block.size))
        start += block.size
    return slices


def _level_traces(
    K: np.ndarray, Q: np.ndarray, span: slice, block: Block, factor: np.ndarray
) -> np.ndarray:
    """Return the sum over a block's levels of the diagonal blocks of ``K − K Q K``, (q, q).

    From the error variances, ``Λ'TΛ = J I − Λ⁻¹ (Σ Q_jj) Λ⁻ᵀ``, where that keeps its digits;
    else from the definition, which costs a matrix product.
    """
    index = span.start + np.arange(block.size).reshape(block.n_levels, block.q)
    if is_regular(factor):
        inverse = np.linalg.inv(factor)
        errors = Q[index[:, :, None], index[:, None, :]].sum(axis=0)
        gamma = block.n_levels * np.eye(block.q) - inverse @ errors @ inverse.T
        if np.linalg.eigvalsh(gamma)[0] > _KEPT * block.n_levels:
            return inverse.T @ gamma @ inverse
    m = len(Q)
    rows = K[span, :m]
    KQ = blas.product(rows, Q).reshape(block.n_levels, block.q, m)
    removed = np.einsum("jam,jbm->ab", KQ, rows.reshape(block.n_levels, block.q, m), optimize=True)
    return K[index[:, :, None], index[:, None, :]].sum(axis=0) - removed
