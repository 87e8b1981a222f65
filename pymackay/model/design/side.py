"""Model matrices: one side of a formula, as R's ``model.matrix`` makes it, also for other rows.

`make_side` makes the matrix of the fixed part, or of the left side of a bar, and a `SideBlueprint`
that makes the same columns for other rows: new data, or a partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.errors import DataError, listed
from pymackay.formula.bars import Bar
from pymackay.formula.expression import Call, Name, Node, variable_name
from pymackay.formula.specification import Specification
from pymackay.formula.terms import CONTRASTS, DUMMIES, Terms
from pymackay.model.columns.column import (
    KINDS,
    Column,
    Contrasts,
    Factor,
    Numeric,
    as_factor,
    recode,
)
from pymackay.model.columns.contrasts import default_contrasts, make_contrasts
from pymackay.model.columns.interaction import combine
from pymackay.model.design.size import MANY_LEVELS, SMALL_CELLS, check_contrasts, check_design

Coding = Mapping[str, Contrasts]
"""Contrasts of each factor, by R's name of the variable."""

SHARED = 2**20  # rows from which a column of ones would cost memory worth saving
INTERCEPT = "(Intercept)"


@dataclass(frozen=True, eq=False)
class ModelMatrix:
    """A model matrix.

    Attributes
    ----------
    values : numpy.ndarray, shape (n, p)
        Column-major. Of very many rows, a constant alone is one number that all share, read-only.
    names : tuple of str, length p
    assign : numpy.ndarray of int, shape (p,)
        The term each column belongs to, from 1; 0 for the intercept.
    """

    values: np.ndarray
    names: tuple[str, ...]
    assign: np.ndarray


@dataclass(frozen=True)
class _Part:
    """One variable of a term in one coding, and the names of the columns that it gives."""

    variable: int
    coding: int
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SideBlueprint:
    """How one model matrix was made.

    Attributes
    ----------
    terms : Terms
    contrasts : dict of str to Contrasts
        By R's name of the variable.
    levels : dict of str to tuple of str
        Levels of the factors that enter, in order.
    assign : tuple of int
        The term that each column of the full matrix belongs to, from 1; 0 for the intercept.
    """

    terms: Terms
    contrasts: dict[str, Contrasts]
    levels: dict[str, tuple[str, ...]]
    assign: tuple[int, ...] = ()

    def matrix(self, columns: Mapping[str, Column], n: int) -> ModelMatrix:
        """Make the same columns for other rows, whose factors have the levels noted here."""
        return make_matrix(self.terms, columns, self.contrasts, n)


@dataclass(frozen=True, eq=False)
class Blueprint:
    """How a model was made from its data.

    Attributes
    ----------
    specification : Specification
        The formula, read.
    memory : dict
        What ``poly``, ``scale``, ``ns``, ``mean`` and the like computed from the model's data,
        and the levels of its factors, by the text of the call or the name of the column.
    fixed : SideBlueprint
    kept : numpy.ndarray of int, shape (p,)
        Columns of the full fixed design that were kept.
    assign : numpy.ndarray of int, shape (p,)
        The term of the fixed part that each column belongs to, from 1; 0 for the intercept.
    bars : tuple of Bar
        The model's random terms, in their order.
    random : tuple of SideBlueprint
        The left side of each.
    levels : dict of str to tuple of str
        Grouping factor to its levels.
    offset : str or None
        The argument `offset`, where it was an expression of columns.
    offset_was_array : bool
        Whether the argument `offset` was an array, which new data need anew.
    aliases : numpy.ndarray, shape (p, d), or None
        How the d columns that were dropped depend on those kept, ``X_d = X_k A``, of rows that
        were summed up; None where the rows are there to tell, or no column was dropped.
    """

    specification: Specification
    memory: dict[str, Any]
    fixed: SideBlueprint
    kept: np.ndarray
    assign: np.ndarray
    bars: tuple[Bar, ...]
    random: tuple[SideBlueprint, ...]
    levels: dict[str, tuple[str, ...]]
    offset: str | None = None
    offset_was_array: bool = False
    aliases: np.ndarray | None = None

    @property
    def term_labels(self) -> tuple[str, ...]:
        """R's labels of the fixed part's terms; `assign` counts them from 1."""
        terms = self.fixed.terms
        return tuple(terms.label(term) for term in terms.terms)


