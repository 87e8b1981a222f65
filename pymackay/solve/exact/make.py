"""Which solver serves which model."""

from __future__ import annotations

from pymackay.model.sums.gram import Gram
from pymackay.solve.exact.crossed import Crossed
from pymackay.solve.exact.solver import OneBlock
from pymackay.solve.solver import Solver

__all__ = ["make_solver"]


def make_solver(gram: Gram, *, reml: bool) -> Solver:
    """Return the solver for one grouping factor, or for several."""
    return OneBlock(gram, reml) if len(gram.blocks) == 1 else Crossed(gram, reml)
