"""`Predictors`: the variables behind a model's fixed part, on its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError, DataError
from pymackay.formula.expression import Call, Name, Node, all_names, walk
from pymackay.infer.problem import design_of
from pymackay.model.columns.column import Column, Factor, Numeric, as_factor
from pymackay.model.columns.table import Table
from pymackay.model.design.side import Blueprint
from pymackay.model.model import Model
from pymackay.results import Fit

_FACTOR_MAKERS = ("factor", "as.factor", "ordered", "as.ordered", "C", "relevel", "interaction")
_FEW = 2  # values of a number: as many or fewer are all kept, as in R's emmeans


@dataclass(frozen=True, eq=False)
class Predictors:
    """The variables behind a model's fixed part.

    Attributes
    ----------
    model : Model
    blueprint : Blueprint
    names : tuple of str
        Columns of the data that the fixed part and the offset use, in the formula's order.
    columns : dict of str to Column
        Those that are known on the model's rows; others need values in `at`.
    coerced : frozenset of str
        Numbers that the formula makes a factor of, as in ``factor(dose)``.
    terms : tuple of frozenset of str
        The columns in each term of the fixed part.
    missing : str
        Why other columns are not known.
    """

    model: Model
    blueprint: Blueprint
    names: tuple[str, ...]
    columns: dict[str, Column]
    coerced: frozenset[str]
    terms: tuple[frozenset[str], ...]
    missing: str

    @classmethod
    def of(cls, fit: Fit, what: str, data: Any = None) -> Predictors:
        """Find them.

        Parameters
        ----------
        fit : Fit
        what : str
            What needs them, for error messages.
        data : table, optional
            The data of the fit, where it does not hold them.

        Raises
        ------
        PymackayError
            If the fit does not hold its model.
        ArgumentError
            If `data` has other rows.
        """
        model = design_of(fit, what, residual=True)
        blueprint = model.blueprint
        if not isinstance(blueprint, Blueprint):
            raise DataError(
                f"{what} needs the formula in parts, which this fit does not hold. Fit the same "
                f"formula and data with pymackay.lmer."
            )
        terms = blueprint.fixed.terms
        used = dict.fromkeys(i for term in terms.terms for i in term.variables)
        nodes = [terms.variables[i].node for i in used]
        nodes += [variable.node for variable in blueprint.specification.offsets]
        names = tuple(dict.fromkeys(name for node in nodes for name in _columns_in(node)))
        columns, missing = _known_columns(fit, model, names, data)
        return cls(
            model=model,
            blueprint=blueprint,
            names=names,
            columns=columns,
            coerced=frozenset(name for node in nodes for name in _made_factors(node)),
            terms=tuple(
                frozenset(c for i in term.variables for c in _columns_in(terms.variables[i].node))
                for term in terms.terms
            ),
            missing=missing,
        )

    def is_factor(self, name: str) -> bool:
        """Whether a column's levels are all in the grid, and count in weights."""
        if name in self.blueprint.fixed.levels or name in self.coerced:
            return True
        column = self.columns.get(name)
        return isinstance(column, Factor) or (column is not None and len(_distinct(column)) <= _FEW)

    def values(self, name: str) -> list[Any]:
        """Return the levels of a factor, or the distinct values of a number, in order.

        Raises
        ------
        ArgumentError
            If they are not known.
        """
        column = self._column(name)
        if column is None:
            return list(self.blueprint.fixed.levels[name])
        if isinstance(column, Numeric):
            return _distinct(column).tolist()
        if column.kind == "logical":
            return [False, True]
        return list(self.blueprint.fixed.levels.get(name, column.levels))

    def numbers(self, name: str) -> np.ndarray:
        """Return the values of a column of numbers, (n,).

        Raises
        ------
        ArgumentError
            If it holds something else, or is not known.
        """
        column = self._column(name)
        if not isinstance(column, Numeric) or column.values.ndim != 1:
            raise ArgumentError(
                f"'{name}' holds categories, but a number is needed here; the columns of numbers "
                f"are {', '.join(n for n in self.names if not self.is_factor(n)) or 'none'}"
            )
        return column.floats

    def codes(self, name: str, values: list[Any]) -> np.ndarray:
        """Return the position of each row's value among `values`, -1 where it is not, (n,)."""
        column = self.columns[name]
        if isinstance(column, Numeric):
            floats = column.floats
            codes = np.full(len(floats), -1)
            for k, value in enumerate(values):
                codes[floats == float(value)] = k
            return codes
        known = ["FALSE", "TRUE"] if column.kind == "logical" else list(column.levels)
        texts = [str(v).upper() if isinstance(v, bool | np.bool_) else str(v) for v in values]
        places = np.array([texts.index(level) if level in texts else -1 for level in known])
        return places[column.codes]

    def _column(self, name: str) -> Column | None:
        if name in self.columns or name in self.blueprint.fixed.levels:
            return self.columns.get(name)
        raise ArgumentError(
            f"the values of '{name}' are not known, because {self.missing}. Pass the data of the "
            f"fit as data=, or values as at={{{name!r}: ...}}."
        )


