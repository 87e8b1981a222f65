"""`build_general`: a formula and a table become the arrays of a generalised linear mixed model."""

from __future__ import annotations

import warnings
from dataclasses import replace

from pymackay.errors import PymackayWarning
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import build_parts, specify_columns
from pymackay.model.design.frame import make_frame
from pymackay.model.design.general_response import (
    GeneralModel,
    Support,
    check_prior_weights,
    read_response,
)


def build_general(
    formula: str, table: Table, arguments: Arguments, support: Support, family: str | None = None
) -> GeneralModel:
    """Build the model that a formula describes, as ``glmer`` of lme4 would.

    In contrast to `build_model`, rows may have weight zero, and there may be as many random
    effects, and as many fixed ones, as rows.

    Parameters
    ----------
    formula : str
        In lme4's language; ``cbind(successes, failures)`` may be its left side.
    table : Table
    arguments : Arguments
        Weights (for proportions the numbers of trials), offset, subset, contrasts.
    support : {"binomial", "count", "positive", "real"}
        What the family's response may be.
    family : str, optional
        Name of the family, for messages.

    Raises
    ------
    FormulaError
        If the formula does not parse or asks for what the language does not have.
    DataError
        If the data cannot carry the model.
    ArgumentError
        If another argument is wrong.

    Warns
    -----
    PymackayWarning
        As R: if numbers of successes, or counts, are not whole.

    Examples
    --------
    >>> import pandas as pd
    >>> from pymackay.model.columns.table import Table
    >>> from pymackay.model.design.arguments import Arguments
    >>> from pymackay.model.design.general import build_general
    >>> data = pd.DataFrame({"s": [1, 0, 3], "m": [2, 5, 4], "g": ["a", "b", "b"]})
    >>> formula = "cbind(s, m - s) ~ 1 + (1 | g)"
    >>> general = build_general(formula, Table(data), Arguments(), "binomial")
    >>> general.response.y, general.response.totals
    (array([0.5 , 0.  , 0.75]), array([2., 5., 4.]))
    """
    specification = specify_columns(formula, table)
    frame = make_frame(specification, table, arguments, check_prior_weights)
    name = specification.response.name
    response = read_response(frame.columns[name], name, support, frame.weights, family)
    for message in response.messages:
        warnings.warn(message, PymackayWarning, stacklevel=3)
    frame = replace(frame, weights=response.weights, messages=(*frame.messages, *response.messages))
    model = build_parts(specification, table, arguments, frame, response.y, has_residual=False)
    return GeneralModel(model, response)
