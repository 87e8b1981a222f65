"""`DiagonalSums`: the own curvature of every weight, all products between weights left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pymackay.keras.curvature.columns import Columns, Part
from pymackay.keras.curvature.determined import Determined, determined
from pymackay.keras.curvature.own_blocks import OwnBlocks


class DiagonalSums:
    """The q x q block of J'HJ of every row of every group's table; memory linear in the weights.

    Parameters
    ----------
    columns : Columns

    Notes
    -----
    With T = J·I − Σ_j (F'A_jF + 1)⁻¹ from own curvatures A_j only, γ is too large where weights
    stand in for each other.
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.own = OwnBlocks(columns, {i: span.q for i, span in enumerate(columns.spans)})
        self.add = self.own.add

    def determine(self, roots: Sequence[np.ndarray], reml: bool) -> Determined:
        """Return T and log|M| from every weight's own curvature."""
        inverse_roots, log_det, floored = self.own.inverse_roots(roots, reml)
        sums, diagonal = self.own.traces(inverse_roots)
        return determined(self.columns, sums, diagonal, log_det, floored)

    def solver(self, roots: Sequence[np.ndarray], damping: float = 0.0) -> None:
        """Return None: without the products between weights a Newton step overshoots."""

    def length(self, roots: Sequence[np.ndarray], vector: np.ndarray) -> float:
        """Return x'M⁻¹x from every weight's own curvature."""
        inverse_roots, _, _ = self.own.inverse_roots(roots, True)
        return float(
            vector @ self.own.solve(inverse_roots, vector[:, None], Part(self.columns))[:, 0]
        )
