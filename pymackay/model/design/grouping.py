"""Grouping factors: made from columns, checked as lme4 checks them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pymackay.errors import DataError
from pymackay.formula.bars import Bar
from pymackay.formula.expression import Call, Node, variable_name
from pymackay.model.columns.column import Column, Factor
from pymackay.model.columns.factors import as_factor, combine
from pymackay.model.model import GroupingFactor

__all__ = ["check_levels", "group_rows", "make_grouping_factor"]


def group_rows(node: Node, columns: Mapping[str, Column], name: str) -> Factor:
    """Make the factor that the right side of a bar describes.

    Parameters
    ----------
    node : Node
        A variable, or ``a:b`` of such, with or without parentheses.
    columns : mapping of str to Column
        Variables by R's names.
    name : str
        The factor's own name, for error messages.
    """
    if isinstance(node, Call) and node.function == "(":
        return group_rows(node.arguments[0], columns, name)
    if isinstance(node, Call) and node.function == ":" and not node.names:
        first, second = (group_rows(part, columns, name) for part in node.arguments)
        return combine(first, second, name)
    return as_factor(columns[variable_name(node)], name)


def make_grouping_factor(bar: Bar, columns: Mapping[str, Column]) -> GroupingFactor:
    """Make a random term's grouping factor from a frame."""
    factor = group_rows(bar.group, columns, bar.group_name)
    codes = np.array(factor.codes, dtype=np.int32)
    return GroupingFactor(bar.group_name, factor.levels, codes)


def check_levels(factor: GroupingFactor, effects: int, text: str, n: int) -> None:
    """Refuse a grouping that leaves the variances unidentified, as lme4 does by default.

    Parameters
    ----------
    factor : GroupingFactor
    effects : int
        Number of effects of the term.
    text : str
        The term, for error messages.
    n : int
        Number of rows.

    Raises
    ------
    DataError
    """
    levels = len(factor.levels)
    if levels < 2:
        raise DataError(
            f"the grouping factor '{factor.name}' has only the level '{factor.levels[0]}' in the "
            f"rows that are used, but a random term needs two or more; take ({text}) out of the "
            f"formula"
        )
    if levels >= n:
        raise DataError(
            f"the grouping factor '{factor.name}' has {levels} levels for {n} rows, but needs "
            f"fewer levels than rows: each row is its own group, so that ({text}) cannot be told "
            f"from the residual; take it out of the formula"
        )
    if levels * effects >= n:
        raise DataError(
            f"the term ({text}) has {levels * effects} random effects ({levels} levels times "
            f"{effects} effects) for {n} rows, so that its variances cannot be told from the "
            f"residual; take effects out of it"
        )
