"""What residual structures say row by row: `simulate`, and residuals in standard units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import random_generator, whole_number
from pymackay.infer.predict.rows import effects_of_terms
from pymackay.infer.predict.simulate import kept_terms
from pymackay.infer.residual.problem import residual_problem
from pymackay.results import Fit
from pymackay.solve.marginal.problem import ResidualProblem


def simulate(
    fit: Fit,
    nsim: int = 1,
    seed: int | np.random.Generator | None = None,
    *,
    re_form: Any = "~0",
) -> pd.DataFrame:
    """Draw responses whose residuals have the estimated covariance; see `pymackay.simulate`."""
    problem = residual_problem(fit, "simulate")
    model = problem.model
    kept = kept_terms(model, re_form)
    count, draw = whole_number("nsim", nsim), random_generator(seed)
    mean = model.X @ fit.beta.to_numpy()
    if model.offset is not None:
        mean = mean + model.offset
    drawn = np.repeat(mean[:, None], count, axis=1)
    predicted = effects_of_terms(fit)
    for k, term in enumerate(model.terms):
        factor = model.factors[term.group]
        b = np.repeat(predicted[k][:, :, None], count, axis=2)
        if not kept[k]:
            shape = (len(factor.levels), len(term.effects), count)
            root = fit.sigma * problem.users[k]
            b = np.einsum("ab,jbs->jas", root, draw.standard_normal(shape))
        drawn += np.einsum("nq,nqs->ns", term.columns, b[factor.codes])
    noise = draw.standard_normal(drawn.shape)
    for rows, factor_of_R in problem.blocks():
        noise[rows] = factor_of_R @ noise[rows]
    drawn += fit.sigma * noise / root_weights(problem)[:, None]
    return pd.DataFrame(drawn, index=model.rows, columns=[f"sim_{k + 1}" for k in range(count)])


def pearson(fit: Fit) -> pd.Series:
    """Return residuals over the standard deviation of their row."""
    problem = residual_problem(fit, "residuals_of")
    sd = np.empty(fit.n_obs)
    for rows, factor in problem.blocks():
        sd[rows] = np.sqrt(np.einsum("cab,cab->ca", factor, factor))
    return fit.residuals * root_weights(problem) / (fit.sigma * sd)


def normalized(fit: Fit) -> pd.Series:
    """Return residuals times the inverse factor of their covariance: independent, variance one.

    Within a group they are in order of time: each is what its row adds to those before it.
    """
    problem = residual_problem(fit, "residuals_of")
    scaled = fit.residuals.to_numpy() * root_weights(problem) / fit.sigma
    made = whitened(problem, scaled)
    return pd.Series(made, index=fit.residuals.index, name="residuals")


def whitened(problem: ResidualProblem, values: np.ndarray) -> np.ndarray:
    """Return values times the inverse of the lower factor of R, group by group, (n,)."""
    made = np.empty(len(values))
    for rows, factor in problem.blocks():
        made[rows] = np.linalg.solve(factor, values[rows][:, :, None])[:, :, 0]
    return made


def root_weights(problem: ResidualProblem) -> np.ndarray:
    """Return the roots of the prior weights, ones where there are none, (n,)."""
    weights = problem.model.weights
    return np.ones(len(problem.model.y)) if weights is None else np.sqrt(weights)
