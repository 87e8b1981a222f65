"""`Eliminated`: the leading block of random effects taken out of the mixed-model equations.

With V₁ the covariance when only the leading block is random, ``K = R'V₁⁻¹R`` is what is left of all
other columns R = [Z₂ X y]. With Λ₂ the factors of the other blocks, ``Λ₊ = [Λ₂ 0; 0 I]`` and K
without the response, ``S = Λ₊'KΛ₊ + [I 0; 0 0]``. The matrix ``Q̄ = Λ₊ S⁻¹ Λ₊'`` carries everything:
``P = V₁⁻¹ − V₁⁻¹ [Z₂ X] Q̄ [Z₂ X]' V₁⁻¹``. With no other block, Q̄ is (X'V⁻¹X)⁻¹.

Where effects are large beside the residuals, a projection ``I − Q̄K`` on their columns is what is
left of cancelling terms: at a variance 1e8 times the residual one, nothing is left. In these
directions (`LargeEffects`) it follows from ``I − Q̄K = Q̄G⁻¹``, and ``a = Z'Py`` from ``a = G⁻¹b``;
in the others, which may have no inverse, from the definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from pymackay.model.sums.gram import Bases, Block, Gram
from pymackay.solve.exact.coupling import Coupling
from pymackay.solve.linalg import blas
from pymackay.solve.solver import ErrorVariance

_LARGE = 1.0  # relative sd of an effect of a whitened column


def eliminate_levels(
    gram: Gram, factors: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return half and F of the leading block's levels, each (J, q, q), and log |V₁|.

    Parameters
    ----------
    factors : sequence of numpy.ndarray, each (q, q)
        Relative factors, one lower triangle per term.
    """
    factor = gram.joined(gram.blocks[0], factors)
    if len(factor) == 1:
        return _eliminate_scalars(gram.A, float(factor[0, 0]))
    if len(factor) == 2:
        return _eliminate_pairs(gram.A, factor)
    L = np.linalg.cholesky(np.eye(len(factor)) + factor.T @ gram.A @ factor)
    half = np.linalg.solve(L, np.broadcast_to(factor.T, L.shape))
    logdet = 2.0 * float(np.log(np.diagonal(L, axis1=1, axis2=2)).sum())
    return half, half.transpose(0, 2, 1) @ half, logdet


