"""The table of `lmer_many`: a design read without its response, and the responses on its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError
from pymackay.model.design import build_model
from pymackay.model.expression import all_names
from pymackay.model.formula import parse_formula
from pymackay.model.lexer import tokenize
from pymackay.model.model import Model
from pymackay.model.table import Table

__all__ = ["build_many"]

_ROW = "(row)"  # stands in for the response: the number of the row, so that it tells what is kept
_SHOWN = 5


def build_many(
    formula: str, data: Any, Y: Any, given: Mapping[str, Any]
) -> tuple[Model, np.ndarray, pd.Index]:
    """Build the design of a formula, and take the responses of its rows.

    Returns
    -------
    model : Model
        Its response is the number of each row.
    responses : numpy.ndarray, shape (n, B)
    names : pandas.Index, length B
    """
    table = Table(data)
    text, columns = _without_response(formula, table)
    columns[_ROW] = np.arange(table.n, dtype=np.float64)
    frame = pd.DataFrame(columns, index=table.index) if isinstance(data, pd.DataFrame) else columns
    model = build_model(text, frame, **given)
    values, names = _read_responses(Y, table)
    kept = values[model.y.astype(np.intp)]
    _refuse_missing(kept, names, model)
    return dataclasses.replace(model, formula=formula), kept, names


def _without_response(formula: str, table: Table) -> tuple[str, dict[Any, Any]]:
    """Return the formula with the row's number on the left, and the columns it may use."""
    if not isinstance(formula, str):
        raise ArgumentError(
            f"formula must be text such as 'y ~ x + (x | g)', not a {type(formula).__name__}"
        )
    tilde = next((token.position for token in tokenize(formula) if token.text == "~"), None)
    if tilde is None:
        parse_formula(formula)  # says what is wrong with it
    text = f"`{_ROW}` {formula[tilde:]}"
    columns = {name: table.data[name] for name in table.names}
    if formula[:tilde].strip():
        parsed = parse_formula(formula)
        if "." in all_names(parsed.predictors):  # which stands for all columns but the response
            for name in all_names(parsed.response):
                columns.pop(name, None)
    return text, columns


def _read_responses(Y: Any, table: Table) -> tuple[np.ndarray, pd.Index]:
    """Return the responses of all rows of the table, shape (rows, B), and their names."""
    names: pd.Index | None = None
    if isinstance(Y, pd.DataFrame):
        names = Y.columns
        Y = Y if Y.index.equals(table.index) else _aligned(Y, table.index)
    try:
        values = np.asarray(Y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"Y must be numbers, one column for each response, but is a {type(Y).__name__} of "
            f"something else"
        ) from error
    if values.ndim != 2 or len(values) != table.n or values.shape[1] == 0:
        raise ArgumentError(
            f"Y has shape {values.shape}, but data has {table.n} rows; pass one row for each of "
            f"them and one column for each response (a single response y as y[:, None], responses "
            f"in rows as Y.T)"
        )
    return values, pd.RangeIndex(values.shape[1]) if names is None else names


def _aligned(Y: pd.DataFrame, rows: pd.Index) -> pd.DataFrame:
    """Take the rows of the data out of a table by their labels."""
    if not (Y.index.is_unique and rows.is_unique and rows.isin(Y.index).all()):
        raise ArgumentError(
            f"Y is a table whose index does not hold each of the {len(rows)} rows of data once; "
            f"index it as data, or pass Y.to_numpy() to go by position"
        )
    return Y.loc[rows]


def _refuse_missing(values: np.ndarray, names: pd.Index, model: Model) -> None:
    lost = ~np.isfinite(values)
    if not lost.any():
        return
    columns = np.flatnonzero(lost.any(axis=0))
    some = ", ".join(repr(names[k]) for k in columns[:_SHOWN])
    more = ", ..." if len(columns) > _SHOWN else ""
    raise DataError(
        f"Y is missing or infinite in {np.count_nonzero(lost.any(axis=1))} of the "
        f"{len(model.rows)} rows that the design uses, in {len(columns)} of its {len(names)} "
        f"responses ({some}{more}). All responses share one design: fill the values in, drop these "
        f"rows with subset, or fit these responses with pymackay.lmer, each on its own rows."
    )
