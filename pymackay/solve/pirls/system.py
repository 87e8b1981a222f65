"""`System`: the equations ``H x = g`` of the random effects, eliminated block by block.

The leading block is eliminated level by level, what is left of the others is dense. Notation is
that of `pymackay.solve.pirls`; factors are not inverted, so that a variance may be zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from scipy.linalg.blas import dtrsm

from pymackay.solve.linalg.batch import cholesky, inverse_lower
from pymackay.solve.linalg.batch import product as batch_product
from pymackay.solve.linalg.blas import cholesky as dense_cholesky
from pymackay.solve.linalg.blas import product, solve_lower, symmetric_inverse
from pymackay.solve.pirls.rows import RowBlock, Rows, Sums


@dataclass(frozen=True, eq=False)
class System:
    """H at some weights and factors, in factored form.

    Attributes
    ----------
    rows : Rows
    sums : Sums
        At the weights.
    factors : list of numpy.ndarray, each (q, q)
        Λ of each block.
    root : numpy.ndarray, shape (q, q, J)
        Inverse of the Cholesky factor of ``I + Λ'A_jΛ``.
    half : numpy.ndarray, shape (q, q, J)
        ``root Λ'``, so that ``F = half'half``.
    K : numpy.ndarray, shape (m, m)
    schur : numpy.ndarray, shape (m, m)
        Cholesky factor of S.
    logdet : float
        log |H|.
    still : float
        Newton decrement by 1 + |u|², under which u is the mode: what is left is rounding.
    logdet_error : float
        Monte-Carlo standard error of `logdet`.
    """

    rows: Rows
    sums: Sums
    factors: list[np.ndarray]
    root: np.ndarray
    half: np.ndarray
    K: np.ndarray
    schur: np.ndarray
    logdet: float
    still: ClassVar[float] = 1e-20
    logdet_error: ClassVar[float] = 0.0

    @classmethod
    def of(cls, rows: Rows, products: Any, factors: list[np.ndarray]) -> System:
        """Factor H, given `Rows.products` at its weights.

        Raises
        ------
        numpy.linalg.LinAlgError
            If H is not positive definite: observed weights may be negative.
        """
        sums = rows.sums(products)
        root, half, logdet = eliminated_lead(sums.A, factors[0])
        if sums.C is None:
            none = np.zeros((0, 0))
            return cls(rows, sums, factors, root, half, none, none, logdet)
        K = sums.rest - sums.C.schur(half)
        S = scale_others(scale_others(K, rows, factors).T, rows, factors)
        S[np.arange(len(S)), np.arange(len(S))] += 1.0
        schur = dense_cholesky(S)
        logdet += 2.0 * float(np.log(np.diagonal(schur)).sum())
        return cls(rows, sums, factors, root, half, K, schur, logdet)

    def closed(self, rows: Rows) -> System:
        """Return the same equations with a design whose rows are not read any more."""
        return replace(self, rows=rows)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return ``H⁻¹ right``, (N, k)."""
        rows, lead = self.rows, self.rows.lead
        q, J = rows.blocks[0].q, rows.blocks[0].n_levels
        first = _times(self.root, right[:lead].reshape(q, J, -1))
        if self.sums.C is None:
            return _transpose_times(self.root, first).reshape(right.shape)
        carried = self.sums.C.transpose_times(_transpose_times(self.half, first))
        others = right[lead:] - scale_others(carried, rows, self.factors)
        x = solve_lower(self.schur, others)
        x = _solve_upper(self.schur, x)
        back = self.sums.C.times(unscale_others(x, rows, self.factors))
        first = first - _times(self.half, back)
        solved = _transpose_times(self.root, first).reshape(lead, -1)
        return np.concatenate([solved, x])

    @cached_property
    def inverse(self) -> np.ndarray:
        """``S⁻¹``, (m, m)."""
        return symmetric_inverse(self.schur.copy(order="F"))

    @cached_property
    def covariance(self) -> np.ndarray:
        """``Λ₂S⁻¹Λ₂'``: covariance of the other blocks' effects b given β, (m, m)."""
        once = unscale_others(self.inverse, self.rows, self.factors)
        return unscale_others(once.T, self.rows, self.factors)

    @cached_property
    def F(self) -> np.ndarray:
        """``Λ(I + Λ'A_jΛ)⁻¹Λ'``, (q, q, J)."""
        return batch_product(self.half.transpose(1, 0, 2), self.half)

    @cached_property
    def _products(self) -> np.ndarray:
        """``C_j`` times `covariance`, (q, J, m)."""
        C = self.sums.C
        return C.times(self.covariance) if C else np.zeros((0, 0, 0))

    @cached_property
    def _lead_quadratics(self) -> np.ndarray:
        """M = ``C_j covariance C_j'``, (q, q, J); zeros where there are no other blocks."""
        C = self.sums.C
        return C.quadratics(self._products) if C else np.zeros_like(self.half)

    @cached_property
    def lead_covariance(self) -> np.ndarray:
        """Covariance of each level's effects b of the leading block given β, (q, q, J)."""
        if self.sums.C is None:
            return self.F
        around = batch_product(batch_product(self.F, self._lead_quadratics), self.F)
        return self.F + around

    def level_covariances(self) -> list[np.ndarray]:
        """Return the covariances of each level's effects b given β, block by block, (q, q, J)."""
        made = [self.lead_covariance]
        for block, start in self._others():
            index = start + np.arange(block.q * block.n_levels).reshape(block.q, -1)
            made.append(self.covariance[index[:, None, :], index[None, :, :]])
        return made

    def _others(self) -> list[tuple[RowBlock, int]]:
        """Return each other block, and where it begins among their m effects."""
        starts = [span.start - self.rows.lead for span in self.rows.spans[1:]]
        return list(zip(self.rows.blocks[1:], starts, strict=True))

    def leverages(self, rows: Rows) -> np.ndarray:
        """Return ``s_i = a_i'H⁻¹a_i``, the variance of η given β of some rows, (n,)."""
        lead = rows.blocks[0]
        s = lead.quadratic(self.lead_covariance)
        if self.sums.C is None:
            return s
        by_row = [
            sum(lead.weighed(a, self.F[a, b][lead.codes]) for a in range(lead.q))
            for b in range(lead.q)
        ]
        others = [
            (block, start)
            for block, (_, start) in zip(rows.blocks[1:], self._others(), strict=True)
        ]
        for i, (block, start) in enumerate(others):
            for b in range(block.q):
                place = start + b * block.n_levels + block.codes
                crossed = sum(
                    by_row[a] * self._products[a, lead.codes, place] for a in range(lead.q)
                )
                s = s - 2.0 * block.weighed(b, crossed)
                for k, (other, begin) in enumerate(others[i:], i):
                    for c in range(other.q):
                        at = begin + c * other.n_levels + other.codes
                        times = 1.0 if k == i else 2.0
                        pair = other.weighed(c, self.covariance[place, at])
                        s = s + times * block.weighed(b, pair)
        return s

    def traces(self) -> list[np.ndarray]:
        """Return ``T_j = [Z'(W⁻¹ + ZGZ')⁻¹Z]_jj`` of each level, block by block, (q, q, J)."""
        A, M = self.sums.A, self._lead_quadratics
        N = -batch_product(A, self.F)
        N[np.arange(len(A)), np.arange(len(A))] += 1.0
        first = batch_product(N, A)
        if self.sums.C is not None:
            first = first - batch_product(batch_product(N, M), N.transpose(1, 0, 2))
        made = [first]
        if self.sums.C is None:
            return made
        T = self.K - product(product(self.K, self.covariance), self.K)
        for block, start in self._others():
            index = start + np.arange(block.q * block.n_levels).reshape(block.q, -1)
            made.append(T[index[:, None, :], index[None, :, :]])
        return made

    def factor_slopes(self) -> list[np.ndarray]:
        """Return half the derivative of log|H| by each block's Λ at fixed weights, (q, q).

        Equal to ``Σ_j T_j Λ``; the leading block's first part as ``A_j Λ (I + Λ'A_jΛ)⁻¹``.
        """
        A, lead = self.sums.A, self.factors[0]
        own = batch_product(A, batch_product(self.half.transpose(1, 0, 2), self.root))
        first = own.sum(axis=2)
        if self.sums.C is None:
            return [first]
        N = -batch_product(A, self.F)
        N[np.arange(len(A)), np.arange(len(A))] += 1.0
        around = batch_product(batch_product(N, self._lead_quadratics), N.transpose(1, 0, 2))
        made = [first - around.sum(axis=2) @ lead]
        KL = scale_others(self.K, self.rows, self.factors).T
        for block, start in self._others():
            spans = [start + block.n_levels * a for a in range(block.q + 1)]
            cut = [slice(*pair) for pair in pairwise(spans)]
            made.append(np.array([[np.vdot(KL[a], self.inverse[b]) for b in cut] for a in cut]))
        return made


