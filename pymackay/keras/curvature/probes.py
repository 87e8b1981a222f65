"""`ProbeSums`: γ from random probes, by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pymackay.keras.curvature.block import BlockFactors, BlockSums
from pymackay.keras.curvature.columns import Columns, Part, wide_root
from pymackay.keras.curvature.determined import Determined, determined
from pymackay.keras.curvature.products import JacobianRows
from pymackay.keras.curvature.system import EliminatedTable, System
from pymackay.keras.network.taps import Piece

_ROUGH = 0.01  # relative residual of a probe: its quadratic form is low by the square of that
_TIGHT = 1e-10  # of a Newton step
_USUAL, _FEW, _MANY_WEIGHTS = 8, 4, 100_000  # probes; from that many weights on, few are enough


class ProbeSums:
    """Products with the Jacobian, and blocks of its cross-products that precondition them.

    Parameters
    ----------
    columns : Columns
    tables : sequence of int
        Variables whose levels make blocks of the preconditioner.
    eliminated : int
        The one of them that is eliminated before the iterations; −1: none.
    probes : ndarray, shape (P, S)
        Random signs, int8; the same in every update, so that its error is the same.
    n_rows : int
        Rows of the data.

    References
    ----------
    Hutchinson, M. F. (1990). A stochastic estimator of the trace. Commun. Stat. Simul. 19(2).
    Antorán, J., Padhy, S., Barbano, R., Nalisnick, E., Janz, D., Hernández-Lobato, J. M. (2022).
    Sampling-based inference for large linear models. arXiv:2210.04994.
    """

    def __init__(
        self,
        columns: Columns,
        tables: Sequence[int],
        eliminated: int,
        probes: np.ndarray,
        n_rows: int,
    ) -> None:
        self.columns, self.eliminated, self.probes = columns, eliminated, probes
        self.iterations = 0
        self._last: tuple[Sequence[np.ndarray], BlockFactors] | None = None
        self.rows = JacobianRows(columns)
        self.blocks = BlockSums(columns, tables, together=True, n_rows=n_rows)

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the rows of a chunk."""
        self.rows.add(pieces, root)
        self.blocks.add(pieces, root)

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T with its sampling error; log|M| is that of the blocks.

        Σ_j [M⁻¹]_jj = Σ_j [B⁻¹]_jj + E z'(M⁻¹ − B⁻¹)z: the blocks B are known without sampling,
        and probes measure what they leave out.
        """
        factors = self.blocks.factorise(roots, reml, self.blocks.ridge())
        system = self._system(factors, roots, reml)
        self._last = (roots, factors) if reml else None
        probes = np.where(self.columns.penalised[:, None], self.probes, 0.0)
        solution, self.iterations = system.solve(probes, _ROUGH)
        sums, diagonal = factors.traces()
        difference = solution
        difference -= factors.solve(probes)
        errors = []
        for i, span in enumerate(self.columns.spans):
            z = probes[span.slice].reshape(-1, span.q, probes.shape[1])
            d = difference[span.slice].reshape(z.shape)
            correction = np.einsum("jas,jbs->ab", z, d) / probes.shape[1]
            sums[i] = sums[i] + 0.5 * (correction + correction.T)
            errors.append(np.einsum("jas,jas->s", z, d))
        error = [
            _standard_error(
                sum(
                    one
                    for span, one in zip(self.columns.spans, errors, strict=True)
                    if span.group == k
                )
            )
            for k in range(len(self.columns.groups))
        ]
        return determined(self.columns, sums, diagonal, factors.log_det, factors.floored, error)

    def solver(
        self, roots: Sequence[np.ndarray], damping: float = 0.0
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return x ↦ (M + damping diag M)⁻¹x by conjugate gradients."""
        factors = self.blocks.factorise(roots, True, self.blocks.ridge(), damping)
        system = self._system(factors, roots, True, damping)
        return lambda vector: system.solve(vector[:, None], _TIGHT)[0][:, 0]

    def length(self, roots: Sequence[np.ndarray], vector: np.ndarray) -> float:
        """Return x'M⁻¹x from the blocks of the preconditioner."""
        if self._last is not None and self._last[0] is roots:
            factors = self._last[1]
        else:
            factors = self.blocks.factorise(roots, True, self.blocks.ridge())
        return float(vector @ factors.solve(vector[:, None])[:, 0])

    def _system(
        self,
        factors: BlockFactors,
        roots: Sequence[np.ndarray],
        fixed: bool,
        damping: float = 0.0,
    ) -> System:
        """Return M with its preconditioner; undetermined weights without a prior are held."""
        columns, ridge = self.columns, self.blocks.ridge()
        kept = np.ones(columns.size) if fixed else columns.penalised.astype(float)
        extra = columns.penalised + ridge
        if damping:
            extra = extra + damping * (self.blocks.diagonal(roots) + ridge)
        part, table = Part(columns, self.eliminated), None
        if self.eliminated >= 0:
            F = wide_root(columns.spans[self.eliminated], roots)
            inverse_roots = factors.inverse_roots[self.eliminated]
            table = EliminatedTable(self.rows.tables[self.eliminated], F, inverse_roots)
        return System(
            self.rows,
            part,
            roots,
            lambda vectors: factors.solve(vectors, part),
            part.of(kept),
            part.of(extra),
            table,
        )


def usual_count(weights: int) -> int:
    """Return how many probes are used where their number is not given.

    The relative error of γ falls with the number of weights times that of probes.
    """
    return _FEW if weights >= _MANY_WEIGHTS else _USUAL


def random_signs(columns: Columns, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return probes, (P, S), int8: independent signs."""
    return 2 * generator.integers(0, 2, (columns.size, count), dtype=np.int8) - 1


def _standard_error(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
