"""`build_model`: a formula and a table become the arrays of a linear mixed model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.model.bars import Bar
from pymackay.model.blueprint import Blueprint, SideBlueprint
from pymackay.model.coding import choose_contrasts, contrast_labels, fixed_contrasts
from pymackay.model.columns import Column, Factor, Numeric
from pymackay.model.expression import Name
from pymackay.model.factors import as_factor
from pymackay.model.frame import Frame, Selection, make_frame
from pymackay.model.grouping import check_levels, make_grouping_factor
from pymackay.model.matrix import Design, make_design
from pymackay.model.model import GroupingFactor, Model, RandomTerm
from pymackay.model.rank import independent_columns
from pymackay.model.rtext import make_names, make_unique
from pymackay.model.specification import Specification, specify
from pymackay.model.table import Table
from pymackay.model.terms import Terms

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
    >>> from pymackay.model.design import build_model
    >>> data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a", "b", "b"]})
    >>> model = build_model("y ~ 1 + (1 | g)", data)
    >>> model.fixed, model.terms[0].effects, model.factors["g"].levels
    (('(Intercept)',), ('(Intercept)',), ('a', 'b'))
    """
    table = Table(data)
    specification = specify(formula, table.names)
    frame = make_frame(specification, table, Selection(weights, offset, subset))
    y = _response(specification, frame)
    wanted, notes = fixed_contrasts(contrasts, specification.fixed, frame.columns, table.names)
    fixed, fixed_side = _fixed_part(specification.fixed, frame, wanted)
    kept = independent_columns(fixed.values)
    X, names, dropped = _keep(fixed, kept)
    _check_size(X, frame.n)
    terms, factors, bars, sides = _random_part(specification, frame)
    messages = (*specification.messages, *frame.messages, *notes, *_rank_message(dropped))
    return Model(
        formula=formula,
        response=specification.response.name,
        y=y,
        X=X,
        fixed=names,
        terms=terms,
        factors=factors,
        rows=frame.rows,
        weights=frame.weights,
        offset=frame.offset,
        dropped=dropped,
        contrasts=contrast_labels(specification.fixed, frame.columns, fixed_side.contrasts),
        messages=messages,
        blueprint=Blueprint(
            specification=specification,
            memory=frame.memory,
            fixed=fixed_side,
            kept=kept,
            assign=fixed.assign[kept],
            bars=bars,
            random=sides,
            levels={name: factor.levels for name, factor in factors.items()},
            offset=offset if isinstance(offset, str) else None,
            offset_was_array=offset is not None and not isinstance(offset, str),
        ),
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


def _fixed_part(
    terms: Terms, frame: Frame, wanted: Mapping[str, Any]
) -> tuple[Design, SideBlueprint]:
    chosen = choose_contrasts(terms, frame.columns, wanted, frame.n)
    side = SideBlueprint(terms, chosen, _levels(terms, frame.columns))
    return make_design(terms, frame.columns, chosen, frame.n), side


def _levels(terms: Terms, columns: Mapping[str, Column]) -> dict[str, tuple[str, ...]]:
    """Return the levels of the factors that enter some term."""
    used = dict.fromkeys(i for term in terms.terms for i in term.variables)
    found = {terms.variables[i].name: columns[terms.variables[i].name] for i in used}
    return {name: c.levels for name, c in found.items() if isinstance(c, Factor)}


def _keep(fixed: Design, kept: np.ndarray) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Split the fixed design into the columns kept, their names, and the names of the others."""
    if len(kept) == len(fixed.names):
        return fixed.values, fixed.names, ()
    inside = set(kept.tolist())
    names = tuple(fixed.names[j] for j in kept)
    dropped = tuple(name for j, name in enumerate(fixed.names) if j not in inside)
    return np.asfortranarray(fixed.values[:, kept]), names, dropped


def _rank_message(dropped: tuple[str, ...]) -> tuple[str, ...]:
    if not dropped:
        return ()
    what = "column / coefficient" if len(dropped) == 1 else "columns / coefficients"
    return (
        f"fixed-effect model matrix is rank deficient so dropping {len(dropped)} {what}: "
        f"{', '.join(dropped)}",
    )


def _check_size(X: np.ndarray, n: int) -> None:
    if X.shape[1] >= n:
        raise DataError(
            f"the fixed part has {X.shape[1]} columns for {n} rows, so that nothing is left for "
            f"the residual; take terms out of the formula"
        )


def _random_part(
    specification: Specification, frame: Frame
) -> tuple[
    tuple[RandomTerm, ...], dict[str, GroupingFactor], tuple[Bar, ...], tuple[SideBlueprint, ...]
]:
    """Build the random terms, in lme4's order and with its names."""
    made: dict[str, GroupingFactor] = {}
    built = []
    for bar in specification.bars:
        if bar.group_name not in made:
            made[bar.group_name] = make_grouping_factor(bar, frame.columns)
        factor = made[bar.group_name]
        design, side = _effects(bar, frame)
        check_levels(factor, len(design.names), bar.text, frame.n)
        built.append((bar, design, side))
    built = [built[i] for i in _lme4_order([len(made[b.group_name].levels) for b, _, _ in built])]
    groups = [bar.group_name for bar, _, _ in built]
    names = groups if len(set(groups)) == len(groups) else make_unique(make_names(groups))
    terms = tuple(
        RandomTerm(name, bar.group_name, design.names, design.values)
        for name, (bar, design, _) in zip(names, built, strict=True)
    )
    factors = {name: made[name] for name in dict.fromkeys(groups)}
    bars, _, sides = zip(*built, strict=True)
    return terms, factors, bars, sides


def _effects(bar: Bar, frame: Frame) -> tuple[Design, SideBlueprint]:
    """Make the columns of a random term; a column that also groups counts as a factor."""
    columns = dict(frame.columns)
    for variable in bar.effects.variables:
        if isinstance(variable.node, Name) and variable.name in bar.group_columns:
            columns[variable.name] = as_factor(columns[variable.name], variable.name)
    chosen = choose_contrasts(bar.effects, columns, {}, frame.n)
    side = SideBlueprint(bar.effects, chosen, _levels(bar.effects, columns))
    return make_design(bar.effects, columns, chosen, frame.n), side


def _lme4_order(levels: list[int]) -> list[int]:
    """Order terms by falling number of levels, as lme4: if it must sort, ties are turned round."""
    places = list(range(len(levels)))
    if all(a >= b for a, b in pairwise(levels)):
        return places
    return sorted(places, key=levels.__getitem__)[::-1]
