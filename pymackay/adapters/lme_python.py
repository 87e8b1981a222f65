"""Results of the package `lme-python`, whose interactions are spelled its own way."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.context import Context
from pymackay.adapters.naming import renamed
from pymackay.errors import ArgumentError

__all__ = ["convert"]

_Rows = list[tuple[str, str, str, float, float]]


def convert(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``PyLmeFit``; Var(b | y), weights and rows are not among them.

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
        **_terms(covariances),
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
    """Name the coefficients by their columns, where the data can be handed back to the engine."""
    model = context.model
    if model is None or context.data is None or len(model.rows) != len(context.data):
        return list(obj.fixed_names)
    columns = np.asarray(obj.design_matrix(_as_polars(context.data)))
    return renamed(obj.fixed_names, columns, model.fixed, model.X)


def _as_polars(data: pd.DataFrame) -> Any:
    """Return the table as polars holds it: categories as their labels."""
    import polars as pl  # lme-python brings it along

    columns = {}
    for name, column in data.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(str)
        columns[str(name)] = column.tolist()
    return pl.DataFrame(columns)


def _terms(rows: _Rows) -> dict[str, Any]:
    """Return terms and covariances: effects of a group that share a covariance are one term."""
    terms, varcorr = [], {}
    for group in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == group]
        for number, effects in enumerate(_connected(mine)):
            name = group if number == 0 else f"{group}.{number}"
            table = pd.DataFrame(0.0, index=effects, columns=effects)
            for _, first, second, value, _ in mine:
                if first in effects:
                    table.loc[first, second] = table.loc[second, first] = value
            terms.append((name, group, tuple(effects)))
            varcorr[name] = table
    return {"terms": terms, "varcorr": varcorr}


def _connected(rows: _Rows) -> list[list[str]]:
    """Group effects by the covariances that are given between them."""
    sets: list[list[str]] = []
    for _, first, second, _, _ in rows:
        touched = [s for s in sets if first in s or second in s]
        merged = list(dict.fromkeys([*(e for s in touched for e in s), first, second]))
        sets = [s for s in sets if s not in touched] + [merged]
    return sets


def _ranef(rows: Iterable[tuple[str, str, str, float]]) -> dict[str, pd.DataFrame]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for group, level, effect, value in rows:
        found.setdefault(group, {}).setdefault(level, {})[effect] = value
    return {
        group: pd.DataFrame.from_dict(levels, orient="index") for group, levels in found.items()
    }
