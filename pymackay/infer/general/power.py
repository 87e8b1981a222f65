"""`power`: how often a fixed effect of a generalised model would be found, by simulation."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from scipy import stats

from pymackay.arguments import probability, random_generator, whole_number
from pymackay.errors import ArgumentError, PymackayWarning
from pymackay.infer.general.problem import general_problem
from pymackay.infer.general.refit import fit_like, optimal, refits_to
from pymackay.infer.intervals.bootstrap_draws import drawn_portions, parametric_draws
from pymackay.infer.intervals.power import effect_place, effect_sizes, power_table, without_column
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit


def power(
    fit: Fit,
    effect: str,
    sizes: Any = None,
    *,
    nsim: int = 1000,
    alpha: float = 0.05,
    test: str | None = None,
    df: float | None = None,
    seed: int | np.random.Generator | None = None,
    progress: bool | None = None,
) -> HeadedTable:
    """Estimate the power of a test of one fixed effect; see `pymackay.power`.

    Parameters
    ----------
    test : {"z", "lr"}, optional
        Estimate over standard error against the normal distribution (default), or the likelihood
        ratio against the model without the effect.

    Raises
    ------
    ArgumentError
        If an argument is wrong.

    Notes
    -----
    Responses are drawn anew at each size, from the same random numbers. Those that have no
    estimates, because they are separated, count as not significant.
    """
    chosen = "z" if test is None else test
    if chosen not in ("z", "lr") or df is not None:
        raise ArgumentError(
            f"test must be 'z' or 'lr' for a generalised model, without degrees of freedom, but "
            f"test is {test!r} and df is {df!r}."
        )
    fit, messages = optimal(fit)
    place = effect_place(fit, effect)
    values = effect_sizes(sizes, float(fit.beta.iloc[place]))
    count, level = whole_number("nsim", nsim, 2), probability("alpha", alpha, 0.05)
    draw = random_generator(seed)
    smaller = _smaller(fit, place) if chosen == "lr" else None
    hits = [
        _hits(fit, place, size, count, copy.deepcopy(draw), level, smaller, progress)
        for size in values
    ]
    for message in messages:
        warnings.warn(message, PymackayWarning, stacklevel=3)
    return power_table(effect, values, hits, count, level, chosen)


def _hits(
    fit: Fit,
    place: int,
    size: float,
    count: int,
    draw: np.random.Generator,
    alpha: float,
    smaller: Fit | None,
    progress: bool | None,
) -> int:
    """Count the drawn responses in which an effect of some size is significant."""
    beta = fit.beta.copy()
    beta.iloc[place] = size
    draws = parametric_draws(fit.replace(beta=beta), use_u=False)
    again = copy.deepcopy(draw)
    full = refits_to(fit, drawn_portions(draws, fit.n_obs, count, draw), count, progress).answers
    if smaller is None:
        ratios = np.abs(full.beta[:, place]) / full.std_error[:, place]
        return int(np.count_nonzero(ratios > stats.norm.isf(alpha / 2)))
    portions = drawn_portions(draws, fit.n_obs, count, again)
    null = refits_to(smaller, portions, count, progress).answers
    return int(np.count_nonzero(null.criterion - full.criterion > stats.chi2.isf(alpha, 1)))


def _smaller(fit: Fit, place: int) -> Fit:
    """Return the fit of the model without one column of its fixed part."""
    problem = general_problem(fit, "power")
    return fit_like(fit, without_column(problem.model, place), problem.laplace.rows.observed)