def _columns_in(node: Node) -> list[str]:
    """Return the columns in a variable; ``pi`` and the like are constants."""
    return [name for name in all_names(node) if name not in ("pi", "T", "F")]


def _made_factors(node: Node) -> list[str]:
    calls = [p for p in walk(node) if isinstance(p, Call) and p.function in _FACTOR_MAKERS]
    inside = [argument for call in calls for argument in call.arguments]
    return [argument.name for argument in inside if isinstance(argument, Name)]


def _distinct(column: Column) -> np.ndarray:
    if isinstance(column, Factor):
        return np.arange(len(column.levels))
    return np.unique(column.floats)


def _known_columns(
    fit: Fit, model: Model, names: tuple[str, ...], data: Any
) -> tuple[dict[str, Column], str]:
    """Return the columns on the model's rows, and why others are not there."""
    if not len(model.y):
        known = {} if data is None else _columns_of_sums(fit, model, names, Table(data))
        return known, "the rows were summed up and not kept"
    known = {name: model.columns[name] for name in names if name in model.columns}
    others = [name for name in names if name not in known]
    source = model.given.get("data") if data is None else data
    if not others:
        return known, ""
    if source is None:
        return known, "the formula transforms it, and this fit does not hold its data any more"
    table = Table(source)
    rows = _rows_of(model, table)
    if rows is None:
        if data is not None:
            raise ArgumentError(
                f"data has {table.n} rows, but not each of the {len(model.rows)} rows of the model "
                f"once; pass the table that the model was fitted to"
            )
        return known, "the rows of the data have no unique labels, and some were left out"
    for name in others:
        if name in table:
            column = table.column(name).take(rows)
            known[name] = as_factor(column, name) if _is_text(column) else column
    return known, "the data have no such column"


def _columns_of_sums(
    fit: Fit, model: Model, names: tuple[str, ...], table: Table
) -> dict[str, Column]:
    """Return columns of the table that was summed up, on the rows that the model used.

    Raises
    ------
    ArgumentError
        If another number of its rows is complete than the model has.
    """
    complete = np.ones(table.n, dtype=bool)
    specification = model.blueprint.specification
    for name in dict.fromkeys(c for v in specification.variables for c in _columns_in(v.node)):
        missing = table.column(name).missing()
        complete &= True if missing is None else ~missing
    rows = np.flatnonzero(complete)
    if len(rows) != fit.n_obs:
        raise ArgumentError(
            f"data has {len(rows)} complete rows, but the model was fitted to {fit.n_obs}; pass "
            f"the rows that the model was fitted to"
        )
    columns = {name: table.column(name).take(rows) for name in names}
    return {
        name: as_factor(column, name) if _is_text(column) else column
        for name, column in columns.items()
    }


def _is_text(column: Column) -> bool:
    return isinstance(column, Factor) and column.kind == "text"


def _rows_of(model: Model, table: Table) -> np.ndarray | None:
    """Return the positions of the model's rows in a table, or None if they cannot be told."""
    if table.index.equals(model.rows):
        return np.arange(table.n)
    if not table.index.is_unique:
        return None
    rows = table.index.get_indexer(model.rows)
    return rows if (rows >= 0).all() else None


def check_names(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Refuse names that are no predictors.

    Raises
    ------
    ArgumentError
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ArgumentError(
            f"{what} names {', '.join(map(repr, unknown))}, but the variables of the fixed part "
            f"are {', '.join(map(repr, known)) or 'none'}"
        )


def read_names(what: str, names: Any) -> tuple[str, ...]:
    """Return one name, or several, as a tuple.

    Raises
    ------
    ArgumentError
    """
    if names is None:
        return ()
    listed = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) for name in listed) or len(set(listed)) < len(listed):
        raise ArgumentError(f"{what} is {names!r}, but must be one name, or a list of names")
    return tuple(listed)


def read_at(at: Mapping[str, Any] | None, known: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the values asked for, by column.

    Raises
    ------
    ArgumentError
    """
    if at is None:
        return {}
    if not isinstance(at, Mapping):
        raise ArgumentError(f"at is {at!r}, but must be a mapping such as {{'x': [1, 2]}}")
    check_names("at", tuple(at), known)
    read = {name: [v] if np.ndim(v) == 0 else list(v) for name, v in at.items()}
    empty = [name for name, values in read.items() if not values]
    if empty:
        raise ArgumentError(f"at gives no value for {empty[0]!r}; give one or more")
    return read
