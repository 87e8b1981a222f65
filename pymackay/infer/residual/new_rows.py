"""`residual_variances`: of rows, old or new, of a model with a residual structure."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.infer.predict.rows import weights_of_rows
from pymackay.infer.residual.problem import residual_problem
from pymackay.model.design.residual import new_strata
from pymackay.results import Fit


def residual_variances(fit: Fit, newdata: Any, weights: Any) -> np.ndarray:
    """Return the variance of each row's stratum or visit, over its prior weight, (m,).

    Raises
    ------
    DataError
        If the new rows have a stratum or visit that the model was not fitted to.
    """
    problem = residual_problem(fit, "a prediction interval")
    model, rows = problem.model, problem.marginal.residual
    ratios = rows.structure.ratios(problem.psi[problem.marginal.n_theta :])
    strata = rows.strata
    if newdata is not None:
        strata = new_strata(rows, model.blueprint, newdata)
    of_rows = fit.sigma**2 * np.append(ratios**2, np.nan)[strata]  # a missing one, -1, has the last
    return np.asarray(of_rows / weights_of_rows(model, newdata, weights))
