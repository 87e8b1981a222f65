"""`anova`: tests of the fixed part's terms, or of models against each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.estimable import Aliases
from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import check_fit, design_of
from pymackay.infer.significance.coefficients import as_normal
from pymackay.infer.significance.contrast import F_COLUMNS, f_columns
from pymackay.infer.significance.ddf import FixedEffects, fixed_effects
from pymackay.infer.significance.hypotheses import hypotheses, untestable
from pymackay.infer.significance.likelihood_ratio import likelihood_ratio
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit

_KINDS = {"1": 1, "I": 1, "2": 2, "II": 2, "3": 3, "III": 3}
_ROMAN = {1: "I", 2: "II", 3: "III"}


@by_kind("pymackay.infer.general.tests:anova", residual="same")
def anova(
    fit: Fit,
    *others: Fit,
    type: int | str = 3,
    ddf: str = "Satterthwaite",
    refit: bool = True,
    names: Sequence[str] | None = None,
) -> HeadedTable:
    """Test the terms of one fit, or compare several fits by likelihood ratios.

    Parameters
    ----------
    fit : Fit
    *others : Fit
        Fits of other models to the same rows; with any, the models are compared. Each must be a
        special case of the next larger one.
    type : {3, 2, 1, "III", "II", "I"}
        Of one fit's tests: marginal; each term after those that do not contain it; sequential.
    ddf : {"Satterthwaite", "Kenward-Roger", "normal", "none"}
        As in `coefficients`.
    refit : bool
        Whether REML fits that are compared are refitted by ML (default), which models with
        different fixed parts need.
    names : sequence of str, optional
        What the models that are compared are called, in the order given; by default ``fit1``, ...

    Returns
    -------
    HeadedTable
        For one fit, by term: ``Sum Sq``, ``Mean Sq``, ``NumDF``, ``DenDF``, ``F value``,
        ``Pr(>F)``, as lmerTest. A term whose columns were all left out for rank has nan, and so,
        in types II and III, has one on which dropped columns of other terms depend, with a warning:
        which of the two is dropped decides what the test says. Of a generalised model Wald's
        tests: ``Chisq``, ``Df``, ``Pr(>Chisq)``.
        For several, ordered by their number of parameters: ``npar``, ``AIC``, ``BIC``, ``logLik``,
        ``deviance``, ``Chisq``, ``Df``, ``Pr(>Chisq)``, each against the one before, as lme4.

    Raises
    ------
    PymackayError
        If an argument is not known, the fits are of different data or not nested, or a fit that
        must be refitted, or whose terms are tested, does not hold its model.

    Warns
    -----
    PymackayWarning
        When the data do not determine the test of a term.

    References
    ----------
    Kuznetsova, Brockhoff, Christensen 2017, J. Stat. Softw. 82(13).

    Examples
    --------
    >>> import pymackay as pm
    >>> cake = pm.load_data("cake")
    >>> fit = pm.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", cake)
    >>> pm.anova(fit)[["NumDF", "DenDF"]].round(3).to_numpy().tolist()
    [[2.0, 42.0], [5.0, 210.0], [10.0, 210.0]]
    >>> smaller = pm.lmer("angle ~ recipe + temperature + (1 | recipe:replicate)", cake)
    >>> pm.anova(fit, smaller)["Df"].tolist()
    [nan, 10.0]
    """
    check_fit(fit, "anova")
    if others:
        return likelihood_ratio((fit, *others), refit=refit, names=names)
    return term_tests(fit, type, ddf)


def term_tests(fit: Fit, type: int | str, ddf: str) -> HeadedTable:
    """Test the terms of one fit, of a linear model or a generalised one; arguments as of `anova`.

    Raises
    ------
    PymackayError
        As `anova`.
    """
    kind = _KINDS.get(str(type).upper())
    if kind is None:
        raise ArgumentError(f"type must be 1, 2, 3, 'I', 'II' or 'III', but it is {type!r}.")
    model = design_of(fit, "the tests of terms", residual=True)
    effects = fixed_effects(fit, ddf)
    tests = hypotheses(model, kind)
    rows = {label: _row(effects, L) for label, L in tests.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(F_COLUMNS))
    aliases = Aliases.of(model)
    if aliases is not None:
        flags = untestable(model, kind, tests, aliases)
        if flags.any():
            aliases.warn("the test(s) of", list(tests), flags, stacklevel=3)
            table[flags.any(axis=1)] = np.nan
    if effects.is_general:
        table = pd.DataFrame(as_normal(table), index=table.index)
    if effects.method == "none":
        table = table.drop(columns=["DenDF", "Pr(>F)", "Pr(>Chisq)"], errors="ignore")
    heading = f"Type {_ROMAN[kind]} analysis of variance{effects.heading}"
    return HeadedTable(table, heading=heading, messages=effects.messages)


def _row(effects: FixedEffects, L: np.ndarray) -> list[float]:
    if not len(L):
        return [float("nan")] * len(F_COLUMNS)
    return [values[0] for values in f_columns(effects, L).values()]
