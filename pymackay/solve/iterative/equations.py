"""`Equations`: the mixed-model equations at one theta, the leading block eliminated.

In the coordinates u, b = Λ u, what is left of the other blocks is
``S = I + Λ₂' (Z₂'Z₂ − Z₂'Z₁ F Z₁'Z₂) Λ₂`` with ``F = (Z₁'Z₁ + G₁⁻¹)⁻¹``: symmetric, no eigenvalue
below one, and never formed. A product with it is two sparse products, by `Couplings`, in float64 or
in float32.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product

import numpy as np
import scipy.sparse as sp

from pymackay.model.bases.scaling import chunks
from pymackay.model.sums.level_pairs import LevelPairs
from pymackay.model.sums.sparse_gram import SparseGram
from pymackay.solve.iterative.conjugate import Operator, Solution, conjugate_gradients

_REGULAR = 1e-6  # ratio of a factor's singular values above which dividing by it keeps digits
_FAINT = 1e-3  # added to a level's weight in a common move, so that no move is zero
_BATCH = 64  # columns of S that are computed at a time
_MOST_PARTS = 8  # of a design; with more parts, none gets common moves of its own
_ROUNDS = 64  # steps from level to level; parts with longer chains count as one


def is_regular(factor: np.ndarray) -> bool:
    """Return whether a relative factor, (q, q), can be inverted with enough digits."""
    values = np.linalg.svd(factor, compute_uv=False)
    return bool(values[-1] > _REGULAR * values[0])


class Equations:
    """The equations at given relative factors.

    Parameters
    ----------
    gram : SparseGram
    couplings : Couplings
    factors : list of numpy.ndarray, each (q, q)
        One per term.
    coarse : callable, optional
        A second part of the preconditioner, added to S₀⁻¹; on arrays of shape (size, k).

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
        Block by block, the leading one first.
    F : numpy.ndarray, shape (J, q, q)
        ``(Z_j'Z_j + G₁⁻¹)⁻¹`` of each leading level.
    N : numpy.ndarray, shape (J, q, q)
        ``I − Z_j'Z_j F_j``.
    logdet_lead : float
        Sum over leading levels of log |I + Λ'Z_j'Z_jΛ|.
    kept : list of numpy.ndarray, each (J_k, q, q)
        ``Z_j'V₁⁻¹Z_j`` of each level of the other blocks (V₁: only the leading block random).
    inverse : list of numpy.ndarray, each (J_k, q, q)
        Of the diagonal blocks of S.
    logdet_diagonal : float
        Sum of the log determinants of these blocks.
    """

    def __init__(
        self,
        gram: SparseGram,
        couplings: Couplings,
        factors: list[np.ndarray],
        coarse: Operator | None = None,
    ) -> None:
        self._coarse = coarse
        self.gram = gram
        self.couplings = couplings
        self.factors = [gram.joined(block, factors) for block in gram.blocks]
        lead, A = self.factors[0], gram.diagonals[0]
        identity = np.eye(len(lead))
        inverse, self.logdet_lead = _invert(identity + lead.T @ A @ lead)
        self.F = lead @ inverse @ lead.T
        self.N = identity - A @ self.F
        self.kept, self.inverse = [], []
        self.logdet_diagonal = 0.0
        for k, factor in enumerate(self.factors[1:]):
            kept = gram.diagonals[k + 1] - couplings.column_quadratics(k, self.F)
            diagonal = np.eye(len(factor)) + factor.T @ kept @ factor
            inverted, logdet = _invert(diagonal)
            self.kept.append(kept)
            self.inverse.append(inverted)
            self.logdet_diagonal += logdet
        self._float32 = self.F.astype(np.float32), [i.astype(np.float32) for i in self.inverse]

    def scale(self, x: np.ndarray, *, transposed: bool = False) -> np.ndarray:
        """Return ``Λ₂ x``, or ``Λ₂' x``, for x of shape (size, k)."""
        scaled = np.empty_like(x)
        for factor, span in zip(self.factors[1:], self.couplings.slices, strict=True):
            L = (factor.T if transposed else factor).astype(x.dtype)
            if len(L) == 1:
                scaled[span] = L[0, 0] * x[span]
            else:
                rows = x[span].reshape(-1, len(L), x.shape[1])
                scaled[span] = np.matmul(L, rows).reshape(-1, x.shape[1])
        return scaled

    def eliminate(self, v: np.ndarray) -> np.ndarray:
        """Return ``F v`` for v of shape (J q, k)."""
        return block_times(self.F if v.dtype == np.float64 else self._float32[0], v)

    def reduced(self, b: np.ndarray, lead: np.ndarray) -> np.ndarray:
        """Return ``Z₂'V₁⁻¹Z₂ b``, given ``lead = Z₁'Z₂ b``."""
        return self.couplings.among(b) - self.couplings.from_lead(self.eliminate(lead))

    def schur(self, x: np.ndarray) -> np.ndarray:
        """Return ``S x``, shape (size, k)."""
        b = self.scale(x)
        return x + self.scale(self.reduced(b, self.couplings.to_lead(b)), transposed=True)

    def precondition(self, r: np.ndarray) -> np.ndarray:
        """Return the preconditioner's approximation of ``S⁻¹ r``, shape (size, k)."""
        solved = self.jacobi(r)
        if self._coarse is not None:
            solved += self._coarse(r)
        return solved

    def solve(
        self, right: np.ndarray, start: np.ndarray | None, tolerance: float, most: int
    ) -> Solution:
        """Solve ``S x = right``, (size, k), as `conjugate_gradients` does."""
        return conjugate_gradients(
            self.schur, self.precondition, right, start=start, tolerance=tolerance, most=most
        )

    def jacobi(self, r: np.ndarray) -> np.ndarray:
        """Return the inverse of S's diagonal blocks times r, shape (size, k)."""
        blocks = self.inverse if r.dtype == np.float64 else self._float32[1]
        solved = np.empty_like(r)
        for inverse, span in zip(blocks, self.couplings.slices, strict=True):
            solved[span] = block_times(inverse, r[span])
        return solved

    def common_moves(self, units: np.ndarray) -> np.ndarray:
        """Return orthonormal vectors along which all levels of a block move together, (size, r).

        There is one for each effect of each block and for each separate part of the design, except
        for blocks whose effects have unit vectors (`units`). The weight of a level is the share
        ``I − S_jj⁻¹`` that its own data determine: this is nearly the slowest eigenvector of S₀⁻¹S,
        S₀ being the diagonal blocks of S.
        """
        couplings = self.couplings
        columns = [np.zeros((couplings.size, 0), dtype=np.float32)]
        for k, (span, inverse) in enumerate(zip(couplings.slices, self.inverse, strict=True)):
            if span.start in units:
                continue
            q = inverse.shape[1]
            weights = (1.0 + _FAINT) * np.eye(q) - inverse
            for part in range(couplings.parts[k].max() + 1):
                members = couplings.parts[k] == part
                moves = np.zeros((couplings.size, q), dtype=np.float32)
                rows = span.start + np.flatnonzero(np.repeat(members, q))
                moves[rows] = np.linalg.qr(weights[members].reshape(-1, q))[0]
                columns.append(moves)
        return np.concatenate(columns, axis=1)

    def dense_schur(self) -> np.ndarray:
        """Return S as a dense matrix, shape (size, size)."""
        size = self.couplings.size
        S = np.empty((size, size))
        for columns in chunks(size, _BATCH):
            units = np.eye(size, columns.stop - columns.start, -columns.start)
            S[:, columns] = self.schur(units)
        return 0.5 * (S + S.T)


def block_times(blocks: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Multiply each level's rows of `x`, shape (J q, k), by its matrix of `blocks`, (J, q, q)."""
    J, q = blocks.shape[:2]
    if q == 1:
        return blocks.reshape(-1, 1) * x
    return np.matmul(blocks, x.reshape(J, q, -1)).reshape(J * q, -1)


class Couplings:
    """Products with the sparse matrices of a `SparseGram`, in float64 and float32.

    Parameters
    ----------
    gram : SparseGram

    Attributes
    ----------
    n_others : int
        Grouping factors besides the leading one.
    slices : list of slice
        The place of each of them among the effects that are not eliminated.
    size : int
        Number of those effects.
    """

    def __init__(self, gram: SparseGram) -> None:
        self.gram = gram
        self.n_others = len(gram.blocks) - 1
        self.slices, self.size = gram.other_slices, gram.n_others
        self._matrices = {
            np.dtype(dtype): {key: pairs.matrix(dtype) for key, pairs in gram.pairs.items()}
            for dtype in (np.float64, np.float32)
        }
        self._diagonals = {
            np.dtype(dtype): [d.astype(dtype, copy=False) for d in gram.diagonals[1:]]
            for dtype in (np.float64, np.float32)
        }

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """The separate part of the design that each level of the other blocks belongs to."""
        return separate_parts(self.gram)

    def to_lead(self, x: np.ndarray) -> np.ndarray:
        """Return ``Z_1' Z_2 x``, shape (J q, k), for effects x of the other blocks."""
        matrices = self._matrices[x.dtype]
        parts = [matrices[0, k + 1] @ x[span] for k, span in enumerate(self.slices)]
        return parts[0] if len(parts) == 1 else sum(parts[1:], start=parts[0])

    def from_lead(self, v: np.ndarray) -> np.ndarray:
        """Return ``Z_2' Z_1 v``, shape (size, k)."""
        matrices = self._matrices[v.dtype]
        parts = [matrices[0, k + 1].T @ v for k in range(self.n_others)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def lead_matrix(self) -> sp.csr_matrix:
        """Return ``Z_1' Z_2``, shape (J q, size)."""
        matrices = self._matrices[np.dtype(np.float64)]
        return sp.hstack([matrices[0, k + 1] for k in range(self.n_others)], format="csr")

    def among(self, x: np.ndarray) -> np.ndarray:
        """Return ``Z_2' Z_2 x``, shape (size, k)."""
        matrices, diagonals = self._matrices[x.dtype], self._diagonals[x.dtype]
        products = np.empty_like(x)
        for k, span in enumerate(self.slices):
            products[span] = block_times(diagonals[k], x[span])
        for k, m in product(range(self.n_others), repeat=2):
            if k < m:
                C = matrices[k + 1, m + 1]
                products[self.slices[k]] += C @ x[self.slices[m]]
                products[self.slices[m]] += C.T @ x[self.slices[k]]
        return products

    def column_quadratics(self, k: int, F: np.ndarray) -> np.ndarray:
        """Return ``Σ_i C_ij' F_i C_ij`` for each level j of the other block k, (J_k, q, q)."""
        pairs = self.gram.pairs[0, k + 1]
        return _sandwich(pairs, F, transposed=True)

    def row_quadratics(self, k: int, middle: np.ndarray) -> np.ndarray:
        """Return ``Σ_j C_ij M_j C_ij'`` for each leading level i, (J, q, q).

        `middle`, (J_k, q, q), holds M_j of each level of the other block k.
        """
        pairs = self.gram.pairs[0, k + 1]
        return _sandwich(pairs, middle, transposed=False)


def _sandwich(pairs: LevelPairs, middle: np.ndarray, *, transposed: bool) -> np.ndarray:
    """Sum ``C' M C`` over the pairs in each column, or ``C M C'`` over those in each row.

    C, (q_k, q_l), is the matrix of a pair, M that of the other level in `middle`: (J_k, q_k, q_k)
    if `transposed`, else (J_l, q_l, q_l). M must be symmetric.
    """
    values = pairs.values.swapaxes(1, 2) if transposed else pairs.values
    outer, inner = values.shape[1:]
    levels = pairs.n_columns if transposed else pairs.n_rows
    sums = np.zeros((levels, outer, outer))
    for a in range(outer):
        for b in range(a + 1):
            for c, d in product(range(inner), repeat=2):
                squares = np.multiply(values[:, a, c], values[:, b, d], dtype=np.float64)
                matrix = pairs.component(squares)
                side: sp.spmatrix = matrix.T if transposed else matrix
                sums[:, a, b] += side @ np.ascontiguousarray(middle[:, c, d])
            sums[:, b, a] = sums[:, a, b]
    return sums


def separate_parts(gram: SparseGram) -> list[np.ndarray]:
    """Number the parts of a design that are not connected by any row.

    Returns
    -------
    list of numpy.ndarray of int, each (J,)
        The part of each level, block by block without the leading one. All are zero if there are
        too many parts, or their levels are connected by chains that are too long.
    """
    patterns = {
        key: pairs.component(np.ones(len(pairs.indices), dtype=bool))
        for key, pairs in gram.pairs.items()
    }
    partners = np.diff(gram.pairs[0, 1].indptr)
    parts = [np.full(block.n_levels, -1) for block in gram.blocks]
    for part in range(_MOST_PARTS):
        first = int(np.argmax(np.where(parts[0] < 0, partners, -1)))
        reached = [np.zeros(len(p), dtype=bool) for p in parts]
        reached[0][first] = True
        if not _spread(patterns, reached):
            break
        for labels, members in zip(parts, reached, strict=True):
            labels[members] = part
        if parts[0].min() >= 0:
            return parts[1:]
    return [np.zeros_like(p) for p in parts[1:]]


def _spread(patterns: dict[tuple[int, int], sp.csr_matrix], reached: list[np.ndarray]) -> bool:
    """Mark all levels connected to marked ones, in place; return whether all of them are marked.

    `patterns` has, for two blocks, the pairs of levels that meet, (J_k, J_l); `reached` has the
    marks of each block, (J,).
    """
    before = 0
    for _ in range(_ROUNDS):
        for (k, m), pattern in patterns.items():
            reached[m] |= pattern.T @ reached[k]
            reached[k] |= pattern @ reached[m]
        count = sum(int(r.sum()) for r in reached)
        if count == before:
            return True
        before = count
    return False


def _invert(blocks: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the inverses of positive definite matrices, (J, q, q), and the sum of log |M_j|."""
    if blocks.shape[1] == 1:
        return 1.0 / blocks, float(np.log(blocks).sum())
    if blocks.shape[1] == 2:
        a, b, c = blocks[:, 0, 0], blocks[:, 1, 0], blocks[:, 1, 1]
        determinant = a * c - b * b
        inverse = np.empty_like(blocks)
        inverse[:, 0, 0], inverse[:, 1, 1] = c / determinant, a / determinant
        inverse[:, 1, 0] = inverse[:, 0, 1] = -b / determinant
        return inverse, float(np.log(determinant).sum())
    return np.linalg.inv(blocks), float(np.linalg.slogdet(blocks)[1].sum())
