"""`collapse_error`: the error for a loop that has lost a direction of random effects."""

from __future__ import annotations

import pandas as pd

from pymackay.errors import CollapseError, PymackayError
from pymackay.infer.gap.effect_roots import combination
from pymackay.infer.gap.forecast import forecast_collapse
from pymackay.infer.gap.loop_report import correlation_path
from pymackay.model.model import Model
from pymackay.solve.loop.collapse import explain_collapse
from pymackay.solve.loop.ends import Collapse
from pymackay.solve.loop.rules.rule import Rule


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
    path = correlation_path(trace, term.name)
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
