"""`bootstrap`: refits of a model with a residual structure to responses drawn from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from pymackay.arguments import flag, random_generator, whole_number
from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.intervals.bootstrap import Bootstrap, Statistic, bootstrap_of
from pymackay.infer.intervals.bootstrap_draws import drawn_portions, parametric_draws
from pymackay.infer.intervals.failed_refits import warn_of_refits
from pymackay.infer.intervals.parameters import list_parameters
from pymackay.infer.residual.problem import residual_problem
from pymackay.infer.residual.refit import fit_again, with_response
from pymackay.progress import Progress, bar
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
    """Refit a model with a residual structure to drawn responses; see `pymackay.bootstrap`.

    Every refit is a whole search from the fit's estimates, by REML or ML as the fit is.

    Raises
    ------
    ArgumentError
        If `kind` is another than ``"parametric"``, or an argument is wrong.

    Warns
    -----
    PymackayWarning
        When drawn responses have no estimates.
    ConvergenceWarning
        When the optimum of some refits could not be certified.
    """
    if kind != "parametric":
        raise ArgumentError(
            f"kind must be 'parametric' for a model with a residual structure, whose residuals are "
            f"no independent draws, but it is {kind!r}."
        )
    residual_problem(fit, "bootstrap")
    count = whole_number("nsim", nsim, 2)
    draws = parametric_draws(fit, use_u=flag("use_u", use_u))
    portions = drawn_portions(draws, fit.n_obs, count, random_generator(seed))
    names = [p.label for p in list_parameters(fit)]
    rows: list[list[float]] = []
    failures: dict[int, str] = {}
    with Progress(asked=progress) as line:
        for y in _columns(portions):
            try:
                rows.append(_row(_refit(fit, y)))
            except (PymackayError, np.linalg.LinAlgError) as error:
                failures[len(rows)] = str(error)
                rows.append([np.nan] * (len(names) + 1) + [0.0, 0.0])
            line.tell(f"{bar(len(rows), count)} refits")
    table = pd.DataFrame(rows, columns=[*names, "criterion", "converged", "singular"])
    table = table.astype({"converged": bool, "singular": bool})
    warn_of_refits(failures, table["converged"].to_numpy(), stacklevel=3)
    return bootstrap_of(fit, kind, table, statistic, failures)


def _columns(portions: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the drawn responses, each (n,), one by one."""
    for portion in portions:
        yield from portion.T


def _refit(fit: Fit, y: np.ndarray) -> Fit:
    problem = residual_problem(fit, "bootstrap")
    return fit_again(fit, with_response(problem.model, y), problem.marginal.residual)


def _row(fit: Fit) -> list[float]:
    """Return one row of the table: all parameters, criterion, converged, singular."""
    estimates = [p.estimate for p in list_parameters(fit)]
    return [*estimates, fit.criterion, fit.convergence.converged, fit.singular]
