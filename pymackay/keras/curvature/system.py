"""`System`: M x = b by conjugate gradients, after the largest table has been eliminated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from pymackay.keras.curvature.columns import Part
from pymackay.keras.curvature.products import JacobianRows

_ITERATIONS = 400
_ROWS = 4096  # whose blocks are in memory at a time


class EliminatedTable:
    """The table of which every row uses one level: its block B of M is known level by level.

    With B⁻¹ = G'G, the Jacobian rows J of the table and its scaling Λ, Q = JΛG' is as sparse as J.

    Parameters
    ----------
    jacobian : scipy.sparse.csr_matrix, shape (N, size)
    root : numpy.ndarray, shape (w, w)
        What Λ multiplies a row of the table with.
    own : numpy.ndarray, shape (levels, w, w)
        G.
    """

    def __init__(self, jacobian: sp.csr_matrix, root: np.ndarray, own: np.ndarray) -> None:
        width = own.shape[1]
        levels = jacobian.indices.reshape(-1, width)[:, 0] // width
        values = jacobian.data.reshape(-1, 1, width) @ root
        for at in range(0, len(levels), _ROWS):
            some = slice(at, at + _ROWS)
            values[some] = values[some] @ own[levels[some]].transpose(0, 2, 1)
        self._own = own
        self.rows = sp.csr_matrix(
            (values.reshape(-1), jacobian.indices, jacobian.indptr), shape=jacobian.shape
        )
        self._back = self.rows.T.tocsr()

    def back(self, rows: np.ndarray) -> np.ndarray:
        """Return Q'R, (size, S)."""
        return np.asarray(self._back @ rows)

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Return R − QQ'R, (N, S)."""
        return rows - self.rows @ self.back(rows)

    def whiten(self, vectors: np.ndarray) -> np.ndarray:
        """Return GX, (size, S)."""
        return self._times(self._own, vectors)

    def colour(self, vectors: np.ndarray) -> np.ndarray:
        """Return G'X, (size, S)."""
        return self._times(self._own.transpose(0, 2, 1), vectors)

    def _times(self, blocks: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        shaped = vectors.reshape(len(blocks), blocks.shape[1], -1)
        return (blocks @ shaped).reshape(vectors.shape)


@dataclass(frozen=True, eq=False)
class System:
    """M = [[B, C'], [C, R]]: a table's block B, and R = kept Λ'J'JΛ kept + extra of the rest.

    Attributes
    ----------
    rows : JacobianRows
    part : Part
        The rest, all weights where no table is eliminated; J and Λ are those of the rest.
    roots : sequence of numpy.ndarray, shape (q, q)
    precondition : callable
        X ↦ the inverses of M's blocks times X, for the rest.
    kept, extra : numpy.ndarray
        Diagonal matrices, of the rest.
    table : EliminatedTable or None

    Notes
    -----
    The iterations solve with the Schur complement R − CB⁻¹C' = kept Λ'J'(1 − QQ')JΛ kept + extra,
    which takes about half as many of them as M does, on shorter vectors.

    References
    ----------
    Concus, P., Golub, G. H., O'Leary, D. P. (1976). A generalized conjugate gradient method for the
    numerical solution of elliptic partial differential equations. Stanford CS-TR-76-533.
    """

    rows: JacobianRows
    part: Part
    roots: Sequence[np.ndarray]
    precondition: Callable[[np.ndarray], np.ndarray]
    kept: np.ndarray
    extra: np.ndarray
    table: EliminatedTable | None

    def solve(self, right: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
        """Return M⁻¹X, (P, S), and the iterations that it took."""
        if self.table is None:
            return self._iterate(right, tolerance)
        table = self.table
        inner = table.whiten(self.part.others(right))
        coupled = self.part.of(right) - self._back(table.rows @ inner)
        rest, iterations = self._iterate(coupled, tolerance)
        inner -= table.back(self._forward(rest))
        return self.part.join(rest, table.colour(inner)), iterations

    def _iterate(self, right: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
        return conjugate_gradients(self._product, self.precondition, right, tolerance)

    def _product(self, x: np.ndarray) -> np.ndarray:
        image = self._forward(x)
        result = self._back(image if self.table is None else self.table.project(image))
        result += self.extra[:, None] * x
        return result

    def _forward(self, x: np.ndarray) -> np.ndarray:
        """Return JΛ kept X, (N, S)."""
        scaled = self.part.scale(x, self.roots)
        scaled *= self.kept[:, None]
        return self.rows.forward(scaled, self.part.spans)

    def _back(self, rows: np.ndarray) -> np.ndarray:
        """Return kept Λ'J'R."""
        result = self.part.scale_back(self.rows.back(rows, self.part.spans), self.roots)
        result *= self.kept[:, None]
        return result


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
    x, residual = np.zeros_like(right), right.copy()
    direction = precondition(residual)
    size = np.einsum("ps,ps->s", residual, direction)
    goal = tolerance**2 * size
    for iteration in range(_ITERATIONS):
        active = size > goal
        if not active.any():
            return x, iteration
        image = product(direction)
        curvature = np.einsum("ps,ps->s", direction, image)
        step = np.where(active & (curvature > 0.0), size / np.where(curvature > 0, curvature, 1), 0)
        x += step * direction
        image *= step
        residual -= image
        z = precondition(residual)
        new = np.einsum("ps,ps->s", residual, z)
        direction *= np.where(size > 0.0, new / np.where(size > 0.0, size, 1.0), 0.0)
        direction += z
        size = np.where(active, new, size)
    return x, _ITERATIONS
