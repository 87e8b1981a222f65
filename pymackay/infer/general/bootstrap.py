"""`bootstrap`: refits of a generalised model to responses drawn from it."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from pymackay.arguments import flag, random_generator, whole_number
from pymackay.covariance.parameters import parameter_labels, parameter_values
from pymackay.covariance.varcorr import VarCorr
from pymackay.errors import ArgumentError, PymackayWarning
from pymackay.infer.general.problem import general_problem
from pymackay.infer.general.refit import optimal, refits_to
from pymackay.infer.intervals.bootstrap import Bootstrap, Statistic, bootstrap_of
from pymackay.infer.intervals.bootstrap_draws import drawn_portions, parametric_draws
from pymackay.infer.intervals.failed_refits import warn_of_refits
from pymackay.results import Fit
from pymackay.solve.pirls.many.answers import Answers


def bootstrap(
    fit: Fit,
    nsim: int = 1000,
    *,
    kind: str = "parametric",
    statistic: Statistic | None = None,
    seed: int | np.random.Generator | None = None,
    use_u: bool = False,
    progress: bool | None = None,
) -> Bootstrap:
    """Refit a generalised model to responses drawn from it; see `pymackay.bootstrap`.

    Every refit is a whole search by the fit's own criterion; all go side by side where the model
    allows it, as in `pymackay.glmer_many`.

    Raises
    ------
    ArgumentError
        If `kind` is another than ``"parametric"``, or an argument is wrong.

    Warns
    -----
    PymackayWarning
        When drawn responses have no estimates, because they are separated, say.
    ConvergenceWarning
        When the optimum of some refits could not be certified.
    """
    if kind != "parametric":
        raise ArgumentError(
            f"kind must be 'parametric' for a generalised model, whose residuals cannot be drawn "
            f"anew, but it is {kind!r}."
        )
    general_problem(fit, "bootstrap")
    fit, messages = optimal(fit)
    for message in messages:
        warnings.warn(message, PymackayWarning, stacklevel=3)
    count = whole_number("nsim", nsim, 2)
    draws = parametric_draws(fit, use_u=flag("use_u", use_u))
    portions = drawn_portions(draws, fit.n_obs, count, random_generator(seed))
    refits = refits_to(fit, portions, count, progress)
    answers, failures = refits.answers, dict(sorted(refits.failures.items()))
    warn_of_refits(failures, answers.converged, stacklevel=3)
    return bootstrap_of(fit, kind, _table(fit, answers), statistic, failures)


def _table(fit: Fit, answers: Answers) -> pd.DataFrame:
    """Return one row per refit: all parameters, criterion, converged, singular."""
    terms = fit.model.terms
    columns = [
        column
        for term in terms
        for column in parameter_values(term, VarCorr(term.effects, answers.varcorr[term.name])).T
    ]
    names = [*parameter_labels(terms), *["sigma"] * fit.has_residual, *fit.beta.index]
    columns += [answers.sigma] * fit.has_residual + list(answers.beta.T)
    frame = pd.DataFrame(np.column_stack([*columns, answers.criterion]))
    frame.columns = pd.Index([*names, "criterion"])
    return frame.assign(converged=answers.converged, singular=answers.singular)
