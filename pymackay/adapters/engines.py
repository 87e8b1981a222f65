"""`fit_with`: one formula fitted by another package, called the way its own users call it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.model.design.build import build_model
from pymackay.model.model import Model, RandomTerm

__all__ = ["ENGINES", "fit_with"]


def fit_with(
    engine: str,
    formula: str,
    data: pd.DataFrame,
    *,
    reml: bool = True,
    weights: Any = None,
    offset: Any = None,
) -> Any:
    """Return what another package makes of a formula: its own result, for `as_fit`.

    Parameters
    ----------
    engine : str
        One of `ENGINES`.
    formula, data, reml, weights, offset
        As in `pymackay.lmer`.

    Raises
    ------
    ArgumentError
        If the engine is unknown or not installed, or has no way to fit such a model.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit_with("nobody", "y ~ 1 + (1 | g)", pm.load_data("Rail"))
    Traceback (most recent call last):
        ...
    pymackay.errors.ArgumentError: engine: statsmodels, glmm, mixedlm or lme-python ...
    """
    if engine not in ENGINES:
        *first, last = ENGINES
        raise ArgumentError(f"engine: {', '.join(first)} or {last} is expected, not {engine!r}.")
    try:
        return ENGINES[engine](formula, data, reml, weights, offset)
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"engine: {engine} is not installed (no module {error.name}). Run: pip install {engine}"
        ) from None


def _glmm(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    glmm = importlib.import_module("glmm")
    columns = {"weights": _numbers(weights, data), "offset": _numbers(offset, data)}
    return glmm.fit(data, formula, reml=reml, **columns)


def _mixedlm(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    mixedlm = importlib.import_module("mixedlm")
    columns = {"weights": _numbers(weights, data), "offset": _numbers(offset, data)}
    return mixedlm.lmer(formula, data, REML=reml, **columns)


def _lme_python(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    lme_python = importlib.import_module("lme_python")
    polars = importlib.import_module("polars")
    if offset is not None:
        raise ArgumentError("offset: lme-python takes an offset in the formula only.")
    table = polars.DataFrame({str(name): _plain(column) for name, column in data.items()})
    if weights is None:
        return lme_python.lmer(formula, table, reml)
    return lme_python.lmer_weighted(formula, table, reml, _numbers(weights, data).tolist())


def _plain(column: pd.Series) -> list[Any]:
    """Return a column as a list; a category as its label."""
    categorical = isinstance(column.dtype, pd.CategoricalDtype)
    return (column.astype(str) if categorical else column).tolist()


def _numbers(value: Any, data: pd.DataFrame) -> Any:
    if value is None:
        return None
    return np.asarray(data[value] if isinstance(value, str) else value, dtype=np.float64)


def _statsmodels(formula: str, data: pd.DataFrame, reml: bool, weights: Any, offset: Any) -> Any:
    """Hand over our matrices: its formulas have no bars, and its groups are its own."""
    mixed = importlib.import_module("statsmodels.regression.mixed_linear_model")
    if weights is not None or offset is not None:
        raise ArgumentError("weights, offset: statsmodels' MixedLM has neither.")
    model = build_model(formula, data)
    if model.offset is not None:
        raise ArgumentError("formula: statsmodels' MixedLM has no offset.")
    groups, inside, components = _arranged(model)
    X = pd.DataFrame(model.X, columns=list(model.fixed), index=model.rows)
    engine = mixed.MixedLM(
        pd.Series(model.y, index=model.rows, name=model.response),
        X,
        groups,
        exog_re=None if inside is None else inside.columns,
        exog_vc=_specification(mixed, model, groups, components),
    )
    return engine.fit(reml=reml)


def _arranged(model: Model) -> tuple[np.ndarray, RandomTerm | None, list[RandomTerm]]:
    """Return top-level groups, the term whose effects are theirs, and the variance components.

    The groups are those of a factor in which all others are nested; crossed factors are variance
    components of one group that holds all rows.
    """
    top = next((name for name in model.factors if _holds_all(model, name)), None)
    groups = np.zeros(len(model.y), dtype=int) if top is None else model.factors[top].codes
    mine = [term for term in model.terms if term.group == top]
    inside = max(mine, key=lambda term: len(term.effects)) if mine else None
    components = [term for term in model.terms if term is not inside]
    for term in components:
        if len(term.effects) > 1:
            raise ArgumentError(
                f"formula: statsmodels' MixedLM takes correlated effects of one factor only, the "
                f"one that holds all others, and {term.group} is not."
            )
    return groups, inside, components


def _holds_all(model: Model, name: str) -> bool:
    """Whether every level of every factor lies within one level of this factor."""
    top = model.factors[name].codes
    pairs = (np.unique(np.column_stack([f.codes, top]), axis=0) for f in model.factors.values())
    return all(len(np.unique(pair[:, 0])) == len(pair) for pair in pairs)


def _specification(
    mixed: Any, model: Model, groups: np.ndarray, components: list[RandomTerm]
) -> Any:
    """Return the variance components: for each group one column a level, zero elsewhere."""
    if not components:
        return None
    names, columns, matrices = [], [], []
    for position, term in enumerate(components):
        codes, values = model.factors[term.group].codes, term.columns[:, 0]
        here, named = [], []
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            levels = np.unique(codes[rows])
            here.append((codes[rows][:, None] == levels) * values[rows][:, None])
            named.append([model.factors[term.group].levels[level] for level in levels])
        names.append(f"{position} {term.name}")
        matrices.append(here)
        columns.append(named)
    return mixed.VCSpec(names, columns, matrices)


_Fitter = Callable[[str, pd.DataFrame, bool, Any, Any], Any]
ENGINES: dict[str, _Fitter] = {
    "statsmodels": _statsmodels,
    "glmm": _glmm,
    "mixedlm": _mixedlm,
    "lme-python": _lme_python,
}
