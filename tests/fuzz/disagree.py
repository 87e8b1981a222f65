"""Does a model get two answers? Ours against live lme4, and against the dense oracle."""

from __future__ import annotations

import traceback
import warnings

import numpy as np
import pandas as pd
from oracle import dense_criterion

import pymackay as pm
from fuzz.generate import FuzzModel
from pymackay.model.design import build_model

__all__ = ["Agreement", "disagreement"]

Agreement = str  # a verdict, or "both refuse"


def disagreement(model: FuzzModel) -> tuple[str, str]:
    """Fit `model` twice.

    Returns
    -------
    verdict : str
        `pymackay.compare`'s word, ``"both refuse"``, or what went wrong.
    report : str
        Empty where the engines agree.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ours = _attempt(pm.lmer, model)
            theirs = _attempt(pm.lme4.lmer, model, source="live")
            return _judge(ours, theirs, model)
        except Exception as error:  # a crash is a finding, not the end of the run
            where = traceback.extract_tb(error.__traceback__)[-1]
            return "crash", f"{error!r} at {where.filename.split('/')[-1]}:{where.lineno}"


def _attempt(engine, model: FuzzModel, **more):  # type: ignore[no-untyped-def]
    try:
        return engine(model.formula, model.data, reml=model.reml, **model.arguments, **more)
    except pm.PymackayError as error:
        return error


def _judge(ours: object, theirs: object, model: FuzzModel) -> tuple[str, str]:
    refused = [isinstance(answer, pm.PymackayError) for answer in (ours, theirs)]
    if all(refused):
        return "both refuse", ""
    if any(refused):
        who = "ours refuses" if refused[0] else "lme4 refuses"
        return who, f"{who}: {ours if refused[0] else theirs}"
    assert isinstance(ours, pm.Fit)
    assert isinstance(theirs, pm.Fit)
    wrong = _against_oracle(ours, model)
    if wrong:
        return "oracle", wrong
    if not np.isfinite(theirs.criterion):
        return "lme4 gives no number", ""
    comparison = pm.compare(ours, theirs)
    if comparison.ok:
        return comparison.verdict, ""
    tight = _attempt(pm.lme4.lmer, model, source="live", tight=True)
    if isinstance(tight, pm.Fit):
        comparison = pm.compare(ours, tight)
        if comparison.ok:
            return f"{comparison.verdict} (tightened)", ""
    return comparison.verdict, str(comparison)


def _against_oracle(fit: pm.Fit, model: FuzzModel) -> str:
    built = build_model(model.formula, model.data, **model.arguments)
    dense = dense_criterion(built, fit.theta.to_numpy(), model.reml)
    off = abs(fit.criterion - dense) / max(1.0, abs(dense))
    if off < 1e-6 or not np.isfinite(dense):
        return ""
    return f"criterion {fit.criterion!r}, dense {dense!r}"


def shrink(model: FuzzModel, verdict: str) -> FuzzModel:
    """Drop rows and columns while the same verdict stays."""
    data = model.data
    for share in (2, 4, 8, 16):
        for part in range(share):
            rows = np.arange(len(data)) % share != part
            smaller = _with(model, data[rows].reset_index(drop=True))
            if disagreement(smaller)[0] == verdict:
                data = smaller.data
                break
    for column in list(data.columns):
        smaller = _with(model, data.drop(columns=column))
        if disagreement(smaller)[0] == verdict:
            data = smaller.data
    return _with(model, data)


def _with(model: FuzzModel, data: pd.DataFrame) -> FuzzModel:
    return FuzzModel(model.seed, model.formula, data, model.reml, model.arguments)
