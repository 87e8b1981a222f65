"""`Equations`: the mixed-model equations at one theta, the leading block eliminated.

In the coordinates u, b = Λ u, what is left of the other blocks is
``S = I + Λ₂' (Z₂'Z₂ − Z₂'Z₁ F Z₁'Z₂) Λ₂`` with ``F = (Z₁'Z₁ + G₁⁻¹)⁻¹``: symmetric, no eigenvalue
below one, and never formed. A product with it is two sparse products.
"""

from __future__ import annotations

import numpy as np

from pymackay.model.sums.sparse_gram import SparseGram
from pymackay.solve.iterative.coarse import CoarseSpace
from pymackay.solve.iterative.couplings import Couplings, block_times
from pymackay.solve.solver import block_factor

__all__ = ["Equations", "is_regular"]

_REGULAR = 1e-6  # ratio of a factor's singular values above which dividing by it keeps digits


def is_regular(factor: np.ndarray) -> bool:
    """Say whether a relative factor can be divided by."""
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
    coarse : CoarseSpace, optional
        What the preconditioner has besides S's diagonal blocks.

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
    diagonal, inverse : list of numpy.ndarray, each (J_k, q, q)
        The diagonal blocks of S, and their inverses.
    logdet_diagonal : float
        Sum of the log determinants of `diagonal`.
    """

    def __init__(
        self,
        gram: SparseGram,
        couplings: Couplings,
        factors: list[np.ndarray],
        coarse: CoarseSpace | None = None,
    ) -> None:
        self._coarse = coarse
        self.gram = gram
        self.couplings = couplings
        self.factors = [block_factor(gram.as_gram(), block, factors) for block in gram.blocks]
        lead, A = self.factors[0], gram.diagonals[0]
        identity = np.eye(len(lead))
        inverse, self.logdet_lead = _invert(identity + lead.T @ A @ lead)
        self.F = lead @ inverse @ lead.T
        self.N = identity - A @ self.F
        self.kept, self.diagonal, self.inverse = [], [], []
        self.logdet_diagonal = 0.0
        for k, factor in enumerate(self.factors[1:]):
            kept = gram.diagonals[k + 1] - couplings.column_quadratics(k, self.F)
            diagonal = np.eye(len(factor)) + factor.T @ kept @ factor
            inverted, logdet = _invert(diagonal)
            self.kept.append(kept)
            self.diagonal.append(diagonal)
            self.inverse.append(inverted)
            self.logdet_diagonal += logdet
        self._float32 = self.F.astype(np.float32), [i.astype(np.float32) for i in self.inverse]

    def scale(self, x: np.ndarray, *, transposed: bool = False) -> np.ndarray:
        """Return ``Λ₂ x``, or ``Λ₂' x``, for x of shape (size, k)."""
        found = np.empty_like(x)
        for factor, span in zip(self.factors[1:], self.couplings.slices, strict=True):
            L = (factor.T if transposed else factor).astype(x.dtype)
            if len(L) == 1:
                found[span] = L[0, 0] * x[span]
            else:
                rows = x[span].reshape(-1, len(L), x.shape[1])
                found[span] = np.matmul(L, rows).reshape(-1, x.shape[1])
        return found

    def eliminate(self, v: np.ndarray) -> np.ndarray:
        """Return ``F v`` for v of shape (J q, k)."""
        return block_times(self.F if v.dtype == np.float64 else self._float32[0], v)

    def lead_part(self, b: np.ndarray) -> np.ndarray:
        """Return ``Z₁'Z₂ b``, shape (J q, k)."""
        return self.couplings.to_lead(b)

    def reduced(self, b: np.ndarray, lead: np.ndarray) -> np.ndarray:
        """Return ``Z₂'V₁⁻¹Z₂ b``, given ``lead = lead_part(b)``."""
        return self.couplings.among(b) - self.couplings.from_lead(self.eliminate(lead))

    def schur(self, x: np.ndarray) -> np.ndarray:
        """Return ``S x``, shape (size, k)."""
        b = self.scale(x)
        return x + self.scale(self.reduced(b, self.lead_part(b)), transposed=True)

    def precondition(self, r: np.ndarray) -> np.ndarray:
        """Return what conjugate gradients take for ``S⁻¹ r``, shape (size, k)."""
        found = self.jacobi(r)
        if self._coarse is not None:
            found += self._coarse.apply(r)
        return found

    def jacobi(self, r: np.ndarray) -> np.ndarray:
        """Return the inverse of S's diagonal blocks times r, shape (size, k)."""
        blocks = self.inverse if r.dtype == np.float64 else self._float32[1]
        found = np.empty_like(r)
        for inverse, span in zip(blocks, self.couplings.slices, strict=True):
            found[span] = block_times(inverse, r[span])
        return found


def _invert(blocks: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the inverses of positive definite matrices, (J, q, q), and the summed log |.|."""
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
