"""`build_new`: the columns that a model's blueprint gives to new data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError
from pymackay.formula.bars import Bar
from pymackay.formula.terms import list_variables
from pymackay.model.columns.column import Column, Factor, Numeric, as_factor, recode
from pymackay.model.columns.table import Table
from pymackay.model.design.frame import Evaluator, evaluate_variables, read_extra, sum_offsets
from pymackay.model.design.side import (
    Blueprint,
    SideBlueprint,
    effect_columns,
    group_rows,
    with_levels,
)


class Between(Protocol):
    """What the effects of a term at its own levels say of those at others."""

    def at(self, labels: Sequence[str], name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return weights of the known effects, (m, q), and shares of variance that stay unknown."""
        ...


_UNKNOWN_LEVELS = (
    "'{name}' has levels in newdata that the model does not know: {unknown}; it knows {known}"
)


@dataclass(frozen=True, eq=False)
class NewDesign:
    """The columns that new data get from a model's blueprint.

    Attributes
    ----------
    rows : pandas.Index, length m
        Labels of all rows of the new data.
    X : numpy.ndarray, shape (m, p)
        Fixed design, the columns the model kept; nan in rows with a missing value.
    offset : numpy.ndarray of shape (m,) or None
    columns : tuple of numpy.ndarray, each (m, q)
        Left side of each random term, in the model's order.
    unpredicted : tuple of numpy.ndarray, each (m,)
        Of each random term, the share of an effect's variance that its known effects do not
        predict: zero for the levels of the model.
    codes : dict of str to numpy.ndarray of int32, each (m,)
        Grouping factor to the level of each row; -1 where the model does not have the level, or
        the row has none.
    unseen : dict of str to tuple of str
        Grouping factor to the levels of the new data that the model does not have.
    complete : numpy.ndarray of bool, shape (m,)
        Rows without a missing value in what was asked for.
    """

    rows: pd.Index
    X: np.ndarray
    offset: np.ndarray | None
    columns: tuple[np.ndarray, ...] = ()
    unpredicted: tuple[np.ndarray, ...] = ()
    codes: dict[str, np.ndarray] = field(default_factory=dict)
    unseen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    complete: np.ndarray = field(default_factory=lambda: np.ones(0, dtype=bool))


def build_new(
    blueprint: Blueprint,
    newdata: pd.DataFrame | Mapping[str, Any],
    *,
    random: bool = True,
    offset: Any = None,
    between: Sequence[Between | None] = (),
) -> NewDesign:
    """Make the columns of a model for new data.

    Bases of ``poly``, ``ns`` and ``bs``, the centre of ``scale``, contrasts and levels are those
    of the model's own data. The response is not needed.

    Parameters
    ----------
    blueprint : Blueprint
        `Model.blueprint`.
    newdata : pandas.DataFrame or mapping of str to array-like
    random : bool
        Whether to make the random part as well; without it, the grouping columns are not needed.
    offset : str or array-like, optional
        Stands in for the argument `offset` of the model; by default the same expression.
    between : sequence of Between or None, optional
        For each random term, what makes its columns at levels that the model does not have; by
        default such levels are refused.

    Returns
    -------
    NewDesign

    Raises
    ------
    DataError
        If a column is missing, has another kind, or a factor of a term has a level that the model
        does not know.
    ArgumentError
        If the model's offset was an array and none is given.

    Examples
    --------
    >>> import pandas as pd
    >>> from pymackay.model.design.build import build_model
    >>> data = pd.DataFrame({"y": [1.0, 2, 4, 3], "x": [1.0, 2, 3, 5], "g": list("aabb")})
    >>> model = build_model("y ~ scale(x) + (1 | g)", data)
    >>> new = build_new(model.blueprint, {"x": [2.75], "g": ["c"]})
    >>> new.X.tolist(), new.codes["g"].tolist(), new.unseen
    ([[1.0, 0.0]], [-1], {'g': ('c',)})
    """
    table = Table(newdata)
    evaluator = _evaluator(blueprint, table)
    complete = np.ones(table.n, dtype=bool)
    X = _new_side(blueprint.fixed, None, evaluator, complete)[:, blueprint.kept]
    columns: list[np.ndarray] = []
    unpredicted: list[np.ndarray] = []
    codes: dict[str, np.ndarray] = {}
    unseen: dict[str, tuple[str, ...]] = {}
    if random:
        for place, bar in enumerate(blueprint.bars):
            elsewhere = between[place] if between else None
            made, share = _new_effects(blueprint, place, evaluator, complete, elsewhere)
            columns.append(made)
            unpredicted.append(share)
            if bar.group_name not in codes:
                codes[bar.group_name], unseen[bar.group_name] = _new_codes(
                    bar, blueprint, evaluator, complete
                )
    return NewDesign(
        rows=table.index,
        X=np.asfortranarray(X),
        offset=_new_offset(blueprint, evaluator, offset, complete),
        columns=tuple(columns),
        unpredicted=tuple(unpredicted),
        codes=codes,
        unseen={name: levels for name, levels in unseen.items() if levels},
        complete=complete,
    )


