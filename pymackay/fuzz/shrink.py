"""`shrink`: the smallest model found that still shows the same disagreement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.judge import Outcome, judge_model


def shrink(
    model: FuzzModel,
    verdict: str,
    *,
    judge: Callable[[FuzzModel], Outcome] = judge_model,
    seconds: float = 120.0,
) -> FuzzModel:
    """Drop arguments, terms, rows and columns while the verdict stays.

    Parameters
    ----------
    model : FuzzModel
    verdict : str
        What `judge` says of it.
    judge : callable
    seconds : float
        When to be content with what has been reached.
    """
    end = time.monotonic() + seconds

    def still(candidate: FuzzModel) -> bool:
        return judge(candidate).verdict == verdict

    for step in (_simpler, _fewer_rows, _fewer_columns):
        model = _descend(model, step, still, end)
    return model


_Step = Callable[[FuzzModel], Iterator[FuzzModel]]


def _descend(
    model: FuzzModel, step: _Step, still: Callable[[FuzzModel], bool], end: float
) -> FuzzModel:
    """Take the first smaller model that passes, until none does or time is up."""
    while True:
        for candidate in step(model):
            if time.monotonic() > end:
                return model
            if still(candidate):
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
