"""`simulate`: responses drawn from a fitted generalised model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import random_generator, whole_number
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.infer.predict.rows import effects_of_terms
from pymackay.infer.predict.simulate import kept_terms
from pymackay.results import Fit


def simulate(
    fit: Fit,
    nsim: int = 1,
    seed: int | np.random.Generator | None = None,
    *,
    re_form: Any = "~0",
) -> pd.DataFrame:
    """Draw responses of a generalised model; see `pymackay.simulate`.

    Returns
    -------
    pandas.DataFrame, shape (n, nsim)
        On the scale of the response; numbers of successes where it was given by ``cbind``.
    """
    problem, general = general_problem(fit, "simulate"), general_part(fit, "simulate")
    model, observed = problem.model, problem.laplace.rows.observed
    kept = kept_terms(model, re_form)
    count, draw = whole_number("nsim", nsim), random_generator(seed)
    eta = model.X @ fit.beta.to_numpy()
    if model.offset is not None:
        eta = eta + model.offset
    predicted = effects_of_terms(fit)
    rows = np.repeat(eta[:, None], count, axis=1)
    for k, term in enumerate(model.terms):
        factor = model.factors[term.group]
        if kept[k]:
            b = np.repeat(predicted[k][:, :, None], count, axis=2)
        else:
            root = _root(fit.varcorr[term.name].to_numpy())
            shape = (len(factor.levels), len(term.effects), count)
            b = np.einsum("ab,jbs->jas", root, draw.standard_normal(shape))
        for i in range(len(term.effects)):
            rows += term.columns[:, i, None] * b[factor.codes, i]
    mu = general.family.mean(rows.T.ravel()).reshape(count, -1)
    drawn = general.family.draw(draw, observed, mu, general.dispersion).T
    if model.response.startswith("cbind("):
        drawn = np.round(drawn * observed.totals[:, None])
    return pd.DataFrame(drawn, index=model.rows, columns=[f"sim_{k + 1}" for k in range(count)])


def response_and_mean(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return the response, and its mean where random effects are zero, as drawn, each (n,)."""
    problem, general = general_problem(fit, "simulate"), general_part(fit, "simulate")
    model, observed = problem.model, problem.laplace.rows.observed
    eta = model.X @ fit.beta.to_numpy()
    mean = general.family.mean(eta if model.offset is None else eta + model.offset)
    if model.response.startswith("cbind("):
        return np.round(observed.y * observed.totals), mean * observed.totals
    return observed.y, mean


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a root of a covariance matrix, (q, q), which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
