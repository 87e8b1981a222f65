"""`Plan`: the kind of curvature that an argument names, or that suits the network's size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.arguments import one_of
from pymackay.keras.curvature.block import BlockSums
from pymackay.keras.curvature.columns import Columns
from pymackay.keras.curvature.crossproducts import ExactSums
from pymackay.keras.curvature.determined import Sums
from pymackay.keras.curvature.diagonal import DiagonalSums
from pymackay.keras.curvature.probes import ProbeSums, random_signs, usual_count
from pymackay.keras.network.linearise import Linearisation
from pymackay.keras.network.rows import TrainingRows
from pymackay.keras.network.taps import TableTap

KINDS = ("auto", "exact", "probes", "block", "diagonal")
_WORK = 3e8  # multiplications of an elimination that takes a few tenths of a second


@dataclass(frozen=True, eq=False)
class Plan:
    """How the curvature of a network is computed.

    Attributes
    ----------
    kind : {"exact", "probes", "block", "diagonal"}
    reason : str
        Why, for the user.
    columns : Columns
    eliminated : int
        Position of the table that is eliminated first; −1: none.
    tables : tuple of int
        Tables of which every row of the data uses one level.
    probes : numpy.ndarray, shape (P, S)
        Empty but for ``"probes"``.
    n_rows : int
        Rows of the data.
    """

    kind: str
    reason: str
    columns: Columns
    eliminated: int
    tables: tuple[int, ...]
    probes: np.ndarray
    n_rows: int

    def new_sums(self) -> Sums:
        """Return empty sums."""
        if self.kind == "diagonal":
            return DiagonalSums(self.columns)
        if self.kind == "block":
            return BlockSums(self.columns, self.tables)
        if self.kind == "probes":
            return ProbeSums(self.columns, self.tables, self.eliminated, self.probes, self.n_rows)
        return ExactSums(self.columns, self.eliminated)


def make_plan(
    kind: object,
    columns: Columns,
    rows: TrainingRows,
    linear: Linearisation,
    n_probes: int | None,
    generator: np.random.Generator,
    n_rows: int,
) -> Plan:
    """Return the plan for an argument `curvature`.

    Raises
    ------
    ArgumentError
        If it is none of the kinds.
    """
    name = one_of("curvature", kind, KINDS)
    tables = _simple_tables(columns, rows, linear)
    spans = columns.spans
    largest = max(tables, key=lambda i: spans[i].size, default=-1)
    if largest >= 0 and spans[largest].group < 0:
        largest = -1
    levels = spans[largest].size if largest >= 0 else 0
    rest = columns.size - levels
    reason = "as asked"
    if name == "auto":
        name = "exact" if (levels + rest) * rest**2 <= _WORK else "probes"
        reason = f"{levels} weights of the largest table and {rest} others"
    count = usual_count(columns.size) if n_probes is None else n_probes
    probes = random_signs(columns, count if name == "probes" else 0, generator)
    return Plan(name, reason, columns, largest, tuple(tables), probes, n_rows)


def _simple_tables(columns: Columns, rows: TrainingRows, linear: Linearisation) -> list[int]:
    """Return the tables of which every row of the data uses one level."""
    chunk = next(iter(rows.chunks()))
    _, pieces = linear.pieces(chunk.x, len(chunk.y))
    uses = np.zeros(len(columns.spans), dtype=int)
    others: set[int] = set(linear.untapped)
    for piece in pieces:
        if isinstance(piece, TableTap):
            uses[piece.table] += piece.codes.shape[1]
    return [i for i in np.flatnonzero(uses == 1).tolist() if i not in others]
