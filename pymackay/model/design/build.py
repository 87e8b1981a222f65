"""`build_model`: a formula and a table become the arrays of a linear mixed model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.formula.specification import Specification, specify
from pymackay.model.columns.column import Factor, Numeric
from pymackay.model.columns.table import Table
from pymackay.model.design.blueprint import Blueprint
from pymackay.model.design.fixed_part import FixedPart, build_fixed_part
from pymackay.model.design.frame import Frame, Selection, make_frame
from pymackay.model.design.random_part import RandomPart, build_random_part
from pymackay.model.model import Model

__all__ = ["build_model"]


def build_model(
    formula: str,
    data: pd.DataFrame | Mapping[str, Any],
    *,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
) -> Model:
    """Build the model that a formula describes, as R's lme4 would.

    Parameters
    ----------
    formula : str
        In lme4's language: ``"y ~ x + (x | g)"``. Functions come from a closed list.
    data : pandas.DataFrame or mapping of str to array-like
        Not changed. Strings and booleans are factors, ordered categories are ordered factors.
    weights : str or array-like, shape (rows of data,), optional
        Prior weights, all positive: a column's name, an R expression, or numbers.
    offset : str or array-like, shape (rows of data,), optional
        Known part of the response, added to ``offset(...)`` terms.
    subset : str or array-like of bool, shape (rows of data,), optional
        Rows to use: an R expression such as ``"x > 3 & g != 'a'"``, or booleans.
    contrasts : mapping of str to str or array-like, optional
        For factors of the fixed part: ``"contr.treatment"``, ``"contr.sum"``,
        ``"contr.helmert"``, ``"contr.poly"``, ``"contr.SAS"``, or a matrix with one row for each
        level. As in lme4 they do not touch the left side of a bar.

    Returns
    -------
    Model

    Raises
    ------
    FormulaError
        If the formula does not parse or asks for what the language does not have.
    DataError
        If the data cannot carry the model.
    ArgumentError
        If another argument is wrong.

    Examples
    --------
    >>> import pandas as pd
    >>> from pymackay.model.design.build import build_model
    >>> data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]})
    >>> model = build_model("y ~ 1 + (1 | g)", data)
    >>> model.fixed, model.terms[0].effects, model.factors["g"].levels
    (('(Intercept)',), ('(Intercept)',), ('a', 'b'))
    """
    table = Table(data)
    specification = specify(formula, table.names)
    frame = make_frame(specification, table, Selection(weights, offset, subset))
    y = _response(specification, frame)
    fixed = build_fixed_part(specification.fixed, frame, contrasts, table.names)
    random = build_random_part(specification.bars, frame)
    return Model(
        formula=formula,
        response=specification.response.name,
        y=y,
        X=fixed.X,
        fixed=fixed.names,
        terms=random.terms,
        factors=random.factors,
        rows=frame.rows,
        weights=frame.weights,
        offset=frame.offset,
        dropped=fixed.dropped,
        contrasts=fixed.contrasts,
        messages=(*specification.messages, *frame.messages, *fixed.messages),
        blueprint=_blueprint(specification, frame, fixed, random, offset),
        columns=frame.columns,
        given={
            "data": data,
            "weights": weights,
            "offset": offset,
            "subset": subset,
            "contrasts": contrasts,
        },
    )


def _blueprint(
    specification: Specification, frame: Frame, fixed: FixedPart, random: RandomPart, offset: Any
) -> Blueprint:
    by_expression = isinstance(offset, str)
    return Blueprint(
        specification=specification,
        memory=frame.memory,
        fixed=fixed.side,
        kept=fixed.kept,
        assign=fixed.assign,
        bars=random.bars,
        random=random.sides,
        levels={name: factor.levels for name, factor in random.factors.items()},
        offset=offset if by_expression else None,
        offset_was_array=offset is not None and not by_expression,
    )


def _response(specification: Specification, frame: Frame) -> np.ndarray:
    """Return the response, a fresh array of float64."""
    name = specification.response.name
    column = frame.columns[name]
    if isinstance(column, Factor) and column.kind != "logical":
        kind = "text" if column.kind == "text" else "categories"
        raise DataError(
            f"the response '{name}' holds {kind}, but a linear mixed model needs numbers; convert "
            f"the column, or put another on the left of '~'"
        )
    if isinstance(column, Numeric) and column.values.ndim != 1:
        raise DataError(f"the response '{name}' has several columns, but a model has one response")
    values = column.values if isinstance(column, Numeric) else column.codes
    return np.array(values, dtype=np.float64)
