"""R's answer as data that JSON can hold (`plain_answer`), and as a `Fit` (`fit_from_answer`)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymackay.errors import RWarning
from pymackay.reference.structures import double_bar_message
from pymackay.results import Convergence, Engine, Fit, GroupTables, ModelSummary, TermSummary

if TYPE_CHECKING:
    from pymackay.family.family import Observations
    from pymackay.family.general import General

Answer = dict[str, Any]


def plain_answer(
    raw: Mapping[str, Any], warnings: tuple[str, ...], messages: tuple[str, ...], n_rows: int
) -> Answer:
    """Convert the value of the R function ``answer`` to numbers, strings, lists and dicts.

    Arrays stay arrays. Row numbers start at 0; they are None if all `n_rows` were kept.
    """
    convergence = raw["convergence"]
    model = dict(raw["model"])
    structures = [
        [one["name"][0], bool(one["hom"][0])] for one in _list(model.pop("structures", None))
    ]
    general = {"general": _plain_general(raw)} if "family" in raw else {}
    if len(model["rows"]) == n_rows:
        model["rows"] = None
    else:  # row names are text if the subset expression had missing values
        model["rows"] = np.asarray(model["rows"]).astype(np.int64) - 1
    if any(name != "us" for name, _ in structures):  # lme4 2's parameters differ from theta
        model["structures"] = structures
    return {
        "beta": raw["beta"],
        "vcov": raw["vcov"],
        "sigma": float(raw["sigma"][0]),
        "theta": raw["theta"],
        **({"par": raw["par"]} if "structures" in model else {}),
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
        **general,
    }


def _plain_general(raw: Mapping[str, Any]) -> Answer:
    """Convert what only a fit by ``glmer`` has."""
    numbers = ("lme4_criterion", "dispersion", "deviance")
    return {
        "family": raw["family"][0],
        "link": raw["link"][0],
        "nagq": int(raw["nagq"][0]),
        "shape": None if raw["shape"] is None else float(raw["shape"][0]),
        "shape_estimated": bool(raw["shape_estimated"][0]),
        **{name: raw[name] for name in ("linear_predictor", "y", "totals")},
        **{name: float(raw[name][0]) for name in numbers},
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
    """Return the `Fit` for an answer, and issue R's warnings as `RWarning`.

    Parameters
    ----------
    answer : dict
        The value of `plain_answer`, or the content of a recording.
    formula : str
    reml : bool
    index : pandas.Index
        Labels of all rows of the data, including those that the model leaves out.
    engine : Engine
    not_offered : mapping of str to str, optional
        Name of each missing quantity and the reason.
    condvar, pev, evaluate : callable, optional
        Functions that compute these when they are first used; see `Fit`.
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
        free_par=_series(answer["par"], "par") if "par" in answer else None,
        varcorr=GroupTables(
            (name, _frame(term["covariance"], term["effects"], term["effects"]))
            for name, term in answer["varcorr"].items()
        ),
        ranef=GroupTables(
            (group, _frame(part["values"], model.levels[group], part["effects"]))
            for group, part in answer["ranef"].items()
        ),
        criterion=answer["criterion"],
        fitted=_rows(answer["fitted"], model.rows, "fitted"),
        residuals=_rows(answer["residuals"], model.rows, "residuals"),
        singular=answer["singular"],
        dropped=tuple(answer["model"]["dropped"]),
        messages=(
            *answer["messages"],
            *answer["warnings"],
            *double_bar_message(formula, engine.versions),
        ),
        convergence=_convergence(answer["convergence"]),
        engine=engine,
        model=model,
        not_offered=dict(not_offered or {}),
        condvar_source=condvar,
        pev_source=pev,
        evaluate_source=evaluate,
        general=_general(answer["general"], model) if answer.get("general") else None,
    )


def _general(raw: Mapping[str, Any], model: ModelSummary) -> General:
    """Return what only a fit by ``glmer`` has; lme4's determinant has expected weights."""
    # here, because families load SciPy, which recordings of linear models do without
    from pymackay.family.general import General
    from pymackay.family.named import FAMILIES

    kind = FAMILIES[raw["family"]]
    shape = float("nan") if raw["shape"] is None else raw["shape"]
    theta = {} if raw["shape"] is None else {"theta": shape}
    return General(
        family=kind(link=raw["link"], **theta),
        nagq=raw["nagq"],
        determinant="expected",
        dispersion=raw["dispersion"],
        dispersion_by="lme4" if kind.has_dispersion else "",
        shape=shape,
        shape_estimated=raw["shape_estimated"],
        linear_predictor=_rows(raw["linear_predictor"], model.rows, "linear_predictor"),
        deviance=raw["deviance"],
        lme4_criterion=raw["lme4_criterion"],
        observed=_observed(_optional(raw["y"]), _optional(raw["totals"]), model.weights),
    )


def _observed(
    y: np.ndarray | None, totals: np.ndarray | None, weights: np.ndarray | None
) -> Observations | None:
    """Return the response with numbers of trials as R's binomial constant takes them, each (n,)."""
    from pymackay.family.family import Observations

    if y is None or totals is None or weights is None:
        return None
    return Observations(y, weights, totals if (totals > 1.0).any() else weights)


def _warn(messages: Iterable[str]) -> None:
    """Issue R's warnings as Python warnings that point at the user's line of code."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("pymackay."):
        level, frame = level + 1, frame.f_back
    for message in messages:
        warnings.warn(message, RWarning, stacklevel=level)


def _model(
    model: Mapping[str, Any], fixed: list[str], names: list[str], index: pd.Index
) -> ModelSummary:
    """Return the model summary; `names` are the names of its terms in lme4's VarCorr."""
    rows = model["rows"]
    structures = model.get("structures") or [("us", False)] * len(names)
    return ModelSummary(
        response=model["response"],
        rows=index if rows is None else index[np.asarray(rows, dtype=np.intp)],
        fixed=tuple(fixed),
        terms=tuple(
            TermSummary(name, group, tuple(effects), "" if structure == "us" else structure, hom)
            for name, (_, group, effects), (structure, hom) in zip(
                names, model["terms"], structures, strict=True
            )
        ),
        levels={group: tuple(levels) for group, levels in model["levels"].items()},
        contrasts=dict(model["contrasts"]),
        weights=_optional(model["weights"]),
        offset=_optional(model["offset"]),
    )


def _convergence(raw: Mapping[str, Any]) -> Convergence:
    """Return the state of lme4's optimiser; what lme4 did not compute is NaN."""
    decrement, gradient, curvature = (
        float("nan") if raw[name] is None else raw[name]
        for name in ("decrement", "gradient", "curvature")
    )
    return Convergence(
        converged=raw["converged"],
        message=f"{raw['optimizer']}: {raw['message']}",
        evaluations=raw["evaluations"],
        decrement=decrement,
        gradient=gradient,
        curvature=curvature,
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
    """Return values indexed by row, shape (n,); NaN if they were not recorded."""
    if values is None:
        values = np.full(len(rows), np.nan)
    return pd.Series(np.asarray(values, dtype=np.float64), index=rows, name=name)


def _optional(values: Any) -> np.ndarray | None:
    return None if values is None else np.asarray(values, dtype=np.float64)


def _list(value: Any) -> list[Any]:
    """Return an R list, which arrives as a dict if it has names, as a list; NULL is empty."""
    return list(value.values() if isinstance(value, dict) else value or ())


def _dict(value: Any) -> dict[str, Any]:
    """Return an R list as a dict; an empty R list, which has no names, arrives as a list."""
    return value if isinstance(value, dict) else {}
