"""`residual_rows`: the groups, strata and times that a residual structure is made of.

`new_strata` finds the strata or visits of rows that the model was not fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.covariance.residual.correlation import Ar1, Correlation, Cs, Independent, Ou, Toep
from pymackay.covariance.residual.structure import ResidualStructure, Scaled, Unstructured
from pymackay.errors import DataError, listed
from pymackay.formula.expression import Node, deparse
from pymackay.formula.residual import ResidualCall, factor_parts
from pymackay.formula.terms import make_variable
from pymackay.model.columns.column import Column, Factor, Numeric, number_labels, recode
from pymackay.model.columns.table import Table
from pymackay.model.design.frame import Evaluator, evaluate_variables
from pymackay.model.design.side import Blueprint, group_rows
from pymackay.model.residual_rows import ResidualRows

_MANY_VISITS = 60  # of an unstructured matrix: 1830 parameters


@dataclass(frozen=True, eq=False)
class _Visits:
    """Times and places of visits: `times` (n,), `codes` (n,) places among `levels`."""

    times: np.ndarray
    codes: np.ndarray
    levels: tuple[str, ...]


def residual_rows(call: ResidualCall, columns: Mapping[str, Column], n: int) -> ResidualRows:
    """Return what the residual structure of a model depends on.

    Parameters
    ----------
    call : ResidualCall
    columns : mapping of str to Column
        The variables on the rows of the model, by R's names.
    n : int
        Number of rows.

    Raises
    ------
    DataError
        If a visit occurs twice in a group, times are none, or there is nothing to estimate.
    """
    strata = np.zeros(n, dtype=np.intp)
    levels: tuple[str, ...] = ("",)
    if call.strata is not None:
        factor = _factor(call.strata, columns)
        strata, levels = factor.codes.astype(np.intp), factor.levels
        if len(levels) < 2:
            raise DataError(
                f"residual: varident({deparse(call.strata)}) needs two strata or more, but the "
                f"rows that are used have the only value {levels[0]!r}; leave it out"
            )
    if not call.name or call.group is None:
        alone = np.arange(n)
        structure: ResidualStructure = Scaled(levels, Independent(), "varident")
        times = np.zeros(n)
        return ResidualRows(call.text, "varident", structure, alone, "", n, strata, times, ())
    group = _factor(call.group, columns)
    visits = _visits(call, columns, group)
    _refuse_repeated(call, group, visits)
    _refuse_single(call, group)
    if not call.hom:
        strata, levels = visits.codes, visits.levels
    if call.name == "us":
        _refuse_many(call, visits)
        structure = Unstructured(visits.levels)
    else:
        correlation = _correlation(call, group, visits)
        prefix = "sd" if call.strata is None else "varident"
        structure = Scaled(levels, correlation, prefix)
    times = visits.codes.astype(np.float64) if call.name in ("us", "diag") else visits.times
    return ResidualRows(
        text=call.text,
        tag=call.name,
        structure=structure,
        groups=group.codes.astype(np.intp),
        group=deparse(call.group),
        n_groups=len(group.levels),
        strata=strata,
        times=times,
        visits=visits.levels,
    )


def new_strata(rows: ResidualRows, blueprint: Blueprint, newdata: Any) -> np.ndarray:
    """Return the place of each new row's stratum or visit among those of a model, (m,).

    It is -1 where the value is missing, and 0 for all rows where they have one variance.

    Parameters
    ----------
    rows : ResidualRows
        Of the model.
    blueprint : Blueprint
    newdata : pandas.DataFrame or mapping of str to array-like

    Raises
    ------
    DataError
        If a column is missing, or has a value that the model was not fitted to.
    """
    table, call, levels = Table(newdata), blueprint.specification.residual, rows.structure.levels
    node = None if call is None else call.strata or call.visit
    if len(levels) == 1 or node is None:
        return np.zeros(table.n, dtype=np.intp)
    evaluator = Evaluator(rows.text, table, dict(blueprint.memory), is_new=True)
    columns = evaluate_variables(evaluator, [make_variable(part) for part in factor_parts(node)])
    codes, unseen = recode(_factor(node, columns), levels)
    if unseen:
        raise DataError(
            f"newdata have values of {deparse(node)} that the model was not fitted to: "
            f"{listed(unseen)}; their residual variance is not known, only that of "
            f"{listed(levels)}; leave these rows out, or ask for interval='confidence'"
        )
    return np.asarray(codes, dtype=np.intp)


def _factor(node: Node, columns: Mapping[str, Column]) -> Factor:
    return group_rows(node, columns, deparse(node))


def _visits(call: ResidualCall, columns: Mapping[str, Column], group: Factor) -> _Visits:
    """Return the visits of the rows; without a variable, the place of a row in its group."""
    if call.visit is None:
        order = np.argsort(group.codes, kind="stable")
        starts = np.searchsorted(group.codes[order], np.arange(len(group.levels)))
        place = np.empty(len(order), dtype=np.intp)
        place[order] = np.arange(len(order)) - starts[group.codes[order]]
        levels = tuple(str(k + 1) for k in range(int(place.max()) + 1))
        return _Visits(place.astype(np.float64), place, levels)
    name, among = deparse(call.visit), "" if call.group is None else deparse(call.group)
    column = columns.get(name)
    if isinstance(column, Numeric) and column.values.ndim == 1:
        values, codes = np.unique(column.floats, return_inverse=True)
        labels = tuple(number_labels(values, column.integer))
        if call.name == "ar1" and not column.is_whole:
            raise DataError(
                f"residual: ar1({name} | {among}) needs whole numbers as times, but '{name}' has "
                f"others; write ou({name} | {among}) for any times, or number the visits"
            )
        return _Visits(column.floats, codes.astype(np.intp), labels)
    factor = _factor(call.visit, columns)
    if call.name == "ou":
        times = _level_times(name, factor)
        order = np.argsort(times)
        places = np.argsort(order)[factor.codes]
        return _Visits(times[factor.codes], places, tuple(factor.levels[i] for i in order))
    return _Visits(factor.codes.astype(np.float64), factor.codes.astype(np.intp), factor.levels)


def _level_times(name: str, factor: Factor) -> np.ndarray:
    """Return the times that the levels of a factor name, (q,)."""
    try:
        return np.array([float(level) for level in factor.levels])
    except ValueError:
        raise DataError(
            f"residual: ou() needs times, but '{name}' has the levels {listed(factor.levels, 5)}; "
            f"give a column of numbers, or write ar1({name} | g), where levels are one step apart"
        ) from None


def _refuse_repeated(call: ResidualCall, group: Factor, visits: _Visits) -> None:
    """Refuse two rows of one group at the same time."""
    cells = group.codes.astype(np.int64) * len(visits.levels) + visits.codes
    values, counts = np.unique(cells, return_counts=True)
    if counts.max(initial=0) < 2 or call.visit is None or call.group is None:
        return
    cell = int(values[np.argmax(counts)])
    level, visit = divmod(cell, len(visits.levels))
    raise DataError(
        f"residual: {deparse(call.group)} {group.levels[level]!r} has {int(counts.max())} rows "
        f"with {deparse(call.visit)} = {visits.levels[visit]}, but {call.name}() needs one row "
        f"for each of them; leave rows out, or make the group finer, as in "
        f"{call.name}({deparse(call.visit)} | {deparse(call.group)}:h)"
    )


def _refuse_single(call: ResidualCall, group: Factor) -> None:
    """Refuse groups of one row each: they tell nothing of a correlation."""
    if len(group.levels) == len(group.codes) and call.name != "diag" and call.group is not None:
        raise DataError(
            f"residual: each row is its own group of {deparse(call.group)}, so that {call.name}() "
            f"has no correlation to estimate; name the column that groups the rows"
        )


def _refuse_many(call: ResidualCall, visits: _Visits) -> None:
    """Refuse an unstructured matrix of very many visits."""
    q = len(visits.levels)
    if q > _MANY_VISITS:
        raise DataError(
            f"residual: {call.text!r} has {q} visits and so {q * (q + 1) // 2:,} variances and "
            f"covariances; write ar1(), toep() or ou() in place of us()"
        )


def _correlation(call: ResidualCall, group: Factor, visits: _Visits) -> Correlation:
    """Return the family of correlations of a structure."""
    if call.name == "diag":
        return Independent()
    if call.name == "cs":
        return Cs(int(np.bincount(group.codes).max()))
    lags = _lags(group.codes, visits.times)
    if call.name == "ar1":
        return Ar1(bool((lags % 2.0 == 0.0).all()))
    return Ou(float(np.median(lags))) if call.name == "ou" else Toep(tuple(lags.tolist()))


def _lags(codes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the distinct lags between rows of the same group, ascending, (r,)."""
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    lags: set[float] = set()
    for step in range(1, int(np.bincount(codes).max())):
        same = codes[step:] == codes[:-step]
        lags.update(np.unique((times[step:] - times[:-step])[same]).tolist())
    return np.array(sorted(lags))
