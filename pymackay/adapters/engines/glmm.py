"""Adapter for the package `glmm`, which uses lme4's names and criterion."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.engine import Context, Engine, defined_in
from pymackay.adapters.general import general_parts
from pymackay.adapters.naming import terms_by_name
from pymackay.errors import ArgumentError
from pymackay.family.family import Observations
from pymackay.family.named import FAMILIES
from pymackay.family.negative_binomial import NegativeBinomial

_FAMILIES = {
    "binomial": "binomial",
    "poisson": "poisson",
    "gamma": "Gamma",
    "negativebinomial": "negative binomial",
    "inversegaussian": "inverse.gaussian",
    "gaussian": "gaussian",
}


def _read(obj: Any, context: Context) -> dict[str, Any]:
    """Return the parts of a ``glmm.Fit``, which has no Var(b | y) and no labels of rows.

    Raises
    ------
    ArgumentError
        If it is not a fit of a mixed model.
    """
    if type(obj).__name__ != "Fit" or not obj.re_groups:
        what = f"a {type(obj).__name__} without random effects"
        raise ArgumentError(f"obj: a fit of a mixed model by glmm is expected, not {what}.")
    names, kept = np.asarray(obj.names, dtype=object), ~np.asarray(obj.aliased, dtype=bool)
    fitted = np.asarray(obj.fitted)
    parts = {
        "engine": "glmm",
        "versions": {"glmm": version("glmm")},
        "formula": obj.formula,
        "reml": bool(obj.reml),
        "beta": pd.Series(np.asarray(obj.beta)[kept], index=names[kept]),
        "vcov": np.asarray(obj.vcov)[np.ix_(kept, kept)],
        "dropped": tuple(names[~kept]),
        "sigma": float(np.sqrt(obj.dispersion)),
        **terms_by_name(
            (group, effects, _unpacked(values, len(effects)))
            for (group, effects), values in zip(obj.re_groups, obj.varcorr, strict=True)
        ),
        "ranef": {
            block["group"]: pd.DataFrame(
                block["values"], index=block["levels"], columns=block["terms"]
            )
            for block in obj.ranef_blocks
        },
        "loglik": float(obj.loglik),
        "weights": obj.weights,
        "offset": obj.offset,
        "singular": bool(obj.singular),
        "converged": bool(obj.converged),
        "messages": [warning["message"] for warning in obj.warnings],
    }
    if obj.family != "gaussian" or obj.link != "identity":
        parts |= {"reml": False, **_general(obj, context, fitted)}
    elif len(fitted):
        parts |= {"fitted": fitted, "residuals": np.asarray(obj.y) - fitted}
    return parts


def _general(obj: Any, context: Context, fitted: np.ndarray) -> dict[str, Any]:
    """Return what only generalised models have; sigma is the root of the dispersion."""
    kind = FAMILIES[_FAMILIES[obj.family]]
    dispersion, shape = float(obj.dispersion), {}
    if kind is NegativeBinomial:
        dispersion, shape = 1.0, {"theta": float(obj.dispersion)}
    family = kind(obj.link, **shape)
    y = np.asarray(obj.y, dtype=np.float64)
    weights = np.ones(len(y)) if obj.weights is None else np.asarray(obj.weights, dtype=np.float64)
    totals = weights if family.name == "binomial" else None
    held = getattr(obj, "dispersion_held", False)
    general = general_parts(
        family,
        Observations.of(y, weights, totals),
        fitted,
        context.model.rows if context.model is not None and context.has_response(y) else None,
        nagq=int(obj.nagq),
        dispersion=dispersion,
        shape_estimated=bool(shape) and not held,
    )
    return {**general, "weights": obj.weights, "sigma": float(np.sqrt(dispersion))}


def _unpacked(values: Any, q: int) -> np.ndarray:
    """Return a covariance matrix (q, q) from its lower triangle, column by column."""
    columns, rows = np.triu_indices(q)
    matrix = np.zeros((q, q))
    matrix[rows, columns] = matrix[columns, rows] = values
    return matrix


def _fit(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    glmm = importlib.import_module("glmm")
    return glmm.fit(data, formula, reml=reml, weights=weights, offset=offset)


ENGINE = Engine("glmm", defined_in("glmm"), _read, _fit)
