"""`bootstrap`: refits of a generalised model to responses drawn from it."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from pymackay.arguments import flag, random_generator, whole_number
from pymackay.errors import ArgumentError, ConvergenceWarning, PymackayError, PymackayWarning
from pymackay.infer.general.problem import general_problem
from pymackay.infer.general.refit import Refit, refits_to
from pymackay.infer.intervals.bootstrap import Bootstrap, Statistic, failed_refits, tables
from pymackay.infer.intervals.bootstrap_draws import drawn_portions, parametric_draws
from pymackay.infer.intervals.parameters import list_parameters
from pymackay.results import Fit


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

    Every refit is a whole search from the fit's estimates, by the fit's own criterion.

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
    count = whole_number("nsim", nsim, 2)
    draws = parametric_draws(fit, use_u=flag("use_u", use_u))
    portions = drawn_portions(draws, fit.n_obs, count, random_generator(seed))
    refits = list(refits_to(fit, portions, count, progress))
    failures = {k: one.reason for k, one in enumerate(refits) if one.fit is None}
    if len(failures) == count:
        raise PymackayError(
            f"none of the {count} refits has estimates; the first: {failures[0]} Take a simpler "
            f"model."
        )
    converged = np.array([one.fit is not None and one.fit.convergence.converged for one in refits])
    _warn(failures, int(np.count_nonzero(~converged)) - len(failures), count)
    estimate, replicates = tables(fit, _table(fit, refits), statistic)
    return Bootstrap(
        formula=fit.formula,
        kind=kind,
        estimate=estimate,
        replicates=replicates,
        converged=converged,
        singular=np.array([one.fit is not None and one.fit.singular for one in refits]),
        failures=failures,
    )


def _table(fit: Fit, refits: list[Refit]) -> pd.DataFrame:
    """Return one row per refit: all parameters, criterion, converged, singular."""
    names = [parameter.label for parameter in list_parameters(fit)]
    rows = []
    for one in refits:
        if one.fit is None:
            rows.append([float("nan")] * (len(names) + 1) + [False, False])
            continue
        estimates = [parameter.estimate for parameter in list_parameters(one.fit)]
        state = [one.fit.convergence.converged, one.fit.singular]
        rows.append([*estimates, one.fit.criterion, *state])
    return pd.DataFrame(rows, columns=[*names, "criterion", "converged", "singular"])


def _warn(failures: dict[int, str], uncertified: int, count: int) -> None:
    """Warn of refits without estimates, and of those that are not certified."""
    if failures:
        warnings.warn(failed_refits(failures, count), PymackayWarning, stacklevel=4)
    if uncertified:
        warnings.warn(
            f"{uncertified} of {count} refits are not certified: their optimum may be elsewhere.",
            ConvergenceWarning,
            stacklevel=4,
        )
