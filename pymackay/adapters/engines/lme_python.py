"""Adapter for the package `lme-python`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.engine import Context, Engine, defined_in
from pymackay.adapters.naming import renamed, terms_by_name
from pymackay.errors import ArgumentError

_Rows = list[tuple[str, str, str, float, float]]


def _read(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``PyLmeFit``, which has no Var(b | y), weights or rows.

    Raises
    ------
    ArgumentError
        If it is not a linear mixed model.
    """
    if getattr(obj, "var_corr", None) is None or obj.family_name not in (None, "gaussian"):
        raise ArgumentError("obj: a linear mixed model of lme-python is expected.")
    names = _fixed_names(obj, context)
    covariances = [row for row in obj.var_corr if row[0] != "Residual"]
    parts = {
        "engine": "lme-python",
        "versions": {"lme-python": version("lme-python")},
        "formula": obj.formula,
        "reml": obj.reml_criterion is not None,
        "beta": pd.Series(obj.coefficients, index=names),
        "sigma": float(np.sqrt(obj.sigma2)),
        **terms_by_name(_terms(covariances)),
        "ranef": _ranef(obj.ranef),
        "loglik": float(obj.log_likelihood),
        "fitted": np.asarray(obj.fitted),
        "residuals": np.asarray(obj.residuals),
        "converged": obj.converged,
    }
    if obj.v_beta_unscaled is not None:
        parts["vcov"] = obj.sigma2 * np.asarray(obj.v_beta_unscaled)
    return parts


def _fixed_names(obj: Any, context: Context) -> list[str]:
    """Return R's names of the coefficients, matched by the columns that the engine builds."""
    model = context.model
    if model is None or context.data is None or len(model.rows) != len(context.data):
        return list(obj.fixed_names)
    columns = np.asarray(obj.design_matrix(_as_polars(context.data)))
    return renamed(obj.fixed_names, columns, model.fixed, model.X)


def _as_polars(data: pd.DataFrame) -> Any:
    """Return the table as a polars data frame, with categories as strings."""
    polars = importlib.import_module("polars")
    return polars.DataFrame(
        {
            str(name): (
                column.astype(str) if isinstance(column.dtype, pd.CategoricalDtype) else column
            ).tolist()
            for name, column in data.items()
        }
    )


def _terms(rows: _Rows) -> Iterator[tuple[str, list[str], pd.DataFrame]]:
    """Yield group, effects and covariance (q, q); correlated effects form one term."""
    for group in dict.fromkeys(row[0] for row in rows):
        of_group = [row for row in rows if row[0] == group]
        for effects in _connected(of_group):
            table = pd.DataFrame(0.0, index=effects, columns=effects)
            for _, first, second, value, _ in of_group:
                if first in effects:
                    table.loc[first, second] = table.loc[second, first] = value
            yield group, effects, table


def _connected(rows: _Rows) -> list[list[str]]:
    """Return the effects in sets between which there are no covariances."""
    sets: list[list[str]] = []
    for _, first, second, _, _ in rows:
        touched = [s for s in sets if first in s or second in s]
        merged = list(dict.fromkeys([*(e for s in touched for e in s), first, second]))
        sets = [s for s in sets if s not in touched] + [merged]
    return sets


def _ranef(rows: Iterable[tuple[str, str, str, float]]) -> dict[str, pd.DataFrame]:
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for group, level, effect, value in rows:
        tables.setdefault(group, {}).setdefault(level, {})[effect] = value
    return {
        group: pd.DataFrame.from_dict(levels, orient="index") for group, levels in tables.items()
    }


def _fit(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    lme_python = importlib.import_module("lme_python")
    if offset is not None:
        raise ArgumentError("offset: lme-python takes an offset in the formula only.")
    table = _as_polars(data)
    if weights is None:
        return lme_python.lmer(formula, table, reml)
    return lme_python.lmer_weighted(formula, table, reml, weights.tolist())


ENGINE = Engine("lme-python", defined_in("lme_python", compiled={"PyLmeFit"}), _read, _fit)
