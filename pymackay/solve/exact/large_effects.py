"""`LargeEffects`: what keeps its digits where effects are large beside the residuals.

With ``K = R'V₁⁻¹R`` and ``Q̄ = (K + [G⁻¹ 0; 0 0])⁻¹`` (see `pymackay.solve.exact.crossed`), the
projection ``U = I − Q̄K`` on random columns is what is left of cancelling terms: where a variance is
1e8 times the residual one, nothing is left. There it follows from ``U = Q̄ G⁻¹``, and ``a = Z'Py``
from ``a = G⁻¹ b``; in the other directions, which may have no inverse, from the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["LargeEffects"]

_LARGE = 1.0  # relative sd of an effect of a whitened column


@dataclass(frozen=True, eq=False)
class LargeEffects:
    """The directions of some blocks, told apart by size.

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
            U, sizes, _ = np.linalg.svd(factor)
            large = sizes > _LARGE
            some = some or bool(large.any())
            small.append(U[:, ~large] @ U[:, ~large].T)
            inverse.append(U[:, large] / sizes[large] ** 2 @ U[:, large].T)
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
