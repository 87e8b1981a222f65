"""`BlockSums`: blocks of J'HJ; a whole layer's weights together, tables level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve

from pymackay.keras.curvature.cholesky import diagonal_sum, held_cholesky, inverse_of
from pymackay.keras.curvature.columns import Columns, Part, scale_columns
from pymackay.keras.curvature.determined import Determined, determined
from pymackay.keras.curvature.jacobian import jacobian, thinned, variables_of
from pymackay.keras.curvature.own_blocks import OwnBlocks
from pymackay.keras.network.taps import Piece

_HELD = 1e-8  # of a weight's own curvature
_ROWS_PER_WEIGHT, _LEAST_ROWS = 4, 4000  # of a block that only preconditions
LARGEST = 2000  # weights of a block that is factored


class BlockSums:
    """Blocks on the diagonal of J'HJ; products between the blocks are left out.

    Parameters
    ----------
    columns : Columns
    tables : sequence of int
        Variables whose blocks are their levels, one of which every row of the data uses.
    together : bool
        Whether all other weights make one block, as long as it is not too large; otherwise each
        variable makes its own.
    n_rows : int or None
        Rows of the data. If given, large blocks are summed over a part of the rows that is a few
        times as large as the block, and scaled: enough for a preconditioner.
    """

    def __init__(
        self,
        columns: Columns,
        tables: Sequence[int],
        together: bool = False,
        n_rows: int | None = None,
    ) -> None:
        self.columns = columns
        spans = columns.spans
        others = [i for i in range(len(spans)) if i not in tables]
        self.sets = _sets([(i, spans[i].size) for i in others], together)
        blocked = {i for one in self.sets for i in one}
        widths = {i: spans[i].width for i in tables}
        widths |= {i: spans[i].q for i in others if i not in blocked}
        self.own = OwnBlocks(columns, widths)
        sizes = [sum(spans[i].size for i in one) for one in self.sets]
        self._sums = [np.zeros((size, size)) for size in sizes]
        self._waiting: list[list[np.ndarray]] = [[] for _ in sizes]
        needed = max(_LEAST_ROWS, _ROWS_PER_WEIGHT * max(sizes, default=0))
        self.stride = 1 if n_rows is None else max(1, n_rows // needed)
        self.rows, self.rows_used = 0, 0
        self._last: tuple[Sequence[np.ndarray], BlockFactors] | None = None

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the rows of a chunk."""
        self.own.add(pieces, root)
        used = thinned(pieces, self.stride)
        self.rows += len(root)
        root = root[:: self.stride]
        self.rows_used += len(root)
        for k, variables in enumerate(self.sets):
            self._waiting[k].append(self._rows_of(variables, used, root))
            if sum(len(rows) for rows in self._waiting[k]) >= len(self._sums[k]):
                self._multiply(k)

    def _multiply(self, k: int) -> None:
        """Add the products of the rows that wait: the sum of a large block is read only once."""
        if self._waiting[k]:
            rows = np.concatenate(self._waiting[k])
            self._sums[k] += rows.T @ rows
            self._waiting[k] = []

    @property
    def sums(self) -> list[np.ndarray]:
        """J'HJ of the large blocks, over the rows that are used."""
        for k in range(len(self.sets)):
            self._multiply(k)
        return self._sums

    def _rows_of(
        self, variables: Sequence[int], pieces: Sequence[Piece], root: np.ndarray
    ) -> np.ndarray:
        """Return the whitened Jacobian rows of some variables, (n·K, size)."""
        sizes = self.columns.sizes
        ends = np.cumsum([0, *(sizes[i] for i in variables)])
        starts = dict(zip(variables, ends, strict=False))
        rows = np.zeros((len(root) * root.shape[-1], ends[-1]))
        for piece in pieces:
            if not set(variables_of(piece)) & set(variables):
                continue
            for i, part in jacobian(sizes, piece, root, len(rows), starts):
                if i in starts:
                    part = part.toarray() if hasattr(part, "toarray") else part
                    rows[:, starts[i] : starts[i] + sizes[i]] += part
        return rows

    def scaled(self, roots: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the large blocks of M = Λ'AΛ + D."""
        result = []
        for variables, sums in zip(self.sets, self.sums, strict=True):
            products = sums * (self.rows / self.rows_used)
            spans = [self.columns.spans[i] for i in variables]
            matrix = scale_columns(scale_columns(products, spans, roots).T, spans, roots)
            penalised = [np.full(span.size, float(span.group >= 0)) for span in spans]
            matrix[np.diag_indices_from(matrix)] += np.concatenate(penalised)
            result.append(matrix)
        return result

    def places(self) -> list[np.ndarray]:
        """Return the positions of each large block's weights among all."""
        spans = self.columns.spans
        return [
            np.concatenate([np.arange(spans[i].start, spans[i].stop) for i in variables])
            for variables in self.sets
        ]

    def diagonal(self, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Return the diagonal of M, (P,)."""
        size = self.own.diagonal(roots)
        for place, matrix in zip(self.places(), self.scaled(roots), strict=True):
            size[place] = np.diag(matrix)
        return size

    def ridge(self) -> np.ndarray:
        """Return what holds undetermined weights that have no prior: 1e-8 of their curvature, (P,).

        1 where the data do not know a weight at all; 0 where it has a prior.
        """
        size = self.own.free_curvature()
        for place, sums in zip(self.places(), self.sums, strict=True):
            size[place] = np.diag(sums) * (self.rows / self.rows_used)
        return np.where(self.columns.penalised, 0.0, np.where(size > 0.0, _HELD * size, 1.0))

    def factorise(
        self,
        roots: Sequence[np.ndarray],
        fixed: bool,
        ridge: np.ndarray | None = None,
        damping: float = 0.0,
    ) -> BlockFactors:
        """Factorise every block of M; without the weights that have no prior, unless `fixed`.

        A ridge (P,) is added to the diagonal of the large blocks, then every block's diagonal is
        multiplied by 1 + damping.
        """
        penalised = self.columns.penalised
        inverse_roots, log_det, floored = self.own.inverse_roots(roots, fixed, damping)
        places, factors = [], []
        for place, matrix in zip(self.places(), self.scaled(roots), strict=True):
            kept = np.arange(len(place)) if fixed else np.flatnonzero(penalised[place])
            matrix, place = matrix[np.ix_(kept, kept)], place[kept]
            matrix[np.diag_indices_from(matrix)] += 0.0 if ridge is None else ridge[place]
            matrix[np.diag_indices_from(matrix)] *= 1.0 + damping
            factor, held = held_cholesky(matrix, np.diag(matrix).copy(), penalised[place])
            log_det += 2.0 * float(np.log(np.diag(factor)).sum())
            floored += held
            places.append(place)
            factors.append(factor)
        return BlockFactors(self, inverse_roots, places, factors, log_det, floored)

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T and log|M| from the blocks."""
        factors = self.factorise(roots, reml)
        self._last = (roots, factors) if reml else None
        sums, diagonal = factors.traces()
        return determined(self.columns, sums, diagonal, factors.log_det, factors.floored)

    def solver(self, roots: Sequence[np.ndarray], damping: float = 0.0) -> None:
        """Return None: without the products between blocks a Newton step overshoots."""

    def length(self, roots: Sequence[np.ndarray], vector: np.ndarray) -> float:
        """Return x'M⁻¹x from the blocks."""
        if self._last is not None and self._last[0] is roots:
            factors = self._last[1]
        else:
            factors = self.factorise(roots, True)
        return float(vector @ factors.solve(vector[:, None])[:, 0])


@dataclass(frozen=True, eq=False)
class BlockFactors:
    """The factors of M's blocks.

    Attributes
    ----------
    sums : BlockSums
    inverse_roots : dict of int to numpy.ndarray, shape (rows, w, w)
        G of small blocks, whose inverses are G'G, by variable.
    places : list of numpy.ndarray of int
        Positions of each large block's weights among all.
    factors : list of numpy.ndarray
        Their lower Cholesky factors.
    log_det : float
    floored : int
    """

    sums: BlockSums
    inverse_roots: dict[int, np.ndarray]
    places: list[np.ndarray]
    factors: list[np.ndarray]
    log_det: float
    floored: int

    def solve(self, vectors: np.ndarray, part: Part | None = None) -> np.ndarray:
        """Return M⁻¹X by blocks, (P, S), or that of a part."""
        part = Part(self.sums.columns) if part is None else part
        result = self.sums.own.solve(self.inverse_roots, vectors, part)
        for all_places, factor in zip(self.places, self.factors, strict=True):
            if len(all_places):
                place = part.places(all_places)
                result[place] = cho_solve((factor, True), vectors[place])
        return result

    def traces(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Return Σ_j [M⁻¹]_jj of every variable, (q, q), and the diagonal of M⁻¹, (P,)."""
        columns = self.sums.columns
        sums, diagonal = self.sums.own.traces(self.inverse_roots)
        for variables, place, factor in zip(self.sums.sets, self.places, self.factors, strict=True):
            inverse = inverse_of(factor)
            diagonal[place] = np.diag(inverse)
            for i in variables:
                span = columns.spans[i]
                inside = np.flatnonzero((place >= span.start) & (place < span.stop))
                if len(inside):
                    sums[i] = diagonal_sum(inverse[np.ix_(inside, inside)], span.q)
        return sums, diagonal


def _sets(sizes: Sequence[tuple[int, int]], together: bool) -> list[list[int]]:
    """Return the variables of every large block, small ones first; none is above `LARGEST`."""
    if not together:
        return [[i] for i, size in sizes if size <= LARGEST]
    joined, total = [], 0
    for i, size in sorted(sizes, key=lambda one: one[1]):
        if total + size <= LARGEST:
            joined.append(i)
            total += size
    return [sorted(joined)] if joined else []
