"""`ProbeSums`: γ from random probes, by preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pymackay.keras.curvature.block import BlockFactors, BlockSums
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.determined import Determined, determined
from pymackay.keras.curvature.products import JacobianRows
from pymackay.keras.network.linearise import Piece

_ROUGH = 0.03  # relative residual of a probe; its quadratic form is good to the square of that
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

    References
    ----------
    Hutchinson, M. F. (1990). A stochastic estimator of the trace. Commun. Stat. Simul. 19(2).
    Antorán, J., Padhy, S., Barbano, R., Nalisnick, E., Janz, D., Hernández-Lobato, J. M. (2022).
    Sampling-based inference for large linear models. arXiv:2210.04994.
    """

    def __init__(self, columns: Columns, tables: Sequence[int], probes: np.ndarray) -> None:
        self.columns, self.probes = columns, probes
        self.iterations = 0
        self.rows = JacobianRows(columns)
        self.blocks = BlockSums(columns, tables, together=True)

    def add(self, pieces: Sequence[Piece], root: np.ndarray) -> None:
        """Add the rows of a chunk."""
        self.rows.add(pieces, root)
        self.blocks.add(pieces, root)

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T with its sampling error; log|M| is that of the blocks.

        Σ_j [M⁻¹]_jj = Σ_j [B⁻¹]_jj + E z'(M⁻¹ − B⁻¹)z: the blocks B are known without sampling,
        and probes measure what they leave out.
        """
        factors = self.blocks.factorise(roots, reml)
        kept = np.ones(self.columns.size) if reml else self.columns.penalised.astype(float)
        probes = self.probes * kept[:, None]
        solution, iterations = self._solve(roots, factors, kept, probes, _ROUGH)
        self.iterations = iterations
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

    def solver(self, roots: Sequence[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        """Return x ↦ M⁻¹x by conjugate gradients."""
        factors = self.blocks.factorise(roots, True)
        kept = np.ones(self.columns.size)

        def solve(vector: np.ndarray) -> np.ndarray:
            return self._solve(roots, factors, kept, vector[:, None], _TIGHT)[0][:, 0]

        return solve

    def _solve(
        self,
        roots: Sequence[np.ndarray],
        factors: BlockFactors,
        kept: np.ndarray,
        right: np.ndarray,
        tolerance: float,
    ) -> tuple[np.ndarray, int]:
        """Return M⁻¹R, (P, S), and the iterations that it took."""
        columns = self.columns
        held = columns.penalised[:, None] * 1.0

        def product(x: np.ndarray) -> np.ndarray:
            image = self.rows.gram(columns.scale(x, roots))
            return kept[:, None] * columns.scale_back(image, roots) + held * x

        return conjugate_gradients(product, factors.solve, right, tolerance)


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
