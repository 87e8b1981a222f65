"""`checked_rows`: residuals that are normal if a generalised model is right, and scores."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from pymackay.infer.checks.check import CheckedRows
from pymackay.infer.checks.simulated import ranked, response_and_mean
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.results import Fit

_COUNT = 250  # simulated responses of each row


def checked_rows(fit: Fit) -> CheckedRows:
    """Return quantile residuals, linear predictors and scores of a generalised model's rows.

    A residual is the normal quantile of the rank of the response among simulated ones, the random
    effects as predicted (Dunn & Smyth 1996, J. Comput. Graph. Stat. 5). Ties are broken at random,
    from the same seed each time.
    """
    problem, general = general_problem(fit, "check"), general_part(fit, "check")
    draw = np.random.default_rng(0)
    y, mean = response_and_mean(fit)
    ranks, _ = ranked(fit, y, mean, _COUNT, draw, re_form=None)
    inside = 0.5 / _COUNT
    residuals = ndtri(np.clip(ranks.scaled(draw), inside, 1.0 - inside))
    scores = -problem.point.mode.at.d1 / problem.point.given.phi
    return CheckedRows(np.asarray(residuals), general.linear_predictor.to_numpy(), scores)
