"""`choose_sums`: the kind of curvature that an argument names, or that suits the network's size."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.arguments import one_of
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.crossproducts import ExactSums
from pymackay.keras.curvature.determined import Sums
from pymackay.keras.curvature.diagonal import DiagonalSums
from pymackay.keras.linearise import Linearisation, TableTap
from pymackay.keras.rows import TrainingRows

KINDS = ("auto", "exact", "diagonal")
_REST = 1500  # columns of a dense matrix that is factored in every update
_COUPLING = 2e7  # elements of the products of a table with the rest


def resolve(kind: object, columns: Columns, rows: TrainingRows, linear: Linearisation) -> str:
    """Return the kind that ``"auto"`` stands for; any other is checked and returned."""
    name = one_of("curvature", kind, KINDS)
    if name != "auto":
        return name
    table = eliminated_table(columns, rows, linear)
    size = columns.spans[table].size if table >= 0 else 0
    rest = columns.size - size
    return "exact" if rest <= _REST and size * rest <= _COUPLING else "diagonal"


def choose_sums(
    kind: str, columns: Columns, rows: TrainingRows, linear: Linearisation, _: Any = None
) -> Sums:
    """Return empty sums of a kind."""
    if kind == "diagonal":
        return DiagonalSums(columns)
    return ExactSums(columns, eliminated_table(columns, rows, linear))


def eliminated_table(columns: Columns, rows: TrainingRows, linear: Linearisation) -> int:
    """Return the largest table with a prior of which every row uses one level; −1: none."""
    chunk = next(iter(rows.chunks()))
    _, pieces = linear.pieces(chunk.x, len(chunk.y))
    uses = np.zeros(len(columns.spans), dtype=int)
    for piece in pieces:
        if isinstance(piece, TableTap):
            uses[piece.table] += piece.codes.shape[1]
    sizes = [
        span.size if uses[i] == 1 and span.group >= 0 and i not in linear.untapped else 0
        for i, span in enumerate(columns.spans)
    ]
    largest = int(np.argmax(sizes))
    return largest if sizes[largest] else -1
