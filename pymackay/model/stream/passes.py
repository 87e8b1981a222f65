"""`Passes`: the rows of a source, read partition by partition, as often as asked.

The columns are those of the model that one pass over the source has made (`sum_source`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.family.family import Observations
from pymackay.formula.bars import Bar
from pymackay.incoming.frames import as_partition
from pymackay.model.columns.column import Column, number_labels
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.frame import Frame
from pymackay.model.design.side import SideBlueprint, effect_columns, with_levels
from pymackay.model.model import Model
from pymackay.model.stream.partition import own_levels
from pymackay.model.stream.plan import complete_frame
from pymackay.model.stream.response import ResponseKind

_CHANGED = (
    "'{name}' has levels in this pass over the source that it did not have in the first one: "
    "{unknown}; a source must give the same rows each time that it is read"
)


@dataclass(frozen=True, eq=False)
class PartRows:
    """The complete rows of one partition.

    Attributes
    ----------
    observed : Observations
    offset : numpy.ndarray, shape (n,)
    X : numpy.ndarray, shape (n, p)
        Fixed design, user's units, the columns that the model kept.
    columns : tuple of numpy.ndarray, each (n, q)
        Of each random term, in the model's order, user's units.
    codes : dict of str to numpy.ndarray of int, each (n,)
        Grouping factor to the level of each row among the model's.
    """

    observed: Observations
    offset: np.ndarray
    X: np.ndarray
    columns: tuple[np.ndarray, ...]
    codes: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Passes:
    """A source whose rows can be read again.

    Attributes
    ----------
    frames : callable
        Returns an iterator of the partitions, from the first one.
    model : Model
        Of all rows, without them.
    arguments : Arguments
    kind : ResponseKind
    n : int
        Number of complete rows in the first pass.
    """

    frames: Callable[[], Iterator[Any]]
    model: Model
    arguments: Arguments
    kind: ResponseKind
    n: int

    def __iter__(self) -> Iterator[PartRows]:
        """Yield the partitions that have complete rows.

        Raises
        ------
        DataError
            If these are not as many rows as in the first pass.
        """
        n = 0
        for partition in self.frames():
            part = self._part(as_partition(partition))
            if part is not None:
                n += len(part.observed.y)
                yield part
        if n != self.n:
            raise DataError(
                f"the source has {n} complete rows in this pass and had {self.n} in the first one; "
                f"a source must give the same rows each time that it is read."
            )

    def _part(self, data: pd.DataFrame) -> PartRows | None:
        if not len(data):
            return None
        blueprint = self.model.blueprint
        table = Table(data.set_axis(pd.RangeIndex(len(data)), axis=0))
        frame = complete_frame(blueprint.specification, table, self.arguments, self.kind)
        if frame is None:
            return None
        name = blueprint.specification.response.name
        response = self.kind.general(frame.columns[name], name, frame.weights)
        sides = zip(blueprint.bars, blueprint.random, strict=True)
        return PartRows(
            observed=Observations.of(response.y, response.weights, response.totals),
            offset=np.zeros(frame.n) if frame.offset is None else frame.offset,
            X=_columns_of(blueprint.fixed, frame.columns, frame.n)[:, blueprint.kept],
            columns=tuple(
                _columns_of(side, effect_columns(bar, frame.columns), frame.n)
                for bar, side in sides
            ),
            codes={bar.group_name: self._codes(bar, frame) for bar in blueprint.bars},
        )

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        """Grouping factor to the place of each of its levels."""
        return {
            name: {level: k for k, level in enumerate(factor.levels)}
            for name, factor in self.model.factors.items()
        }

    def _codes(self, bar: Bar, frame: Frame) -> np.ndarray:
        """Return the level of each row, (n,), of a grouping factor.

        Numbers are labelled as whole ones or not, as those of all partitions together were.
        """
        own, places = own_levels(bar, frame), self._places[bar.group_name]
        for whole in (own.integer, not own.integer):
            levels = own.levels
            labels = number_labels(levels, whole) if isinstance(levels, np.ndarray) else levels
            found = [places.get(label, -1) for label in labels]
            if min(found) >= 0:
                return np.array(found, dtype=np.intp)[own.codes]
        unknown = ", ".join(x for x, k in zip(labels, found, strict=True) if k < 0)
        raise DataError(_CHANGED.format(name=bar.group_name, unknown=unknown))


def _columns_of(side: SideBlueprint, columns: Mapping[str, Column], n: int) -> np.ndarray:
    """Return the columns of one side of the formula, (n, columns)."""
    levelled = {
        name: with_levels(columns[name], levels, name, _CHANGED)
        for name, levels in side.levels.items()
    }
    return side.matrix({**columns, **levelled}, n).values
