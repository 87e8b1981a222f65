"""`shrink`: reduces a model to a small one with the same disagreement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.judge import judge_model
from pymackay.fuzz.outcome import Outcome


def shrink(
    model: FuzzModel,
    verdict: str,
    *,
    judge: Callable[[FuzzModel], Outcome] = judge_model,
    seconds: float = 120.0,
) -> FuzzModel:
    """Remove arguments, terms, rows and columns as long as the verdict stays the same.

    Parameters
    ----------
    model : FuzzModel
    verdict : str
        Verdict of `judge` on the model.
    judge : callable
    seconds : float
        Time limit; then the smallest model so far is returned.
    """
    end = time.monotonic() + seconds

    def disagrees(candidate: FuzzModel) -> bool:
        return judge(candidate).verdict == verdict

    for step in (_simpler, _fewer_rows, _fewer_columns):
        model = _descend(model, step, disagrees, end)
    return model


_Step = Callable[[FuzzModel], Iterator[FuzzModel]]


def _descend(
    model: FuzzModel, step: _Step, disagrees: Callable[[FuzzModel], bool], end: float
) -> FuzzModel:
    """Replace the model by a smaller one that disagrees, until there is none or time is up."""
    while True:
        for candidate in step(model):
            if time.monotonic() > end:
                return model
            if disagrees(candidate):
                model = candidate
                break
        else:
            return model


def _simpler(model: FuzzModel) -> Iterator[FuzzModel]:
    """Yield the model without each of its parts."""
    for name in model.arguments:
        rest = {k: v for k, v in model.arguments.items() if k != name}
        yield replace(model, arguments=rest)
    if len(model.random) > 1:
        for term in model.random:
            yield replace(model, random=tuple(t for t in model.random if t != term))
    if model.fixed != "1":
        yield replace(model, fixed="1")
    if model.response != "y":
        yield replace(model, response="y")


def _fewer_rows(model: FuzzModel) -> Iterator[FuzzModel]:
    """Yield the model without each half, quarter, ... of its rows."""
    n = len(model.data)
    parts = 2
    while parts <= min(n, 64):
        for chosen in np.array_split(np.arange(n), parts):
            kept = np.setdiff1d(np.arange(n), chosen)
            yield replace(model, data=model.data.iloc[kept].reset_index(drop=True))
        parts *= 2


def _fewer_columns(model: FuzzModel) -> Iterator[FuzzModel]:
    for column in model.data.columns:
        data: pd.DataFrame = model.data.drop(columns=column)
        yield replace(model, data=data)
