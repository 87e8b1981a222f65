"""What R answers, as plain JSON-able data, and the `Fit` that it becomes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import RWarning
from pymackay.results import Convergence, Engine, Fit, ModelSummary, TermSummary

Answer = dict[str, Any]


def plain_answer(
    raw: Mapping[str, Any], warnings: tuple[str, ...], messages: tuple[str, ...], n_rows: int
) -> Answer:
    """Return what the R function ``answer`` gave as numbers, strings, lists and dicts.

    Arrays stay arrays. Rows are counted from 0; they are None when all `n_rows` were kept.
    """
    convergence = raw["convergence"]
    model = dict(raw["model"])
    if len(model["rows"]) == n_rows:
        model["rows"] = None
    else:  # R names rows by text once a subset has had missing values
        model["rows"] = np.asarray(model["rows"]).astype(np.int64) - 1
    return {
        "beta": raw["beta"],
        "vcov": raw["vcov"],
        "sigma": float(raw["sigma"][0]),
        "theta": raw["theta"],
        "varcorr": raw["varcorr"],
        "ranef": raw["ranef"],
        "criterion": float(raw["criterion"][0]),
        "fitted": raw["fitted"],
        "residuals": raw["residuals"],
        "singular": bool(raw["singular"][0]),
        "warnings": list(warnings),
        "messages": list(messages),
        "convergence": {
            "converged": bool(convergence["converged"][0]),
            "message": convergence["message"][0],
            "evaluations": int(np.nan_to_num(convergence["evaluations"][0])),
            "optimizer": convergence["optimizer"][0],
            **{name: float(value[0]) for name, value in convergence["shape"].items()},
        },
        "model": {
            **model,
            "response": model["response"][0],
            "terms": [
                [term["name"][0], term["group"][0], list(term["effects"])]
                for term in model["terms"].values()
            ],
            "contrasts": {name: scheme[0] for name, scheme in _dict(model["contrasts"]).items()},
        },
    }


def fit_from_answer(
    answer: Answer,
    *,
    formula: str,
    reml: bool,
    index: pd.Index,
    engine: Engine,
    not_offered: Mapping[str, str] | None = None,
    condvar: Callable[[], dict[str, np.ndarray]] | None = None,
    pev: Callable[[], dict[str, np.ndarray]] | None = None,
    evaluate: Callable[[np.ndarray], Fit] | None = None,
) -> Fit:
    """Return the `Fit` that an answer describes; R's warnings come as `RWarning`.

    Parameters
    ----------
    answer : dict
        From `plain_answer`, or read from a recording.
    formula : str
    reml : bool
    index : pandas.Index
        Labels of all rows of the data, from which those of the kept rows are taken.
    engine : Engine
    not_offered : mapping of str to str, optional
        Quantities that are missing, with the reason.
    condvar, pev, evaluate : callable, optional
        Computed when first asked for; see `Fit`.
    """
    _warn(answer["warnings"])
    model = _model(answer["model"], answer["beta"]["names"], list(answer["varcorr"]), index)
    return Fit(
        formula=formula,
        reml=reml,
        beta=_series(answer["beta"], "beta"),
        vcov=_frame(answer["vcov"], answer["beta"]["names"], answer["beta"]["names"]),
        sigma=answer["sigma"],
        theta=_series(answer["theta"], "theta"),
        varcorr={
            name: _frame(term["covariance"], term["effects"], term["effects"])
            for name, term in answer["varcorr"].items()
        },
        ranef={
            group: _frame(part["values"], model.levels[group], part["effects"])
            for group, part in answer["ranef"].items()
        },
        criterion=answer["criterion"],
        fitted=_rows(answer["fitted"], model.rows, "fitted"),
        residuals=_rows(answer["residuals"], model.rows, "residuals"),
        singular=answer["singular"],
        dropped=tuple(answer["model"]["dropped"]),
        messages=tuple(answer["messages"]) + tuple(answer["warnings"]),
        convergence=_convergence(answer["convergence"]),
        engine=engine,
        model=model,
        not_offered=dict(not_offered or {}),
        condvar_source=condvar,
        pev_source=pev,
        evaluate_source=evaluate,
    )


def _warn(messages: Iterable[str]) -> None:
    """Raise R's warnings as Python's, at the line of the user's code that asked R."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("pymackay."):
        level, frame = level + 1, frame.f_back
    for message in messages:
        warnings.warn(message, RWarning, stacklevel=level)


def _model(
    model: Mapping[str, Any], fixed: list[str], names: list[str], index: pd.Index
) -> ModelSummary:
    """Return the model; `names` are its terms' in VarCorr, which alone are lme4's own."""
    rows = model["rows"]
    return ModelSummary(
        response=model["response"],
        rows=index if rows is None else index[np.asarray(rows, dtype=np.intp)],
        fixed=tuple(fixed),
        terms=tuple(
            TermSummary(name, group, tuple(effects))
            for name, (_, group, effects) in zip(names, model["terms"], strict=True)
        ),
        levels={group: tuple(levels) for group, levels in model["levels"].items()},
        contrasts=dict(model["contrasts"]),
        weights=_optional(model["weights"]),
        offset=_optional(model["offset"]),
    )


def _convergence(raw: Mapping[str, Any]) -> Convergence:
    missing = {
        name: float("nan") for name in ("decrement", "gradient", "curvature") if raw[name] is None
    }
    known = {**raw, **missing}
    return Convergence(
        converged=known["converged"],
        message=f"{known['optimizer']}: {known['message']}",
        evaluations=known["evaluations"],
        decrement=known["decrement"],
        gradient=known["gradient"],
        curvature=known["curvature"],
    )


def _series(named: Mapping[str, Any], name: str) -> pd.Series:
    values = np.asarray(named["values"], dtype=np.float64)
    return pd.Series(values, index=pd.Index(list(named["names"]), dtype=object), name=name)


def _frame(values: Any, rows: Any, columns: Any) -> pd.DataFrame:
    shape = (len(rows), len(columns))
    return pd.DataFrame(
        np.asarray(values, dtype=np.float64).reshape(shape),
        index=pd.Index(list(rows), dtype=object),
        columns=pd.Index(list(columns), dtype=object),
    )


def _rows(values: Any, rows: pd.Index, name: str) -> pd.Series:
    """Return values by row; what was not recorded is NaN, and `Fit.not_offered` says why."""
    if values is None:
        values = np.full(len(rows), np.nan)
    return pd.Series(np.asarray(values, dtype=np.float64), index=rows, name=name)


def _optional(values: Any) -> np.ndarray | None:
    return None if values is None else np.asarray(values, dtype=np.float64)


def _dict(value: Any) -> dict[str, Any]:
    """Return an R list as a dict: an empty one has no names, and comes as a list."""
    return value if isinstance(value, dict) else {}
