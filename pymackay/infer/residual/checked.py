"""`checked_rows`: residuals that are independent if a residual structure is right, and scores."""

from __future__ import annotations

import numpy as np

from pymackay.infer.checks.check import CheckedRows
from pymackay.infer.residual.problem import residual_problem
from pymackay.infer.residual.rows import root_weights, whitened
from pymackay.results import Fit


def checked_rows(fit: Fit) -> CheckedRows:
    """Return whitened residuals, fitted values, and scores ``R⁻¹e``, of the rows.

    With the predicted random effects, ``R⁻¹e`` is ``V⁻¹(y − Xβ)``.
    """
    problem = residual_problem(fit, "check")
    root = root_weights(problem)
    made = whitened(problem, fit.residuals.to_numpy() * root / fit.sigma)
    scores = np.empty(fit.n_obs)
    for rows, factor in problem.blocks():
        back = np.linalg.solve(factor.swapaxes(1, 2), made[rows][:, :, None])
        scores[rows] = back[:, :, 0]
    return CheckedRows(made, fit.fitted.to_numpy(), scores * root / fit.sigma, "whitened residual")
