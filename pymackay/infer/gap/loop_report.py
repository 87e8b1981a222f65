"""What a loop's fit says of directions without variance, and the error for generalised models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import CollapseError
from pymackay.infer.gap.effect_roots import combination
from pymackay.model.model import Model
from pymackay.solve.loop.boundary import dead_combinations, weakest_direction
from pymackay.solve.loop.ends import Collapse
from pymackay.solve.loop.rounds import Round
from pymackay.solve.loop.run import LoopEnd, Settings

_VANISHED = 1e-7  # share of a direction that its data determine, on its way to zero


def loop_messages(model: Model, end: LoopEnd[Any], settings: Settings) -> tuple[str, ...]:
    """Return what a loop's fit has to say of directions without variance."""
    if end.collapse is not None:
        return (describe_collapse(model, end.collapse),)
    return boundary_messages(end.round) if settings.rule.likelihood else ()


def boundary_messages(last: Round) -> tuple[str, ...]:
    """Return messages that name the variances which a loop has set to zero or is driving there."""
    messages = []
    for term in last.terms:
        dead, weakest = dead_combinations(term), weakest_direction(term)
        if dead.shape[1] == len(term.labels):
            messages.append(f"{term.name}: every variance is estimated as zero")
        elif dead.size:
            named = "; ".join(combination(weights, term.labels) for weights in dead.T)
            messages.append(
                f"{term.name}: the covariance matrix is singular, no variance of {named}"
            )
        if weakest is not None and weakest.share < _VANISHED:
            named = combination(weakest.contrast, term.labels)
            messages.append(f"{term.name}: the variance of {named} is going to zero")
    return tuple(messages)


def describe_collapse(model: Model, collapse: Collapse) -> str:
    """Return a sentence that names the direction lost, and the iteration."""
    term = model.terms[collapse.term]
    return (
        f"the loop lost a direction of {term.name!r} in iteration {collapse.iteration}: "
        f"{combination(collapse.contrast, term.effects)} varies no more"
    )


def general_collapse_error(model: Model, collapse: Collapse, trace: pd.DataFrame) -> CollapseError:
    """Return the error for a loop on a generalised model that has lost a direction."""
    term = model.terms[collapse.term]
    path = correlation_path(trace, term.name)
    reliability = collapse.share / (1.0 - collapse.share)
    return CollapseError(
        f"MacKay's literal loop collapsed in iteration {collapse.iteration}: the variance of a "
        f"direction of {term.name!r} has fallen to {reliability:.1g} of its sampling variance.\n"
        f"Direction: {combination(collapse.contrast, term.effects)}.\n"
        f"Why: the rule sets variances from predicted effects alone, without their error "
        f"variances, so that a direction whose data are weak is shrunk in every round.\n"
        f"Cure: use MacKay's own divisor, pymackay.mackay(..., family=..., update='gamma'), with "
        f"effects='mean' to end at the estimate of pymackay.glmer.\n"
        f'To see where the loop leads, pass on_collapse="return", or "continue".',
        term=term.name,
        iteration=collapse.iteration,
        correlation=path[-1] if path else float("nan"),
        direction=dict(zip(term.effects, collapse.contrast.tolist(), strict=True)),
    )


def correlation_path(trace: pd.DataFrame, name: str) -> list[float]:
    """Return the path of the term's correlation of largest absolute value at the end."""
    columns = [c for c in trace if c.startswith(f"{name}.") and c.endswith(".corr")]
    if not columns:
        return []
    last = trace[columns].ffill().iloc[-1].abs().fillna(0.0)
    return trace[columns[int(np.argmax(last))]].dropna().tolist()
