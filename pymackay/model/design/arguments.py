"""Reading and checking of the arguments `weights`, `offset`, `subset` and `contrasts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.arguments import check_labels
from pymackay.errors import ArgumentError, DataError
from pymackay.formula.functions import near_names
from pymackay.formula.terms import Terms
from pymackay.model.columns.column import Column, Factor
from pymackay.model.columns.table import Table, read_column


@dataclass(frozen=True, eq=False)
class Arguments:
    """What the user gives beside formula and data.

    Attributes
    ----------
    weights, offset : str, array-like or None
        A column's name, an R expression of columns, or one number for each row.
    subset : str, array-like or None
        An R expression, or one truth value for each row.
    contrasts : mapping of str to str or array-like, or None
        For factors of the fixed part.
    double_bar : {"split", "diag"}
        How a double bar of the formula is read.
    known : mapping of str to pandas.DataFrame, or None
        The matrices that `propto` of the formula names.
    residual : str
        Covariance structure of the residuals; empty if they are independent.
    """

    weights: Any = None
    offset: Any = None
    subset: Any = None
    contrasts: Any = None
    double_bar: str = "split"
    known: Any = None
    residual: str = ""


def read_numbers(values: Any, table: Table, what: str) -> np.ndarray:
    """Read `weights` or `offset` given as one number for each row of the data.

    Raises
    ------
    ArgumentError
        If the values are others, or do not go with the rows.
    """
    column = _read_values(values, table, what)
    if isinstance(column, Factor) or column.values.ndim != 1:
        raise ArgumentError(
            f"{what} must be a column's name or one number for each row, not a "
            f"{type(values).__name__} of other values"
        )
    return np.array(column.floats)


def read_truth(values: Any, table: Table) -> np.ndarray:
    """Read `subset` given as one truth value for each row of the data, as a mask.

    Raises
    ------
    ArgumentError
        If the values are others, or do not go with the rows.
    """
    column = _read_values(values, table, "subset")
    if not (isinstance(column, Factor) and column.kind == "logical"):
        raise ArgumentError(
            "subset must be an R expression or one boolean for each row, not values of another kind"
        )
    return column.codes == 1


def _read_values(values: Any, table: Table, what: str) -> Column:
    """Read an array that goes with the rows of the data."""
    if np.ndim(values) != 1:
        raise ArgumentError(
            f"{what} must be a column's name or one value for each row, not {type(values).__name__}"
        )
    if len(values) != table.n:
        raise ArgumentError(f"{what} has {len(values)} values, but the data have {table.n} rows")
    check_labels(values, table.index, what)
    return read_column(values, what)


def check_weights(weights: np.ndarray) -> None:
    """Refuse weights that are not positive.

    Raises
    ------
    DataError
    """
    if not np.all(weights > 0.0):
        bad = int(np.count_nonzero(weights <= 0.0))
        raise DataError(
            f"weights must be positive, but {bad} of {len(weights)} are zero or negative; take "
            f"rows of weight zero out with subset"
        )


def fixed_contrasts(
    schemes: Any, terms: Terms, columns: Mapping[str, Column], known: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Check the argument `contrasts`.

    Parameters
    ----------
    schemes : mapping of str to str or array-like, or None
    terms : Terms
        The fixed part; as in lme4, the argument does not apply to random terms.
    columns : mapping of str to Column
        The frame.
    known : list of str
        Columns of the data.

    Returns
    -------
    tuple
        Contrasts by R's name of the variable, and messages about those that are not used.

    Raises
    ------
    ArgumentError
        If it is no mapping, or names a column that does not exist or holds numbers.
    """
    if schemes is None:
        return {}, []
    if not isinstance(schemes, Mapping):
        raise ArgumentError(
            f"contrasts must be a dict such as {{'f': 'contr.sum'}}, not {type(schemes).__name__}"
        )
    variables = [variable.name for variable in terms.variables[1:]]
    used, messages = {}, []
    for name, scheme in schemes.items():
        if name in variables:
            if not isinstance(columns[name], Factor):
                raise ArgumentError(
                    f"contrasts are given for '{name}', which holds numbers; write factor({name}) "
                    f"in the formula and name the contrasts so, or make the column categorical"
                )
            used[name] = scheme
        elif name in known:
            messages.append(
                f"contrasts of '{name}' are ignored: it is no variable of the fixed part"
            )
        else:
            raise ArgumentError(
                f"contrasts are given for '{name}', which is neither a variable of the fixed part "
                f"nor a column of the data{near_names(str(name), [*variables, *known])}"
            )
    return used, messages