def make_side(
    terms: Terms, columns: Mapping[str, Column], contrasts: Mapping[str, Any], n: int
) -> tuple[SideBlueprint, ModelMatrix]:
    """Make the model matrix of one side of a formula, and note how.

    Parameters
    ----------
    terms : Terms
    columns : mapping of str to Column
        Variables by R's names, without missing values.
    contrasts : mapping of str to object
        Contrasts asked for, by R's name of the variable; others are the factor's own, or R's
        defaults.
    n : int
        Number of rows.

    Raises
    ------
    ArgumentError
        If contrasts asked for are wrong.
    DataError
        If a factor has one level, or the matrix would have more cells than fit into memory.
    """
    coding: dict[str, Contrasts] = {}
    levels: dict[str, tuple[str, ...]] = {}
    for i in dict.fromkeys(i for term in terms.terms for i in term.variables):
        name = terms.variables[i].name
        column = columns[name]
        if isinstance(column, Factor):
            _refuse_labels(column, name)
            if len(column.levels) > MANY_LEVELS:
                check_contrasts(name, n, len(column.levels))
            coding[name] = _contrasts_of(column, contrasts.get(name), name)
            levels[name] = column.levels
    made = make_matrix(terms, columns, coding, n, is_fit=True)
    return SideBlueprint(terms, coding, levels, tuple(made.assign.tolist())), made


def _refuse_labels(column: Factor, name: str) -> None:
    """Refuse a variable whose values only name groups, such as dates."""
    if column.kind not in KINDS:
        raise DataError(
            f"the column '{name}' holds values of type {column.kind}, which can name groups, as in "
            f"(1 | {name}), but are neither numbers nor categories; convert it to numbers, for "
            f"example the days since the first date, or write factor({name})"
        )


def _contrasts_of(column: Factor, asked: Any, name: str) -> Contrasts:
    if asked is None:
        asked = column.contrasts
    if asked is None:
        return default_contrasts(column.levels, column.kind == "ordered", name)
    return make_contrasts(asked, column.levels, name)


