"""`WithinLevels`: K = R'V⁻¹R without cancellation, where effects are large beside the residuals.

With R = [X y], ``K = D − Σ_j C_j'F_jC_j`` is a small difference of large sums there: what the
levels do not explain is lost in what they do. Both parts of

    ``K = D_within + Σ_j C_j' (A_j + A_j G A_j)⁻ C_j``,  ``D_within = D − Σ_j C_j' A_j⁻ C_j``

are positive semidefinite, and D_within, the sums of squares and products within the levels, is
computed from the rows themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.model import level_products
from pymackay.model.sums.gram import Gram

_RANK = 1e-10  # of a level's largest eigenvalue: below it, its rows say nothing of that direction
_SAME = 1e-9  # of the largest product: rows whose sums are further off belong to another response


@dataclass(frozen=True, eq=False)
class WithinLevels:
    """The sums within levels of a model with one grouping factor.

    Attributes
    ----------
    D_within : numpy.ndarray, shape (p + 1, p + 1)
        Squares and products of [X y], the least-squares fit on Z_j taken off level by level.
    roots : numpy.ndarray, shape (J, q, q)
        r_j with ``A_j = r_j r_j'``.
    means : numpy.ndarray, shape (J, q, p + 1)
        ``r_j⁻ C_j``.
    """

    D_within: np.ndarray
    roots: np.ndarray
    means: np.ndarray

    @classmethod
    def of(cls, gram: Gram) -> WithinLevels | None:
        """Return those of a model; None where the rows are not those that were summed up."""
        model, block = gram.model, gram.blocks[0]
        columns = gram.basis.Q, gram.response.residual
        if {len(model.X), *map(len, columns)} != {gram.n}:
            return None
        rows = np.column_stack(columns)
        effects = [term.columns for term in model.terms if term.group == block.name]
        Z = np.column_stack(effects) @ gram.joined(block, gram.transforms)
        if model.weights is not None:
            Z = Z * np.sqrt(model.weights)[:, None]
        codes = model.factors[block.name].codes
        values, axes = np.linalg.eigh(gram.A)
        kept = values > _RANK * values[:, -1:]
        root = np.sqrt(np.where(kept, values, 0.0))
        inverse = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
        halves = inverse[:, :, None] * axes.transpose(0, 2, 1)
        for first in (True, False):  # the second takes off what rounding left of the first
            C = level_products(codes, Z, rows, block.n_levels)
            if first and not np.abs(C - gram.C).max() < _SAME * np.abs(C).max():
                return None
            coefficients = halves.transpose(0, 2, 1) @ (halves @ C)
            rows = rows - np.einsum("na,nak->nk", Z, coefficients[codes])
        return cls(rows.T @ rows, axes * root[:, None, :], halves @ np.asarray(gram.C))

    def left_over(self, factor: np.ndarray) -> np.ndarray:
        """Return K, shape (p + 1, p + 1), at the block's relative factor, (q, q)."""
        inner = self.roots.transpose(0, 2, 1) @ factor
        L = np.linalg.cholesky(np.eye(len(factor)) + inner @ inner.transpose(0, 2, 1))
        parts = np.linalg.solve(L, self.means).reshape(-1, len(self.D_within))
        return np.asarray(self.D_within + parts.T @ parts)
