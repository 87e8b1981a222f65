"""`ManyEffects`: the exact kernel for one grouping factor whose terms have structures.

A structure has few parameters, and G few derivatives ``E_i``, each (q, q). Level by level
``H_j E_i`` comes first and the traces of pairs then, so that an evaluation costs ``J q³ k`` and not
``J q⁴`` as it does by elements of G (`pymackay.solve.exact.solver.OneBlock`). Notation:
`pymackay.solve.exact.levels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.model.bases.scaling import chunks
from pymackay.model.sums.gram import Gram
from pymackay.solve.exact.eliminated import eliminate_levels, left_over
from pymackay.solve.exact.levels import is_regular
from pymackay.solve.exact.within import WithinLevels
from pymackay.solve.solver import Elements, Evaluation, by_term, criterion_value

_CANCELLED = 1e-6  # share of a column that the levels leave, below which it is summed up by itself
_CELLS = 2_000_000  # numbers that a chunk of levels may hold at a time


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the levels, along the directions ``E_i`` of G.

    Attributes
    ----------
    traces, squares : numpy.ndarray, each (q, q)
        Σ (H − S), or Σ H, and Σ a a'.
    pairs : numpy.ndarray, shape (k, k)
        Σ tr(H E_i H E_j) − 2 tr(H E_i S E_j).
    quadratic : numpy.ndarray, shape (k, k)
        Σ a'E_i H E_j a.
    X : numpy.ndarray, shape (k, p, p)
        Σ E'E_i E, with E = N X.
    Xa : numpy.ndarray, shape (k, p)
        Σ E'E_i a.
    """

    traces: np.ndarray
    squares: np.ndarray
    pairs: np.ndarray
    quadratic: np.ndarray
    X: np.ndarray
    Xa: np.ndarray


class ManyEffects:
    """Solve structured models whose terms share one grouping factor.

    Parameters
    ----------
    gram : Gram
        With a single block.
    reml : bool
    """

    def __init__(self, gram: Gram, reml: bool) -> None:
        self.gram, self.reml, self.block = gram, reml, gram.blocks[0]
        self.C = np.asarray(gram.C)

    @cached_property
    def _within(self) -> WithinLevels | None:
        return WithinLevels.of(self.gram)

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        gram, p = self.gram, self.gram.p
        half, F, logdet = eliminate_levels(gram, factors)
        K, cancelled = self._left_over(factors, half)
        precision_inverse = np.linalg.inv(K[:p, :p])
        beta = precision_inverse @ K[:p, p]
        r2 = float(K[p, p] - K[:p, p] @ beta)
        nu = gram.n - p if self.reml else gram.n
        sigma2 = r2 / nu
        remainder = np.append(-beta, 1.0)
        directions = Elements.of(gram, factors).matrices[0]
        sums = self._sums(factors, F, remainder, precision_inverse, directions)
        squares = np.einsum("kab,ab->k", directions, sums.squares)
        curvature = 2.0 * (sums.quadratic - sums.Xa @ precision_inverse @ sums.Xa.T) / sigma2
        curvature -= self._trace_pairs(sums, precision_inverse)
        curvature -= np.outer(squares, squares) / (nu * sigma2**2)
        return Evaluation(
            criterion=criterion_value(
                gram,
                reml=self.reml,
                logdet_v=logdet,
                logdet_x=float(np.linalg.slogdet(K[:p, :p])[1]),
                r2=r2,
            ),
            sigma2=sigma2,
            beta=beta,
            precision_inverse=precision_inverse,
            b=(np.einsum("jab,jb->ja", F, self.C @ remainder),),
            traces=by_term(gram, [sums.traces]),
            squares=by_term(gram, [sums.squares]),
            curvature=curvature,
            exact=True,
            cancelled=cancelled,
        )

    def _left_over(
        self, factors: Sequence[np.ndarray], half: np.ndarray
    ) -> tuple[np.ndarray, bool]:
        """Return K, (p + 1, p + 1), and whether it is a small part of what it is left of.

        Where it is, it is made from the sums within levels, if there are any.
        """
        K = left_over(self.gram, half)
        if np.diagonal(K).min() > _CANCELLED:
            return K, False
        within = self._within
        if within is not None:
            K = within.left_over(self.gram.joined(self.block, factors))
        return K, True

    def _sums(
        self,
        factors: Sequence[np.ndarray],
        F: np.ndarray,
        remainder: np.ndarray,
        precision_inverse: np.ndarray,
        directions: np.ndarray,
    ) -> _Sums:
        """Sum over the levels, chunk by chunk; `remainder`, (p + 1,), leaves y less its fit."""
        k, q, p = len(directions), self.block.q, self.gram.p
        square, pair = np.zeros((q, q)), np.zeros((k, k))
        sums = _Sums(
            square, square.copy(), pair, pair.copy(), np.zeros((k, p, p)), np.zeros((k, p))
        )
        factor = self.gram.joined(self.block, factors)
        inverse = np.linalg.inv(factor) if is_regular(factor) else None
        for levels in chunks(len(F), max(1, _CELLS // (k * q * q))):
            A, C = self.gram.A[levels], self.C[levels]
            N = np.eye(q) - A @ F[levels] if inverse is None else inverse.T @ inverse @ F[levels]
            H, E, a = N @ A, N @ C[:, :, :p], N @ (C @ remainder)[:, :, None]
            S = E @ precision_inverse @ E.transpose(0, 2, 1) if self.reml else np.zeros_like(H)
            sums.traces[:] += (H - S).sum(axis=0)
            sums.squares[:] += a[:, :, 0].T @ a[:, :, 0]
            DE, Da = directions[:, None] @ E, directions[:, None] @ a
            HD = H @ directions[:, None]
            sums.pairs[:] += _traces_of_pairs(HD, (H - 2.0 * S) @ directions[:, None])
            sums.quadratic[:] += _products(Da, H @ Da)
            sums.X[:] += np.einsum("jap,kjar->kpr", E, DE, optimize=True)
            sums.Xa[:] += np.einsum("jap,kja->kp", E, Da[:, :, :, 0], optimize=True)
        return sums

    def _trace_pairs(self, sums: _Sums, precision_inverse: np.ndarray) -> np.ndarray:
        """Return tr(PV̇PV̇) under REML, tr(V⁻¹V̇V⁻¹V̇) under ML, (k, k)."""
        pairs = 0.5 * (sums.pairs + sums.pairs.T)
        if not self.reml:
            return pairs
        QX = precision_inverse @ sums.X
        return pairs + _traces_of_pairs(QX[:, None], QX[:, None])


def _traces_of_pairs(M: np.ndarray, N: np.ndarray) -> np.ndarray:
    """Return ``Σ_j tr(M_ij N_kj)`` for all i, k; both have shape (k, J, a, a)."""
    return M.reshape(len(M), -1) @ N.swapaxes(2, 3).reshape(len(N), -1).T


def _products(M: np.ndarray, N: np.ndarray) -> np.ndarray:
    """Return ``Σ_j M_ij'N_kj`` for all i, k; both have shape (k, J, q, 1)."""
    return M.reshape(len(M), -1) @ N.reshape(len(N), -1).T
