"""`drop1`: is each term of the fixed part needed? F tests of single deletions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pymackay.infer.estimable import Aliases
from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import check_fit, model_of
from pymackay.infer.reduction.smaller import terms_contained
from pymackay.infer.significance.contrast import F_COLUMNS, f_columns
from pymackay.infer.significance.ddf import fixed_effects
from pymackay.infer.significance.hypotheses import hypotheses, untestable
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit


@by_kind("pymackay.infer.general.reduction:drop1")
def drop1(fit: Fit, ddf: str = "Satterthwaite") -> HeadedTable:
    """Test each term of the fixed part that can be left out alone, as lmerTest's ``drop1``.

    Terms that are part of an interaction in the model stay.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    ddf : {"Satterthwaite", "Kenward-Roger", "normal", "none"}
        As in `anova`.

    Returns
    -------
    HeadedTable
        By term: ``Sum Sq``, ``Mean Sq``, ``NumDF``, ``DenDF``, ``F value``, ``Pr(>F)``; nan where
        the data do not determine the test, because columns were dropped for rank. Of a generalised
        model likelihood ratios, as R's ``drop1(fit, test = "Chisq")``: ``npar``, ``AIC``, ``LRT``,
        ``Pr(Chi)``.

    Raises
    ------
    PymackayError
        If the fit does not hold its model, or `ddf` is not known.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe * temp + (1 | replicate)", pm.load_data("cake"))
    >>> fit.drop1().index.tolist()
    ['recipe:temp']
    """
    check_fit(fit, "drop1")
    model = model_of(fit, "drop1")
    effects = fixed_effects(fit, ddf)
    tests = hypotheses(model, 2)
    contained = terms_contained(model.blueprint.fixed.terms.terms)
    aliases = Aliases.of(model)
    flags = np.zeros((len(tests), 1), dtype=bool)
    if aliases is not None:
        flags = untestable(model, 2, tests, aliases)
    rows = {}
    for k, (label, L) in enumerate(tests.items()):
        if not contained[k]:
            known = len(L) > 0 and not flags[k].any()
            made = f_columns(effects, L) if known else {}
            rows[label] = [made[name][0] if known else np.nan for name in F_COLUMNS]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(F_COLUMNS))
    if effects.method == "none":
        table = table.drop(columns=["DenDF", "Pr(>F)"])
    heading = f"Terms, each left out{effects.heading}: {fit.formula}"
    return HeadedTable(table, heading=heading, messages=effects.messages)