def eliminated_lead(A: np.ndarray, lead: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return root and half of the leading block, as in `System`, and its part of log |H|.

    Parameters
    ----------
    A : numpy.ndarray, shape (q, q, J)
    lead : numpy.ndarray, shape (q, q)
        Λ of the block.

    Raises
    ------
    numpy.linalg.LinAlgError
        If ``I + Λ'A_jΛ`` is not positive definite.
    """
    if len(lead) == 1:
        L = np.sqrt(np.maximum(1.0 + lead[0, 0] ** 2 * A, 0.0))
        diagonal = L[0]
    else:
        M = np.einsum("ba,bcj,cd->adj", lead, A, lead)
        places = np.arange(len(lead))
        M[places, places] += 1.0
        L = cholesky(M)
        diagonal = L[places, places]
    if not (diagonal > 0.0).all():
        raise np.linalg.LinAlgError("a level's block is not positive definite")
    root = 1.0 / L if len(lead) == 1 else inverse_lower(L)
    half = root * lead[0, 0] if len(lead) == 1 else np.einsum("abj,cb->acj", root, lead)
    return root, half, 2.0 * float(np.log(diagonal).sum())


def system_of(rows: Rows, products: Any, factors: list[np.ndarray]) -> Any:
    """Return H, given `Rows.products` at its weights, in the form that suits the design's size.

    Raises
    ------
    numpy.linalg.LinAlgError
        If H is not positive definite.
    """
    if rows.probing is not None:
        return rows.probing.system(rows, products, factors)
    return System.of(rows, products, factors)


def _times(matrices: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ``M_j x_j``, (q, J, k), for M of shape (q, q, J)."""
    if len(matrices) == 1:
        return matrices[0][:, :, None] * x
    return np.einsum("abj,bjk->ajk", matrices, x)


def _transpose_times(matrices: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return ``M_j'x_j``, (q, J, k), for M of shape (q, q, J)."""
    if len(matrices) == 1:
        return matrices[0][:, :, None] * x
    return np.einsum("baj,bjk->ajk", matrices, x)


def scale_others(M: np.ndarray, rows: Rows, factors: list[np.ndarray]) -> np.ndarray:
    """Return ``Λ₂'M`` for M of shape (m, k)."""
    return _mix(M, rows, [factor.T for factor in factors[1:]])


def unscale_others(M: np.ndarray, rows: Rows, factors: list[np.ndarray]) -> np.ndarray:
    """Return ``Λ₂M`` for M of shape (m, k)."""
    return _mix(M, rows, factors[1:])


def _mix(M: np.ndarray, rows: Rows, matrices: list[np.ndarray]) -> np.ndarray:
    """Multiply the effects of each level, rows of M of shape (m, k), by a matrix of their block."""
    made = np.empty_like(M, order="C")
    for span, block, matrix in zip(rows.spans[1:], rows.blocks[1:], matrices, strict=True):
        cut = slice(span.start - rows.lead, span.stop - rows.lead)
        if block.q == 1:
            np.multiply(M[cut], matrix[0, 0], out=made[cut])
        else:
            part = M[cut].reshape(block.q, block.n_levels, -1)
            made[cut] = np.tensordot(matrix, part, axes=1).reshape(made[cut].shape)
    return made


def _solve_upper(L: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return ``L⁻ᵀ right`` for the factor that `cholesky` gives."""
    return np.asarray(dtrsm(1.0, L, right, lower=1, trans_a=1)) if len(L) else right