def effect_columns(bar: Bar, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return columns for the left side of a bar; one that also groups counts as a factor."""
    variables = [v.name for v in bar.effects.variables if isinstance(v.node, Name)]
    grouping = bar.group_columns.intersection(variables)
    return {
        name: as_factor(column, name) if name in grouping else column
        for name, column in columns.items()
    }


def with_levels(column: Column, levels: tuple[str, ...], name: str, refusal: str) -> Factor:
    """Give a column the levels that the model's own has.

    Parameters
    ----------
    column : Column
    levels : tuple of str
    name : str
    refusal : str
        Message for levels that are not among them; ``{name}``, ``{unknown}`` and ``{known}`` are
        filled in.

    Raises
    ------
    DataError
        If a row has another level.
    """
    factor = column if isinstance(column, Factor) else as_factor(column, name)
    codes, unknown = recode(factor, levels)
    if unknown:
        texts = {"unknown": ", ".join(unknown), "known": listed(levels)}
        raise DataError(refusal.format(name=name, **texts))
    return Factor(codes, levels)


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
    variable = node.name if isinstance(node, Name) else variable_name(node)
    return as_factor(columns[variable], name)


def make_matrix(
    terms: Terms, columns: Mapping[str, Column], coding: Coding, n: int, *, is_fit: bool = False
) -> ModelMatrix:
    """Make the model matrix of one side of a formula.

    Parameters
    ----------
    terms : Terms
    columns : mapping of str to Column
        Variables by R's names, without missing values.
    coding : mapping of str to Contrasts
        Contrasts of the factors among them.
    n : int
        Number of rows.
    is_fit : bool
        Whether a model is to be fitted to it, which takes longer than to make it.

    Raises
    ------
    DataError
        If the matrix would be too large; see `check_design`.
    """
    codings = _dummies_without_intercept(terms, columns)
    parts = [
        [
            _part(terms, i, code, columns, coding)
            for i, code in zip(term.variables, codes, strict=True)
        ]
        for term, codes in zip(terms.terms, codings, strict=True)
    ]
    widths = [
        int(np.prod([len(part.names) for part in of_term], dtype=np.int64)) for of_term in parts
    ]
    p = sum(widths) + terms.intercept
    if n * p > SMALL_CELLS or p > n:
        check_design(n, p, is_fit)
    if terms.intercept and p == 1 and n >= SHARED:
        return ModelMatrix(np.broadcast_to(1.0, (n, 1)), (INTERCEPT,), np.zeros(1, dtype=np.intp))
    values = np.empty((n, p), order="F")
    names = [INTERCEPT] if terms.intercept else []
    values[:, : len(names)] = 1.0
    filler = _Filler(terms, columns, coding)
    for of_term, width in zip(parts, widths, strict=True):
        filler.fill(values[:, len(names) : len(names) + width], of_term)
        names.extend(_product_names(of_term))
    assign = np.repeat(np.arange(len(widths) + 1), [int(terms.intercept), *widths])
    return ModelMatrix(values, tuple(names), assign)


def _dummies_without_intercept(
    terms: Terms, columns: Mapping[str, Column]
) -> list[tuple[int, ...]]:
    """Code the first factor of the first term that has one by dummies if there is no intercept."""
    codings = [term.coding for term in terms.terms]
    if terms.intercept:
        return codings
    for place, term in enumerate(terms.terms):
        for position, variable in enumerate(term.variables):
            if isinstance(columns[terms.variables[variable].name], Factor):
                coding = list(term.coding)
                coding[position] = DUMMIES
                codings[place] = tuple(coding)
                return codings
    return codings


def _part(
    terms: Terms, variable: int, code: int, columns: Mapping[str, Column], coding: Coding
) -> _Part:
    name, label = terms.variables[variable].name, terms.variables[variable].label
    column = columns[name]
    if isinstance(column, Numeric):
        suffixes = _numeric_suffixes(column)
        code = CONTRASTS
    elif code == DUMMIES:
        suffixes = column.levels
    else:
        suffixes = coding[name].names
    return _Part(variable, code, tuple(f"{label}{suffix}" for suffix in suffixes))


def _numeric_suffixes(column: Numeric) -> Sequence[str]:
    if column.values.ndim == 1:
        return ("",)
    width = column.values.shape[1]
    return column.names or tuple(str(k + 1) for k in range(width))


def _product_names(parts: Sequence[_Part]) -> list[str]:
    """Join the names of a term's columns, the first variable's varying fastest."""
    names = list(parts[0].names)
    for part in parts[1:]:
        names = [f"{left}:{right}" for right in part.names for left in names]
    return names


class _Filler:
    """Writes terms into a model matrix, column by column; a variable's columns are made once."""

    def __init__(self, terms: Terms, columns: Mapping[str, Column], coding: Coding) -> None:
        self.terms = terms
        self.columns = columns
        self.coding = coding
        self.made: dict[tuple[int, int], np.ndarray] = {}

    def fill(self, target: np.ndarray, parts: Sequence[_Part]) -> None:
        if len(parts) == 1:
            self._write(target, parts[0])
            self.made[(parts[0].variable, parts[0].coding)] = target
            return
        blocks = [self._block(part, len(target)) for part in parts]
        self._multiply(target, blocks)

    def _multiply(self, target: np.ndarray, blocks: Sequence[np.ndarray]) -> None:
        """Write all products of columns, those of the first block varying fastest."""
        *leading, last = blocks
        if len(leading) > 1:
            width = target.shape[1] // last.shape[1]
            left = np.empty((len(target), width), order="F")
            self._multiply(left, leading)
        else:
            left = leading[0]
        width = left.shape[1]
        for k in range(last.shape[1]):
            for j in range(width):
                np.multiply(left[:, j], last[:, k], out=target[:, k * width + j])

    def _block(self, part: _Part, n: int) -> np.ndarray:
        key = (part.variable, part.coding)
        if key not in self.made:
            block = np.empty((n, len(part.names)), order="F")
            self._write(block, part)
            self.made[key] = block
        return self.made[key]

    def _write(self, target: np.ndarray, part: _Part) -> None:
        name = self.terms.variables[part.variable].name
        column = self.columns[name]
        if isinstance(column, Numeric):
            values = column.values
            target[:] = values[:, None] if values.ndim == 1 else values
            return
        dummies = part.coding == DUMMIES
        table = np.eye(len(column.levels)) if dummies else self.coding[name].matrix
        codes = column.codes.astype(np.intp)
        for j in range(target.shape[1]):
            # mode="clip" writes straight into the column; the codes are in range already.
            np.take(table[:, j].copy(), codes, out=target[:, j], mode="clip")