def build_term(
    blueprint: Blueprint,
    place: int,
    newdata: pd.DataFrame | Mapping[str, Any],
    between: Between | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make the columns of one random term, (m, q), which do not need its grouping factor.

    Also return the shares of variance that its known effects do not predict, (m,).

    Parameters
    ----------
    blueprint : Blueprint
    place : int
        Position of the term among `Blueprint.bars`.
    newdata : pandas.DataFrame or mapping of str to array-like
    between : Between, optional
        What makes the columns at levels that the model does not have.

    Raises
    ------
    DataError
        As `build_new`.
    """
    table = Table(newdata)
    evaluator = _evaluator(blueprint, table)
    complete = np.ones(table.n, dtype=bool)
    return _new_effects(blueprint, place, evaluator, complete, between)


def build_codes(blueprint: Blueprint, newdata: pd.DataFrame | Mapping[str, Any]) -> NewDesign:
    """Find the levels of new data's rows; only the grouping columns are needed.

    Parameters
    ----------
    blueprint : Blueprint
    newdata : pandas.DataFrame or mapping of str to array-like

    Returns
    -------
    NewDesign
        With `codes` and `unseen`, without columns.

    Raises
    ------
    DataError
        If a grouping column is missing.
    """
    table = Table(newdata)
    evaluator = _evaluator(blueprint, table)
    complete = np.ones(table.n, dtype=bool)
    bars = {bar.group_name: bar for bar in blueprint.bars}
    looked_up = {g: _new_codes(bar, blueprint, evaluator, complete) for g, bar in bars.items()}
    return NewDesign(
        rows=table.index,
        X=np.zeros((table.n, 0)),
        offset=None,
        codes={group: codes for group, (codes, _) in looked_up.items()},
        unseen={group: levels for group, (_, levels) in looked_up.items() if levels},
        complete=complete,
    )


def _evaluator(blueprint: Blueprint, table: Table) -> Evaluator:
    """Return what evaluates variables of new data as those of the model's data."""
    text, memory = blueprint.specification.formula, dict(blueprint.memory)
    return Evaluator(text, table, memory, is_new=True)


def _new_side(
    side: SideBlueprint, bar: Bar | None, evaluator: Evaluator, complete: np.ndarray
) -> np.ndarray:
    """Make a model matrix for new data; rows with a missing value are nan."""
    terms = side.terms
    used = dict.fromkeys(i for term in terms.terms for i in term.variables)
    columns = evaluate_variables(evaluator, [terms.variables[i] for i in used])
    if bar is not None:
        columns = effect_columns(bar, columns)
    missing = np.zeros(len(complete), dtype=bool)
    for name, column in columns.items():
        columns[name] = _aligned(column, side.levels.get(name), name)
        absent = columns[name].missing()
        if absent is not None:
            missing |= absent
    filled = {name: _without_missing(column) for name, column in columns.items()}
    values = side.matrix(filled, len(complete)).values
    complete &= ~missing
    return np.where(missing[:, None], np.nan, values)


def _new_effects(
    blueprint: Blueprint,
    place: int,
    evaluator: Evaluator,
    complete: np.ndarray,
    between: Between | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make the columns of a random term, (m, q), and the shares of variance not predicted, (m,).

    At levels that the model does not have, the columns are the weights of the known effects.
    """
    side, bar = blueprint.random[place], blueprint.bars[place]
    share = np.zeros(len(complete))
    if between is None or len(side.levels) != 1:
        return _new_side(side, bar, evaluator, complete), share
    name, levels = next(iter(side.levels.items()))
    variables = [v for v in side.terms.variables if v.name == name]
    column = evaluate_variables(evaluator, variables)[name]
    factor = column if isinstance(column, Factor) else as_factor(column, name)
    codes, unknown = recode(factor, levels)
    if not unknown:
        return _new_side(side, bar, evaluator, complete), share
    weights, unpredicted = between.at(unknown, name)
    missing = factor.codes < 0
    place_of = {label: k for k, label in enumerate(unknown)}
    fresh = np.flatnonzero((codes < 0) & ~missing)
    rows = np.array([place_of[factor.levels[code]] for code in factor.codes[fresh]])
    values = np.eye(len(levels))[np.maximum(codes, 0)]
    values[fresh], share[fresh] = weights[rows], unpredicted[rows]
    complete &= ~missing
    return np.where(missing[:, None], np.nan, values), share


def _aligned(column: Column, levels: tuple[str, ...] | None, name: str) -> Column:
    """Give a column the kind and the levels that the model has."""
    if levels is not None:
        return with_levels(column, levels, name, _UNKNOWN_LEVELS)
    if isinstance(column, Factor) and column.kind == "logical":
        return Numeric(np.where(column.codes < 0, np.nan, column.codes.astype(np.float64)))
    if isinstance(column, Factor):
        raise DataError(
            f"'{name}' holds numbers in the model, but categories in newdata; convert the column"
        )
    return column


def _without_missing(column: Column) -> Column:
    """Put any valid value where one is missing; those rows are overwritten later."""
    if isinstance(column, Factor):
        return Factor(np.maximum(column.codes, 0), column.levels)
    return column


def _new_codes(
    bar: Bar, blueprint: Blueprint, evaluator: Evaluator, complete: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Find the level of each row among the model's; name the levels that it does not have."""
    columns = evaluate_variables(evaluator, list_variables(bar.group, evaluator.text))
    factor = group_rows(bar.group, columns, bar.group_name)
    absent = factor.missing()
    if absent is not None:
        complete &= ~absent
    codes, unknown = recode(factor, blueprint.levels[bar.group_name])
    return codes.astype(np.int32), unknown


def _new_offset(
    blueprint: Blueprint, evaluator: Evaluator, offset: Any, complete: np.ndarray
) -> np.ndarray | None:
    offset = blueprint.offset if offset is None else offset
    if offset is None and blueprint.offset_was_array:
        raise ArgumentError(
            "the model has an offset that was given as an array, so newdata need one too; pass "
            "offset with one number for each row"
        )
    argument = read_extra(evaluator, offset, "offset")
    columns = evaluate_variables(evaluator, blueprint.specification.offsets)
    total = sum_offsets(blueprint.specification, columns, argument)
    if total is not None:
        complete &= ~np.isnan(total)
    return total
