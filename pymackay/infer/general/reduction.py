"""Smaller generalised models: without random effects, without a term, by another formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.errors import ArgumentError
from pymackay.family.family import Observations
from pymackay.infer.general.problem import general_part, general_problem, likelihood_part
from pymackay.infer.general.refit import fit_like, freed, optimal
from pymackay.infer.reduction.formulas import formula_without, given_for, refuse_other_rows
from pymackay.infer.reduction.smaller import terms_contained
from pymackay.infer.significance.without_effects import Without, model_without
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.results import Fit
from pymackay.solve.loop.general.held import HeldFactors
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.fit import fit_general
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.search import Stopping, minimise
from pymackay.solve.pirls.starts.first import starting_point

_SPENT = 1e-12  # Newton decrement at which the search without random effects stops


def optimum_without(fit: Fit, term: int, columns: Sequence[int]) -> Without:
    """Return the optimum of a generalised model without some columns of a random term.

    Without any random effect it is the maximum of the likelihood of a generalised linear model.

    Raises
    ------
    PymackayError
        If the fit holds no model, or its criterion is no likelihood.
    """
    problem = general_problem(fit, "a model without some random effects")
    likelihood_part(fit, "a model without some random effects")
    smaller = model_without(problem.model, term, columns)
    if smaller is None:
        return Without(_without_effects(freed(fit, problem.laplace)), 0)
    again = fit_like(fit, smaller, problem.laplace.rows.observed)
    return Without(again.criterion, len(again.par))


def _without_effects(laplace: Laplace) -> float:
    """Return −2 log likelihood of the model without random effects, at its maximum."""
    rows = laplace.rows
    psi = starting_point(laplace)
    start = np.delete(psi, np.s_[rows.p : rows.p + rows.n_theta])
    without = HeldFactors(laplace, np.zeros(rows.n_theta))
    if not len(start):
        return without.at(start).criterion
    return minimise(without, start, Stopping(_SPENT)).point.criterion


def fit_formula(fit: Fit, formula: str, what: str) -> Fit:
    """Fit another formula to the rows, weights and contrasts of a fit of a generalised model.

    Raises
    ------
    PymackayError
        If the fit does not hold its data.
    DataError
        If the other formula would use other rows.
    """
    problem = general_problem(fit, what)
    given = given_for(problem.model, formula, what)
    data = Table(given.pop("data"))
    family = problem.laplace.family
    general = build_general(formula, data, Arguments(**given), family.support, family.name)
    refuse_other_rows(general.model, problem.model, formula, what)
    response = general.response
    observed = Observations.of(response.y, response.weights, response.totals)
    laplace = replace(problem.laplace, rows=Rows.of(general.model, observed))
    return fit_general(freed(fit, laplace), general_part(fit, what).nagq)


def drop1(fit: Fit, ddf: str = "normal") -> HeadedTable:
    """Test each term of the fixed part by a likelihood ratio, as R's ``drop1`` of a glmer fit.

    Parameters
    ----------
    fit : Fit
    ddf : {"normal"}
        Degrees of freedom are for linear models.

    Returns
    -------
    HeadedTable
        One row for the model and one for each term that no other contains: ``npar``, the number of
        coefficients that go with it; ``AIC`` without it; ``LRT`` and ``Pr(Chi)``.

    Raises
    ------
    ArgumentError
        If `ddf` is another word.
    PymackayError
        If the fit does not hold its data, or its criterion is no likelihood.
    """
    if ddf not in ("normal", "Satterthwaite", "none"):
        raise ArgumentError(
            f"ddf is {ddf!r}, but degrees of freedom are there for linear models only; leave it "
            f"out: the tests of a generalised model are likelihood ratios."
        )
    likelihood_part(fit, "drop1")
    fit, messages = optimal(fit)
    model = general_problem(fit, "drop1").model
    rows: dict[str, list[Any]] = {"<none>": [np.nan, fit.aic, np.nan, np.nan]}
    contained = terms_contained(model.blueprint.fixed.terms.terms)
    for label, is_contained in zip(model.blueprint.term_labels, contained, strict=True):
        if is_contained:
            continue
        smaller = fit_formula(fit, formula_without(model, term=label), "drop1")
        df = len(fit.beta) - len(smaller.beta)
        ratio = max(smaller.criterion - fit.criterion, 0.0)
        p = float(stats.chi2.sf(ratio, df)) if df else np.nan
        rows[label] = [df, smaller.aic, ratio if df else np.nan, p]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["npar", "AIC", "LRT", "Pr(Chi)"])
    if ddf == "none":
        table = table.drop(columns="Pr(Chi)")
    heading = f"Terms, each left out, likelihood ratios: {fit.formula}"
    return HeadedTable(table, heading=heading, messages=messages)
