"""The table of `lmer_many` and `glmer_many`: a design without its response, and the responses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import aligned
from pymackay.errors import ArgumentError, DataError, listed
from pymackay.formula.expression import all_names
from pymackay.formula.lexer import tokenize
from pymackay.formula.parser import parse_formula
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import build_model
from pymackay.model.design.general import build_general
from pymackay.model.design.general_response import GeneralModel
from pymackay.model.model import Model

_ROW = "(row)"  # name of a column of row numbers, which replaces the response: those that are kept


def build_many(
    formula: str, data: Any, Y: Any, given: Mapping[str, Any]
) -> tuple[Model, np.ndarray, pd.Index]:
    """Build the design of a formula, and take the responses of its rows.

    Returns
    -------
    model : Model
        Its response is random noise, which X does not explain; the solver's response is replaced.
    responses : numpy.ndarray, shape (n, B)
    names : pandas.Index, length B
    """
    table = Table(data)
    text, hidden = _without_response(formula)
    model = build_model(text, _numbered(table.data, table.n, hidden), **given)
    kept, names = _kept(Y, table, model, "pymackay.lmer")
    noise = np.random.default_rng(0).standard_normal(len(kept))
    return dataclasses.replace(model, formula=formula, response="Y", y=noise), kept, names


def build_many_general(
    formula: str, data: Any, Y: Any, arguments: Arguments
) -> tuple[GeneralModel, np.ndarray, pd.Index]:
    """Build the design of a generalised model's formula, and take the responses of its rows.

    Returns
    -------
    general : GeneralModel
        Its response holds the rows' prior weights, and numbers of the rows.
    responses : numpy.ndarray, shape (n, B)
    names : pandas.Index, length B
    """
    table = Table(data)
    text, hidden = _without_response(formula)
    numbered = Table(_numbered(table.data, table.n, hidden))
    general = build_general(text, numbered, arguments, "real")
    kept, names = _kept(Y, table, general.model, "pymackay.glmer")
    model = dataclasses.replace(general.model, formula=formula, response="Y")
    return dataclasses.replace(general, model=model), kept, names


def _kept(Y: Any, table: Table, model: Model, single: str) -> tuple[np.ndarray, pd.Index]:
    """Return the responses of the rows that a model of row numbers kept, and their names."""
    values, names = _read_responses(Y, table)
    kept = values[model.y.astype(np.intp)]
    _refuse_missing(kept, names, model, single)
    return kept, names


def _without_response(formula: str) -> tuple[str, set[str]]:
    """Return the formula with the row's number as its response, and the columns to take out.

    Where the formula has a ``.``, these are the columns of the response, which it must not cover.
    """
    if not isinstance(formula, str):
        raise ArgumentError(
            f"formula must be text such as 'y ~ x + (x | g)', not a {type(formula).__name__}"
        )
    tilde = next((token.position for token in tokenize(formula) if token.text == "~"), None)
    if tilde is None:
        parse_formula(formula)  # says what is wrong with it
    text = f"`{_ROW}` {formula[tilde:]}"
    if formula[:tilde].strip():
        parsed = parse_formula(formula)
        if "." in all_names(parsed.predictors):  # which stands for all columns but the response
            return text, set(all_names(parsed.response))
    return text, set()


def _numbered(data: Any, n: int, hidden: set[str]) -> Any:
    """Return the data with the number of each row, and without the columns that are hidden."""
    number = np.arange(n, dtype=np.float64)
    if isinstance(data, pd.DataFrame):
        return data.drop(columns=[name for name in data if name in hidden]).assign(**{_ROW: number})
    return {**{name: data[name] for name in data if name not in hidden}, _ROW: number}


def _read_responses(Y: Any, table: Table) -> tuple[np.ndarray, pd.Index]:
    """Return the responses of all rows of the table, shape (rows, B), and their names."""
    names: pd.Index | None = None
    if isinstance(Y, pd.DataFrame):
        names = Y.columns
        Y = aligned(Y, table.index, "Y", "data")
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


def _refuse_missing(values: np.ndarray, names: pd.Index, model: Model, single: str) -> None:
    lost = ~np.isfinite(values)
    if not lost.any():
        return
    columns = np.flatnonzero(lost.any(axis=0))
    which = listed((repr(names[k]) for k in columns), 5)
    raise DataError(
        f"Y is missing or infinite in {np.count_nonzero(lost.any(axis=1))} of the "
        f"{len(model.rows)} rows that the design uses, in {len(columns)} of its {len(names)} "
        f"responses ({which}). All responses share one design: fill the values in, drop "
        f"these rows with subset, or fit these responses with {single}, each on its own rows."
    )
