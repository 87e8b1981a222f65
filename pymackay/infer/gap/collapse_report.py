"""`collapse_error`: the error for a loop that has lost a direction of random effects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pymackay.errors import CollapseError, PymackayError
from pymackay.infer.gap.effect_roots import combination
from pymackay.infer.gap.forecast import forecast_collapse
from pymackay.model.model import Model
from pymackay.solve.loop.boundary import dead_combinations, weakest_direction
from pymackay.solve.loop.collapse import explain_collapse
from pymackay.solve.loop.ends import Collapse
from pymackay.solve.loop.rounds import Round
from pymackay.solve.loop.rules.rule import Rule

_VANISHED = 1e-7  # share of a direction that its data determine, on its way to zero


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


def collapse_error(
    model: Model, collapse: Collapse, trace: pd.DataFrame, rule: Rule
) -> CollapseError:
    """Return the error that `pymackay.mackay` raises for a loop that has lost a direction.

    Parameters
    ----------
    model : Model
    collapse : Collapse
    trace : pandas.DataFrame
        The loop's trace up to the collapse.
    rule : Rule
        The update rule of the loop.
    """
    term = model.terms[collapse.term]
    path = _correlations(trace, term.name)
    reliability = collapse.share / (1.0 - collapse.share)
    explained = explain_collapse(model, collapse.term, collapse.iteration, path, reliability)
    sentences = [
        str(explained),
        f"Direction: {combination(collapse.contrast, term.effects)}.",
        *_forecast(model, rule),
        'To see where it leads, pass on_collapse="return", or "continue".',
    ]
    return CollapseError(
        "\n".join(sentences),
        term=term.name,
        iteration=collapse.iteration,
        correlation=explained.correlation,
        direction=dict(zip(term.effects, collapse.contrast.tolist(), strict=True)),
    )


def _correlations(trace: pd.DataFrame, name: str) -> list[float]:
    """Return the path of the term's correlation of largest absolute value at the end."""
    columns = [c for c in trace if c.startswith(f"{name}.") and c.endswith(".corr")]
    if not columns:
        return []
    last = trace[columns].ffill().iloc[-1].abs().fillna(0.0)
    return trace[columns[int(np.argmax(last))]].dropna().tolist()


def _forecast(model: Model, rule: Rule) -> list[str]:
    """Return lines with the forecast for an empirical rule, if the model can be fitted by REML."""
    if rule.empirical is None:
        return []
    try:
        table = forecast_collapse(model, update=rule)
    except PymackayError:
        return []
    columns = ["term", "direction", "s", "survives", "kept", "error"]
    return ["Forecast, at the REML estimate:", table[columns].to_string(index=False)]