def _eliminate_scalars(A: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Do what `eliminate_levels` does for one effect a level: ``half = λ / √(1 + λ² A)``.

    LAPACK takes ten times as long for hundreds of thousands of such small matrices.
    """
    root = np.sqrt(1.0 + size * A * size)
    half = size / root
    return half, half * half, 2.0 * float(np.log(root).sum())


def _eliminate_pairs(A: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Do what `eliminate_levels` does for two effects a level, by the elements of its matrices."""
    (first, _), (cross, second) = factor
    along = first * A[:, 0, 0] + cross * A[:, 1, 0]
    across = first * A[:, 1, 0] + cross * A[:, 1, 1]
    corner = np.sqrt(1.0 + first * along + cross * across)
    below = second * across / corner
    rest = 1.0 + second**2 * A[:, 1, 1] - below**2
    if not (rest > 0.0).all():
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    last = np.sqrt(rest)
    half = np.empty_like(A)
    half[:, 0, 0], half[:, 0, 1] = first / corner, cross / corner
    half[:, 1, 0] = -below * half[:, 0, 0] / last
    half[:, 1, 1] = (second - below * half[:, 0, 1]) / last
    F = np.empty_like(A)
    F[:, 0, 0] = half[:, 0, 0] ** 2 + half[:, 1, 0] ** 2
    F[:, 1, 1] = half[:, 0, 1] ** 2 + half[:, 1, 1] ** 2
    F[:, 0, 1] = F[:, 1, 0] = half[:, 0, 0] * half[:, 0, 1] + half[:, 1, 0] * half[:, 1, 1]
    return half, F, 2.0 * float((np.log(corner) + np.log(last)).sum())


@dataclass(frozen=True, eq=False)
class Eliminated:
    """The equations at one theta (see the module's first lines); m = other random effects + p.

    Attributes
    ----------
    bases : Bases
    half, F : numpy.ndarray, each (J, q, q)
        Of the leading block's levels, ``L⁻¹Λ'`` with ``LL' = I + Λ'Z_j'Z_jΛ``, and
        ``F = (L⁻¹Λ')'(L⁻¹Λ')``, so that ``V₁⁻¹ = I − Z₁ F Z₁'``.
    factors : list of numpy.ndarray, each (q, q)
        Of the other blocks.
    K : numpy.ndarray, shape (m + 1, m + 1)
        The response last.
    Q : numpy.ndarray, shape (m, m)
    coefficients : numpy.ndarray, shape (m,)
        Random effects of the other blocks, then beta.
    logdet_v, logdet_x : float
        log |V| and log |X'V⁻¹X|.
    r2 : float
        y'Py.
    """

    bases: Bases
    half: np.ndarray
    F: np.ndarray
    factors: list[np.ndarray]
    K: np.ndarray
    Q: np.ndarray
    coefficients: np.ndarray
    logdet_v: float
    logdet_x: float
    r2: float

    @classmethod
    def at(cls, gram: Gram, factors: Sequence[np.ndarray]) -> Eliminated:
        """Eliminate at these relative factors, one (q, q) lower triangle per term.

        Raises
        ------
        numpy.linalg.LinAlgError
            If float64 has no digits left there.
        """
        half, F, logdet = eliminate_levels(gram, factors)
        return cls.of(gram, factors, left_over(gram, half), half, F, logdet)

    @classmethod
    def of(
        cls,
        bases: Bases,
        factors: Sequence[np.ndarray],
        K: np.ndarray,
        half: np.ndarray,
        F: np.ndarray,
        logdet_lead: float,
    ) -> Eliminated:
        """Solve what is left, K, (m + 1, m + 1), by one Cholesky factor of S."""
        others = [bases.joined(block, factors) for block in bases.blocks[1:]]
        m, size = len(K) - 1, bases.n_others
        S = _scaled(K[:m, :m], bases, others)
        index = np.arange(size)
        S[index, index] += 1.0
        L = blas.cholesky(S)
        logs = 2.0 * np.log(np.diag(L))
        along = blas.solve_lower(L, _scale_rows(K[:m, m:], bases, others))[:, 0]
        Q = _scaled(blas.symmetric_inverse(L), bases, [factor.T for factor in others])
        return cls(
            bases=bases,
            half=half,
            F=F,
            factors=others,
            K=K,
            Q=Q,
            coefficients=blas.product(Q, K[:m, m:])[:, 0],
            logdet_v=float(logdet_lead + logs[:size].sum()),
            logdet_x=float(logs[size:].sum()),
            r2=float(K[m, m] - along @ along),
        )

    @property
    def size(self) -> int:
        """Number of random effects that are not eliminated."""
        return self.bases.n_others

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are not eliminated."""
        return self.bases.blocks[1:]

    @property
    def slices(self) -> list[slice]:
        """Where each of them stands in K and Q."""
        return self.bases.other_slices

    @property
    def beta(self) -> np.ndarray:
        """Coefficients of X's basis, shape (p,)."""
        return self.coefficients[self.size :]

    @property
    def precision_inverse(self) -> np.ndarray:
        """(X'V⁻¹X)⁻¹, shape (p, p)."""
        return self.Q[self.size :, self.size :]

    def given_beta(self) -> np.ndarray:
        """Return Q̄ with beta known, (m, m): that of V⁻¹ in place of P, zero for X's columns."""
        Q, size = self.Q, self.size
        known_beta = np.zeros_like(Q)
        known_beta[:size, :size] = Q[:size, :size]
        if len(Q) > size:
            carried = blas.product(np.linalg.inv(Q[size:, size:]), Q[size:, :size])
            known_beta[:size, :size] -= blas.product(Q[:size, size:], carried)
        return known_beta

    def error_variance(self, coupling: Coupling, *, with_beta: bool) -> ErrorVariance:
        """Return Var(b̂ − b) / sigma²: ``F + F C_j Q̄ C_j' F`` of the leading block, else Q̄'s blocks.

        Parameters
        ----------
        coupling : Coupling
            Products with the leading block's C.
        with_beta : bool
            Whether beta's uncertainty counts.
        """
        Q = self.Q if with_beta else self.given_beta()
        inner = coupling.level_quadratics(Q, self.half)
        values = [self.F + self.half.transpose(0, 2, 1) @ inner @ self.half]
        for block, span in zip(self.blocks, self.slices, strict=True):
            rows = span.start + np.arange(block.size).reshape(block.n_levels, block.q)
            values.append(Q[rows[:, :, None], rows[:, None, :]])
        return ErrorVariance.exact(values)

    @cached_property
    def large(self) -> LargeEffects:
        """The directions of the other blocks' effects, separated by size."""
        return LargeEffects.of(self.factors)

    def small(self, columns: np.ndarray) -> np.ndarray:
        """Return the part of columns, (m, k), along small effects; X's rows are left alone."""
        large = self.large
        return _scale_rows(columns, self.bases, large.small) if large.some else columns

    def projected(self, Q: np.ndarray, columns: np.ndarray, K_small: np.ndarray) -> np.ndarray:
        """Return ``(I − Q̄K) columns`` for columns, (m, k), that are zero in X's rows.

        Parameters
        ----------
        Q : numpy.ndarray, shape (m, m)
            Q̄, or Q̄ with beta known.
        columns : numpy.ndarray, shape (m, k)
        K_small : numpy.ndarray, shape (m, k)
            K times `small` of them.
        """
        if not self.large.some:
            return columns - blas.product(Q, K_small)
        inverse = _scale_rows(columns, self.bases, self.large.inverse)
        return self.small(columns) + blas.product(Q, inverse - K_small)

    def projection(self, Q: np.ndarray) -> np.ndarray:
        """Return ``I − Q̄K`` in the columns of the other blocks' effects, shape (m, size)."""
        m, size = len(Q), self.size
        K_small = self.small(self.K[:m, :m]).T[:, :size]
        return self.projected(Q, np.eye(m, size), K_small)


@dataclass(frozen=True, eq=False)
class LargeEffects:
    """The directions of some blocks, separated by size.

    A factor of one effect, (1, 1), is its own direction; for others a singular value decomposition
    gives them.

    Attributes
    ----------
    some : bool
        Whether any direction is large.
    small : list of numpy.ndarray, each (q, q)
        Block by block, the projection on the directions that are not.
    inverse : list of numpy.ndarray, each (q, q)
        The inverse of G = ΛΛ' on the directions that are, zero on the others.
    """

    some: bool
    small: list[np.ndarray]
    inverse: list[np.ndarray]

    @classmethod
    def of(cls, factors: list[np.ndarray]) -> LargeEffects:
        """Tell the directions of relative factors apart."""
        small, inverse, some = [], [], False
        for factor in factors:
            axes, sizes = np.ones((1, 1)), np.abs(factor[0])
            if len(factor) > 1:
                axes, sizes, _ = np.linalg.svd(factor)
            large = sizes > _LARGE
            some = some or bool(large.any())
            small.append(axes[:, ~large] @ axes[:, ~large].T)
            inverse.append(axes[:, large] / sizes[large] ** 2 @ axes[:, large].T)
        return cls(some, small, inverse)

    def working(self, block: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a = Z'Py of one block, shape (J, q).

        Parameters
        ----------
        block : int
        a : numpy.ndarray, shape (J, q)
            From its definition.
        b : numpy.ndarray, shape (J, q)
            The block's effects.
        """
        return a @ self.small[block] + b @ self.inverse[block] if self.some else a


def left_over(gram: Gram, half: np.ndarray) -> np.ndarray:
    """Return ``K = D − Σ_j (h_jC_j)'(h_jC_j)``, (m + 1, m + 1), h = `half`, (J, q, q)."""
    J, q = half.shape[:2]
    if isinstance(gram.C, np.ndarray):
        dense = (half * gram.C if q == 1 else half @ gram.C).reshape(J * q, -1)
        return gram.D - blas.product(dense.T, dense)
    blocks = sp.bsr_matrix((half, np.arange(J), np.arange(J + 1)), shape=(J * q, J * q))
    sparse = (blocks @ gram.C).tocsr()
    return np.asarray(gram.D - (sparse.T @ sparse).toarray())


def _scaled(M: np.ndarray, bases: Bases, factors: list[np.ndarray]) -> np.ndarray:
    """Return ``Λ₊'MΛ₊``, Λ₊ = [Λ₂ 0; 0 I], for symmetric M, (m, m), as a new array."""
    if all(len(factor) == 1 for factor in factors):
        sizes = np.ones(len(M))
        for span, factor in zip(bases.other_slices, factors, strict=True):
            sizes[span] = factor[0, 0]
        scaled = M * sizes
        scaled *= sizes[:, None]
        return scaled
    return _scale_rows(_scale_rows(M, bases, factors).T, bases, factors)


def _scale_rows(M: np.ndarray, bases: Bases, factors: list[np.ndarray]) -> np.ndarray:
    """Return ``Λ₊'M`` (see `_scaled`) for M, (m, k)."""
    scaled = M.copy()
    for span, factor in zip(bases.other_slices, factors, strict=True):
        rows = M[span].reshape(-1, len(factor), M.shape[1])
        scaled[span] = np.matmul(factor.T, rows).reshape(-1, M.shape[1])
    return scaled
