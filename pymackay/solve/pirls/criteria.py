"""`criterion_of`: the criterion that `nagq` names, as the search asks it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.pirls.curvature import Curvature
from pymackay.solve.pirls.laplace import Laplace, Point


@dataclass(frozen=True, eq=False)
class LaplaceCriterion:
    """Laplace's approximation, one node.

    Attributes
    ----------
    laplace : Laplace
    """

    laplace: Laplace

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> Point:
        """Evaluate at ψ, (P,), the mode searched from u, (N,)."""
        return self.laplace.at(psi, u)

    def curvature(self, point: Point) -> Curvature:
        """Return approximate second derivatives at a point."""
        return Curvature.of(point)
