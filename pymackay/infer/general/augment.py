"""`augment`: the rows of a generalised model with fitted values and residuals."""

from __future__ import annotations

import pandas as pd

from pymackay.infer.general.problem import general_part, general_problem
from pymackay.infer.general.residuals import residuals_of
from pymackay.infer.predict.augment import rows_of_data, variables
from pymackay.results import Fit


def augment(fit: Fit, data: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the rows of a generalised model with fitted values and residuals.

    Parameters
    ----------
    fit : Fit
    data : pandas.DataFrame, optional
        The data that the model was fitted to: its columns come first.

    Returns
    -------
    pandas.DataFrame
        After the variables: ``.fitted`` and ``.mu``, the means; ``.resid``, deviance residuals;
        ``.pearson``; ``.eta``, the linear predictor; ``.fixed``, that without random effects;
        ``.offset``; ``.weights``, the prior weights; ``.hat``, the conditional variance of the
        linear predictor times the weight in the determinant of the criterion, given β.
    """
    problem, general = general_problem(fit, "augment"), general_part(fit, "augment")
    rows, point = problem.laplace.rows, problem.point
    model = problem.model
    table = variables(model) if data is None else rows_of_data(data, model)
    observed_weights = problem.laplace.determinant == "observed"
    weights = point.mode.at.d2 if observed_weights else point.mode.at.expected
    added = {
        ".fitted": fit.fitted.to_numpy(),
        ".resid": fit.residuals.to_numpy(),
        ".pearson": residuals_of(fit, "pearson").to_numpy(),
        ".mu": fit.fitted.to_numpy(),
        ".eta": general.linear_predictor.to_numpy(),
        ".fixed": model.X @ fit.beta.to_numpy() + rows.offset,
        ".offset": rows.offset,
        ".weights": rows.observed.weights,
        ".hat": weights / point.given.phi * point.leverages,
    }
    return table.assign(**added)
