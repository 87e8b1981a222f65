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
from pymackay.solve.pirls.coupling import Crossed, Meeting
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
        S = _both_sides(K, rows, [factor.T for factor in factors])
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
        return _both_sides(self.inverse.T, self.rows, self.factors)

    @cached_property
    def F(self) -> np.ndarray:
        """``Λ(I + Λ'A_jΛ)⁻¹Λ'``, (q, q, J)."""
        return batch_product(self.half.transpose(1, 0, 2), self.half)

    @cached_property
    def _crossed(self) -> Crossed:
        """``C`` times `covariance`; only of a design with other blocks."""
        C = self.sums.C
        assert C is not None  # asked for of designs with other blocks only
        return C.crossed(self.covariance)

    @property
    def _lead_quadratics(self) -> np.ndarray:
        """M = ``C_j covariance C_j'``, (q, q, J); zeros where there are no other blocks."""
        return np.zeros_like(self.half) if self.sums.C is None else self._crossed.quadratics

    @cached_property
    def lead_covariance(self) -> np.ndarray:
        """Covariance of each level's effects b of the leading block given β, (q, q, J)."""
        if self.sums.C is None:
            return self.F
        around = batch_product(batch_product(self.F, self._lead_quadratics), self.F)
        return self.F + around

    def level_covariances(self) -> list[np.ndarray]:
        """Return the covariances of each level's effects b given β, block by block, (q, q, J)."""
        return [self.lead_covariance, *self._other_covariances]

    @cached_property
    def _other_covariances(self) -> list[np.ndarray]:
        """Covariances of each level's effects b of the other blocks given β, (q, q, J)."""
        made = []
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
        others = list(zip(rows.blocks[1:], self._others(), strict=True))
        for i, (block, (_, start)) in enumerate(others):
            s += block.quadratic(self._other_covariances[i])
            s -= 2.0 * with_lead(rows.meetings[0][i], self.F, self._crossed.at[i])
            for other, (_, begin) in others[i + 1 :]:
                for b in range(block.q):
                    place = start + b * block.n_levels + block.codes
                    for c in range(other.q):
                        at = begin + c * other.n_levels + other.codes
                        pair = other.weighed(c, self.covariance[place, at])
                        s += 2.0 * block.weighed(b, pair)
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
        carried = product(self.K, self.covariance)
        for block, start in self._others():
            index = start + np.arange(block.q * block.n_levels).reshape(block.q, -1)
            T = self.K[index[:, None, :], index[None, :, :]]
            for a in range(block.q):
                for b in range(block.q):
                    T[a, b] -= np.einsum("jm,jm->j", carried[index[a]], self.K[index[b]])
            made.append(T)
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


def with_lead(meeting: Meeting, F: np.ndarray, crossed: np.ndarray) -> np.ndarray:
    """Return ``z_1' F_j (C V)_j z_2`` of the rows of a meeting of the leading block, (n,).

    Parameters
    ----------
    meeting : Meeting
    F : numpy.ndarray, shape (q, q, J)
        As of `System`.
    crossed : numpy.ndarray, shape (q_left, q_right, pairs)
        ``C V`` at the pairs.
    """
    carried = batch_product(F[:, :, meeting.rows], crossed)
    total: Any = 0.0
    for b in range(meeting.right.q):
        side: Any = 0.0
        for a in range(meeting.left.q):
            each = np.take(carried[a, b], meeting.index, mode="clip")
            side = side + meeting.left.weighed(a, each)
        total = total + meeting.right.weighed(b, side)
    return np.asarray(total)


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


def _both_sides(M: np.ndarray, rows: Rows, matrices: list[np.ndarray]) -> np.ndarray:
    """Return ``B M B'``, (m, m), for a symmetric M in C order, B of a matrix for each block.

    `matrices` has one for the leading block too, which is not used.
    """
    if all(len(matrix) == 1 for matrix in matrices[1:]):
        pairs = zip(rows.blocks[1:], matrices[1:], strict=True)
        sizes = np.concatenate([np.full(block.n_levels, matrix[0, 0]) for block, matrix in pairs])
        made = M * sizes
        made *= sizes[:, None]
        return made
    return _mix(_mix(M, rows, matrices[1:]).T, rows, matrices[1:])


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
