"""`ProbeSums`: γ from random probes, by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.keras.curvature.block import BlockFactors, BlockSums
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.determined import Determined, determined
from pymackay.keras.curvature.products import JacobianRows
from pymackay.keras.network.taps import Piece

_ROUGH = 0.01  # relative residual of a probe: its quadratic form is low by the square of that
_TIGHT = 1e-10  # of a Newton step
_ITERATIONS = 400


class ProbeSums:
    """Products with the Jacobian, and blocks of its cross-products that precondition them.

    Parameters
    ----------
    columns : Columns
    tables : sequence of int
        Variables whose levels make blocks of the preconditioner.
    probes : ndarray, shape (P, S)
        Random signs; the same in every update, so that its error is the same.
    n_rows : int
        Rows of the data.

    References
    ----------
    Hutchinson, M. F. (1990). A stochastic estimator of the trace. Commun. Stat. Simul. 19(2).
    Antorán, J., Padhy, S., Barbano, R., Nalisnick, E., Janz, D., Hernández-Lobato, J. M. (2022).
    Sampling-based inference for large linear models. arXiv:2210.04994.
    """

    def __init__(
        self, columns: Columns, tables: Sequence[int], probes: np.ndarray, n_rows: int
    ) -> None:
        self.columns, self.probes = columns, probes
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
        system = self._system(roots, reml)
        factors = system.factors
        self._last = (roots, factors) if reml else None
        probes = self.probes * self.columns.penalised[:, None]
        solution, self.iterations = system.solve(probes, _ROUGH)
        sums, diagonal = factors.traces()
        difference = solution - factors.solve(probes)
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
        system = self._system(roots, True, damping)
        return lambda vector: system.solve(vector[:, None], _TIGHT)[0][:, 0]

    def length(self, roots: Sequence[np.ndarray], vector: np.ndarray) -> float:
        """Return x'M⁻¹x from the blocks of the preconditioner."""
        if self._last is not None and self._last[0] is roots:
            factors = self._last[1]
        else:
            factors = self.blocks.factorise(roots, True, self.blocks.ridge(roots))
        return float(vector @ factors.solve(vector[:, None])[:, 0])

    def _system(self, roots: Sequence[np.ndarray], fixed: bool, damping: float = 0.0) -> _System:
        """Return M with its preconditioner; undetermined weights without a prior are held."""
        columns, ridge = self.columns, self.blocks.ridge(roots)
        factors = self.blocks.factorise(roots, fixed, ridge, damping)
        kept = np.ones(columns.size) if fixed else columns.penalised.astype(float)
        extra = columns.penalised + ridge
        if damping:
            extra = extra + damping * (self.blocks.diagonal(roots) + ridge)
        return _System(self.rows, columns, roots, factors, kept, extra)


@dataclass(frozen=True, eq=False)
class _System:
    """M = kept Λ'J'HJΛ kept + extra, a diagonal, and the blocks that precondition it."""

    rows: JacobianRows
    columns: Columns
    roots: Sequence[np.ndarray]
    factors: BlockFactors
    kept: np.ndarray
    extra: np.ndarray

    def product(self, x: np.ndarray) -> np.ndarray:
        """Return M X, (P, S)."""
        image = self.rows.gram(self.columns.scale(x, self.roots))
        image = self.columns.scale_back(image, self.roots)
        return self.kept[:, None] * image + self.extra[:, None] * x

    def solve(self, right: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
        """Return M⁻¹R, (P, S), and the iterations that it took."""
        return conjugate_gradients(self.product, self.factors.solve, right, tolerance)


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    precondition: Callable[[np.ndarray], np.ndarray],
    right: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, int]:
    """Return the solutions of M X = R, (P, S), all right sides at once, and the iterations.

    A column rests once the length of its residual, in the metric of the preconditioner, has
    fallen by `tolerance`.
    """
    x, residual = np.zeros_like(right), right
    z = precondition(residual)
    size = np.einsum("ps,ps->s", residual, z)
    goal = tolerance**2 * size
    direction = z
    for iteration in range(_ITERATIONS):
        active = size > goal
        if not active.any():
            return x, iteration
        image = product(direction)
        curvature = np.einsum("ps,ps->s", direction, image)
        step = np.where(active & (curvature > 0.0), size / np.where(curvature > 0, curvature, 1), 0)
        x += step * direction
        residual = residual - step * image
        z = precondition(residual)
        new = np.einsum("ps,ps->s", residual, z)
        direction = z + np.where(size > 0.0, new / np.where(size > 0.0, size, 1.0), 0.0) * direction
        size = np.where(active, new, size)
    return x, _ITERATIONS


def random_signs(columns: Columns, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return probes, (P, S): independent signs."""
    return generator.integers(0, 2, (columns.size, count)) * 2.0 - 1.0


def _standard_error(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
