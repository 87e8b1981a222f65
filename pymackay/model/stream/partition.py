"""What one partition of the rows adds to the cross-products, with levels of its own.

`sum_partition` needs a `Plan` and the rows only, so that partitions can be summed in any process,
in any order, and more than once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from pymackay.formula.bars import Bar
from pymackay.model.columns.column import Numeric, number_labels, number_levels
from pymackay.model.columns.table import Table
from pymackay.model.design.frame import Frame
from pymackay.model.design.side import effect_columns, group_rows
from pymackay.model.model import level_gram, level_products
from pymackay.model.stream.digest import digest_response
from pymackay.model.stream.level_keys import Levels
from pymackay.model.stream.level_sums import GroupSums
from pymackay.model.stream.plan import Plan, complete_frame, response_of
from pymackay.model.sums.level_pairs import LevelPairs, compact, sum_pairs


@dataclass(frozen=True, eq=False)
class PartitionSums:
    """What a partition adds to all sums.

    Attributes
    ----------
    n, dropped : int
        Rows used, and rows left out for missing values.
    log_weights : float
    squared_response : float
        Weighted sum of squares of the response, not centred: what its residual is compared with.
    dense_gram : numpy.ndarray, shape (p + 1, p + 1)
    groups : dict of str to GroupSums
    pairs : dict of (str, str) to LevelPairs
        By the places of the levels in `GroupSums`.
    digest : numpy.ndarray of uint64, shape (1,)
        Of the response (see `digest_response`).
    plan : Plan
        The plan by which the columns were made, with the partition's new levels.
    """

    n: int
    dropped: int
    log_weights: float
    squared_response: float
    dense_gram: np.ndarray
    groups: dict[str, GroupSums]
    pairs: dict[tuple[str, str], LevelPairs]
    digest: np.ndarray
    plan: Plan


class OwnLevels(NamedTuple):
    """The level of each row, shape (rows,), and the levels as in `GroupSums`."""

    codes: np.ndarray
    levels: Levels
    integer: bool


def sum_partition(plan: Plan, data: pd.DataFrame) -> PartitionSums:
    """Sum the rows of one partition."""
    table = Table(data.set_axis(pd.RangeIndex(len(data)), axis=0))
    frame = complete_frame(plan.specification, table, plan.arguments, plan.kind)
    if frame is None:
        return no_rows(plan, table.n)
    bars = plan.specification.bars
    by_side = [frame.columns, *(effect_columns(bar, frame.columns) for bar in bars)]
    sides = [side.grown(columns) for side, columns in zip(plan.sides, by_side, strict=True)]
    weights = frame.weights if plan.kind.weighted else None
    root = None if weights is None else np.sqrt(weights)
    X, *of_bars = (
        side.matrix(columns, frame.n).values for side, columns in zip(sides, by_side, strict=True)
    )
    response = response_of(plan.specification, frame, plan.kind)
    y = response if frame.offset is None else response - frame.offset
    if any(new is not old for new, old in zip(sides, plan.sides, strict=True)):
        plan = plan.grown(sides, X, y)
    squared = float(y @ y if weights is None else y @ (weights * y))
    dense = np.column_stack([X @ plan.rotation, y - X @ plan.center])
    if root is not None:
        dense *= root[:, None]
    groups, coded, columns = {}, {}, {}
    for name, positions in plan.groups.items():
        coded[name] = codes, levels, integer = own_levels(bars[positions[0]], frame)
        Z = np.column_stack([of_bars[i] for i in positions])
        columns[name] = Z = Z if root is None else Z * root[:, None]
        diagonal = level_gram(codes, Z, len(levels))
        sums = level_products(codes, Z, dense, len(levels))
        groups[name] = GroupSums(levels, integer, diagonal, sums)
    names = list(groups)
    return PartitionSums(
        n=frame.n,
        dropped=table.n - frame.n,
        log_weights=0.0 if weights is None else float(np.log(weights).sum()),
        squared_response=squared,
        dense_gram=dense.T @ dense,
        groups=groups,
        pairs={
            (a, b): _pair_sums(coded[a], columns[a], coded[b], columns[b])
            for i, b in enumerate(names)
            for a in names[:i]
        },
        digest=digest_response(response),
        plan=plan,
    )


def no_rows(plan: Plan, dropped: int) -> PartitionSums:
    """Return the sums of a partition none of whose rows is complete."""
    empty = np.zeros((plan.p + 1,) * 2)
    digest = digest_response(np.zeros(0))
    return PartitionSums(0, dropped, 0.0, 0.0, empty, {}, {}, digest, plan)


def own_levels(bar: Bar, frame: Frame) -> OwnLevels:
    """Return the levels of a grouping factor: numbers if it is one numeric column, else labels."""
    column = frame.columns.get(bar.group_name)
    if not isinstance(column, Numeric) or column.values.ndim != 1:
        factor = group_rows(bar.group, frame.columns, bar.group_name)
        return OwnLevels(factor.codes, factor.levels, False)
    codes, numbers = number_levels(column)
    if numbers.dtype.kind == "u":  # beyond 63 bits, where other partitions may have signed numbers
        return OwnLevels(codes, tuple(number_labels(numbers, column.integer)), False)
    return OwnLevels(codes, numbers, column.integer)


def _pair_sums(first: OwnLevels, a: np.ndarray, second: OwnLevels, b: np.ndarray) -> LevelPairs:
    shape = (len(first.levels), len(second.levels))
    sums = [
        sum_pairs(first.codes, second.codes, a[:, i] * b[:, j], shape)
        for i in range(a.shape[1])
        for j in range(b.shape[1])
    ]
    joined = np.stack([part.data for part in sums], axis=1) if len(sums) > 1 else sums[0].data
    return LevelPairs.of(sums[0], compact(joined).reshape(-1, a.shape[1], b.shape[1]))
