"""`factorise`: M = LL' by blocks; levels first, then the Schur complement of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_solve

from pymackay.keras.curvature.cholesky import diagonal_sum, held_cholesky, inverse_of
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.determined import Determined, determined


@dataclass(frozen=True, eq=False)
class Blocks:
    """M in parts.

    Attributes
    ----------
    levels : numpy.ndarray, shape (L, d, d)
        Blocks of the eliminated table.
    coupling : numpy.ndarray, shape (L, d, R)
    rest : numpy.ndarray, shape (R, R)
    order : tuple of int
        The variables of the rest, in order.
    eliminated : int
        The eliminated variable; −1: none.
    columns : Columns
    """

    levels: np.ndarray
    coupling: np.ndarray
    rest: np.ndarray
    order: tuple[int, ...]
    eliminated: int
    columns: Columns

    @cached_property
    def places(self) -> np.ndarray:
        """Position in the vector of all weights of each column of the rest, (R,)."""
        spans = self.columns.spans
        parts = [np.arange(spans[i].start, spans[i].stop) for i in self.order]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=int)


@dataclass(frozen=True, eq=False)
class Factorised:
    """The factor of M, or of its block without the fixed weights.

    Attributes
    ----------
    blocks : Blocks
    kept : numpy.ndarray of int
        Columns of the rest that take part.
    level_inverse : numpy.ndarray, shape (L, d, d)
        B⁻¹.
    reduced : numpy.ndarray, shape (L, d, kept)
        B⁻¹C.
    schur : numpy.ndarray, shape (kept, kept)
        Lower Cholesky factor of R − C'B⁻¹C.
    log_det : float
    floored : int
    """

    blocks: Blocks
    kept: np.ndarray
    level_inverse: np.ndarray
    reduced: np.ndarray
    schur: np.ndarray
    log_det: float
    floored: int

    def solve(self, vector: np.ndarray) -> np.ndarray:
        """Return M⁻¹x, (P,)."""
        blocks, places = self.blocks, self.blocks.places[self.kept]
        result = np.zeros_like(vector)
        right = vector[places]
        if blocks.eliminated < 0:
            result[places] = cho_solve((self.schur, True), right)
            return result
        span = blocks.columns.spans[blocks.eliminated]
        levels = vector[span.slice].reshape(span.shape)
        right = right - np.einsum("ldr,ld->r", self.reduced, levels)
        rest = cho_solve((self.schur, True), right)
        spread = self.reduced.reshape(levels.size, len(rest)) @ rest
        at_levels = np.einsum("lde,le->ld", self.level_inverse, levels) - spread.reshape(span.shape)
        result[places], result[span.slice] = rest, at_levels.reshape(-1)
        return result

    def determined(self) -> Determined:
        """Return T = J·I − Σ_j [M⁻¹]_jj of the groups."""
        columns, blocks = self.blocks.columns, self.blocks
        inverse = inverse_of(self.schur)
        full = np.zeros_like(blocks.rest)
        full[np.ix_(self.kept, self.kept)] = inverse
        sums = [np.zeros((span.q, span.q)) for span in columns.spans]
        diagonal = np.ones(columns.size)
        diagonal[blocks.places] = np.diag(full)
        at = 0
        for i in blocks.order:
            span = columns.spans[i]
            sums[i] = diagonal_sum(full[at : at + span.size, at : at + span.size], span.q)
            at += span.size
        if blocks.eliminated >= 0:
            span = columns.spans[blocks.eliminated]
            rows = self.reduced.reshape(diagonal[span.slice].size, len(inverse))
            half = (rows @ inverse).reshape(self.reduced.shape)
            spread = np.einsum("ldr,ler->lde", half, self.reduced, optimize=True)
            by_level = self.level_inverse + spread
            diagonal[span.slice] = np.einsum("ldd->ld", by_level).reshape(-1)
            total = by_level.sum(axis=0)
            sums[blocks.eliminated] = total if span.q > 1 else np.trace(total).reshape(1, 1)
        return determined(columns, sums, diagonal, self.log_det, self.floored)


def factorise(blocks: Blocks, fixed: bool) -> Factorised:
    """Factorise M; without its weights that have no prior, unless `fixed`.

    References
    ----------
    Bates, D., Mächler, M., Bolker, B., Walker, S. (2015). J. Stat. Softw. 67(1), section 3.
    """
    penalised = blocks.columns.penalised[blocks.places]
    kept = np.arange(len(penalised)) if fixed else np.flatnonzero(penalised)
    rest = blocks.rest[np.ix_(kept, kept)]
    coupling = blocks.coupling[:, :, kept]
    log_det, inverse = 0.0, np.zeros_like(blocks.levels)
    reduced = coupling
    if len(blocks.levels):
        inverse = np.linalg.inv(blocks.levels)
        inverse = 0.5 * (inverse + inverse.transpose(0, 2, 1))
        log_det = float(np.linalg.slogdet(blocks.levels)[1].sum())
        reduced = inverse @ coupling
        shape = (reduced.shape[0] * reduced.shape[1], len(kept))
        rest = rest - coupling.reshape(shape).T @ reduced.reshape(shape)
    schur, floored = held_cholesky(rest, np.diag(blocks.rest)[kept], penalised[kept])
    log_det += 2.0 * float(np.log(np.diag(schur)).sum())
    return Factorised(blocks, kept, inverse, reduced, schur, log_det, floored)
