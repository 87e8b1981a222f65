"""`refit`: a generalised model with another response, other rows, or a part of its columns."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import aligned
from pymackay.errors import (
    ArgumentError,
    ConvergenceWarning,
    DataError,
    PymackayError,
    PymackayWarning,
)
from pymackay.family.family import Observations
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.model.columns.column import Numeric
from pymackay.model.design.general_response import GeneralResponse, read_response
from pymackay.model.model import Model
from pymackay.progress import Progress, bar
from pymackay.results import Fit
from pymackay.solve.pirls.assemble import parameters
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.fit import GeneralControl, fit_general
from pymackay.solve.pirls.many.answers import Answers
from pymackay.solve.pirls.many.together import fit_together, may_go_together
from pymackay.solve.pirls.problem import GeneralProblem
from pymackay.solve.pirls.rows import Rows

_AT_OPTIMUM = 1e-8  # Newton decrement, criterion units
_AT_ESTIMATED_OPTIMUM = 1e-5  # of a criterion estimated with random probes: far below its error


def refit(fit: Fit, y: Any, *, control: GeneralControl | None = None) -> Fit:
    """Fit a generalised model to another response; see `pymackay.refit`.

    Parameters
    ----------
    fit : Fit
    y : array-like of shape (n,) or (n, 2), or pandas.Series or pandas.DataFrame
        The response as the family takes it: a column of `fit.simulate` will do. Where it was given
        by ``cbind``, successes and failures as two columns, or numbers of successes alone, the
        trials being as before. 0 and 1 where it was a factor.
    control : GeneralControl, optional

    Raises
    ------
    SeparationError
        If the likelihood of the new response has no maximum.
    DataError, ArgumentError
        If `y` is no response of the model's rows.

    Warns
    -----
    ConvergenceWarning
        When the optimum could not be certified.
    PymackayWarning
        If counts are not whole numbers.
    """
    problem = general_problem(fit, "refit")
    response = _read(y, problem)
    for message in response.messages:
        warnings.warn(message, PymackayWarning, stacklevel=3)
    again = refit_to(fit, response, control)
    if not again.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} on the new response is not certified: "
            f"{again.convergence.message}. Try a simpler random part.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return again


def refit_to(fit: Fit, response: GeneralResponse, control: GeneralControl | None = None) -> Fit:
    """Return the optimum of a fit's model with another response, begun at the fit's estimates.

    An answer with a variance of zero is checked against a search from the new data's own start.
    """
    problem = general_problem(fit, "refit")
    rows, model = problem.laplace.rows, problem.model
    columns = dict(model.columns)
    if model.response in columns and response.given != "cbind":
        columns[model.response] = Numeric(response.y)
    if model.response in columns and response.given == "cbind":
        trials = _trials(problem, response)
        successes = response.y * trials
        columns[model.response] = Numeric(np.column_stack([successes, trials - successes]))
    model = replace(model, y=response.y, weights=response.weights, columns=columns, given={})
    observed = Observations.of(response.y, response.weights, response.totals)
    laplace = replace(problem.laplace, rows=replace(rows, model=model, observed=observed))
    return _minimised(fit, laplace, control)


def optimal(fit: Fit) -> tuple[Fit, tuple[str, ...]]:
    """Return a fit at the optimum of its own criterion, and a message if it had to be refitted.

    Fits by MacKay's loop, and those evaluated at given parameters, are elsewhere: their criterion
    says nothing beside that of a smaller model, or of a refit.
    """
    limit = _AT_ESTIMATED_OPTIMUM if fit.convergence.monte_carlo_error else _AT_OPTIMUM
    if fit.problem is None or fit.convergence.decrement < limit:
        return fit, ()
    again = _minimised(fit, general_problem(fit, "a refit").laplace, None)
    return again, ("refitted: the fit was not at the optimum of its criterion",)


def _minimised(fit: Fit, laplace: Laplace, control: GeneralControl | None) -> Fit:
    """Return the optimum of a criterion, begun at a fit's estimates where these are inside."""
    problem, nagq = general_problem(fit, "a refit"), general_part(fit, "a refit").nagq
    laplace = freed(fit, laplace)
    inside = not fit.singular and len(problem.psi) == laplace.size
    if not inside:
        return fit_general(laplace, nagq, control=control)
    again = fit_general(laplace, nagq, begin=problem.psi, control=control)
    if not again.singular:
        return again
    return min(again, fit_general(laplace, nagq, control=control), key=lambda one: one.criterion)


def freed(fit: Fit, laplace: Laplace) -> Laplace:
    """Return a criterion with the shape to be estimated, where that of a fit was."""
    if general_part(fit, "a refit").shape_estimated and isinstance(
        laplace.family, NegativeBinomial
    ):
        return replace(laplace, family=NegativeBinomial(laplace.family.link))
    return laplace


def fit_like(fit: Fit, model: Model, observed: Observations) -> Fit:
    """Return the optimum of another model by the criterion of a fit.

    It is begun at the fit's estimates where the model has the same covariance parameters, and no
    fixed column that the fit has not.
    """
    problem, general = general_problem(fit, "a refit"), general_part(fit, "a refit")
    laplace = freed(fit, replace(problem.laplace, rows=Rows.of(model, observed)))
    begin = None
    known = laplace.rows.n_theta == len(fit.par) and set(model.fixed) <= set(fit.beta.index)
    if known and not fit.singular and bool(laplace.extra) == bool(problem.laplace.extra):
        extra = float(problem.psi[-1]) if laplace.extra else None
        beta = fit.beta[list(model.fixed)].to_numpy()
        begin = parameters(laplace, fit.theta.to_numpy(), beta, extra)
    return fit_general(laplace, general.nagq, begin=begin)


def _read(y: Any, problem: GeneralProblem) -> GeneralResponse:
    """Return the new response of the model's rows.

    Raises
    ------
    ArgumentError, DataError
    """
    model, n = problem.model, len(problem.model.y)
    if isinstance(y, pd.Series | pd.DataFrame):
        y = aligned(y, model.rows, "y", "the model")
    by_trials = model.response.startswith("cbind(")
    shapes = f"{n} numbers" + (f", or {n} rows of successes and failures" if by_trials else "")
    try:
        values = np.array(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"y must be {shapes}, one for each row of the model, but is a {type(y).__name__} of "
            f"something else; give 0 and 1 where the response was a factor"
        ) from error
    if values.shape != (n,) and not (by_trials and values.shape == (n, 2)):
        raise ArgumentError(f"y has shape {values.shape}, but must be {shapes}, row by row")
    if not np.isfinite(values).all():
        raise DataError(
            f"y is missing or infinite in {np.count_nonzero(~np.isfinite(values))} values; fill "
            f"them in, or fit the other rows with pymackay.glmer"
        )
    return response_of(problem, values)


def response_of(problem: GeneralProblem, values: np.ndarray) -> GeneralResponse:
    """Return the response of values, (n,) or (n, 2), as `pymackay.simulate` draws them.

    Raises
    ------
    DataError
        If the family cannot have them.
    """
    model, family = problem.model, problem.laplace.family
    prior = problem.laplace.rows.observed.weights
    if model.response.startswith("cbind("):
        trials = _trials(problem, None)
        prior = np.divide(prior, trials, out=np.ones_like(prior), where=trials > 0.0)
        if values.ndim == 1:
            values = np.column_stack([values, trials - values])
    return read_response(Numeric(values), model.response, family.support, prior, family.name)


def _trials(problem: GeneralProblem, response: GeneralResponse | None) -> np.ndarray:
    """Return the numbers of trials of a response given by ``cbind``, (n,): the model's by default.

    Totals are those, unless no row has more than one: then they are the weights.
    """
    observed = problem.laplace.rows.observed
    column = problem.model.columns.get(problem.model.response)
    if response is not None and response.totals is not None:
        return response.totals
    if isinstance(column, Numeric) and column.values.ndim == 2:
        return np.asarray(column.floats.sum(axis=1))
    return observed.totals


def refitted_rows(fit: Fit, smaller: Model, rows: np.ndarray) -> Fit:
    """Return the optimum of the model of some rows, (n,) of bool, begun at the fit's estimates.

    Raises
    ------
    PymackayError
        If there is none, because the rows are separated, say.
    """
    observed = general_problem(fit, "influence").laplace.rows.observed
    return fit_like(fit, smaller, observed.rows(rows))


@dataclass(frozen=True, eq=False)
class Refits:
    """Refits to drawn responses.

    Attributes
    ----------
    answers : Answers
        Their numbers; nan for responses that have no estimates.
    failures : dict of int to str
        Why a response has none.
    """

    answers: Answers
    failures: dict[int, str]


def refits_to(
    fit: Fit, portions: Iterable[np.ndarray], count: int, progress: bool | None
) -> Refits:
    """Return the refits to drawn responses that come in portions, (n, any number), in order.

    Side by side where the model allows it; what has no certificate then is refitted by itself.
    """
    problem, nagq = general_problem(fit, "bootstrap"), general_part(fit, "a refit").nagq
    laplace = freed(fit, problem.laplace)
    together = may_go_together(laplace, nagq)
    refits = Refits(Answers.nothing(laplace.rows, count), {})
    done = 0
    with Progress(asked=progress) as line:
        for portion in portions:
            places = np.arange(done, done + portion.shape[1])
            if together:
                _refit_together(problem, laplace, portion, places, refits)
                line.tell(f"{bar(int(places[-1]) + 1, count)} refits")
            for k in places[~refits.answers.converged[places]].tolist():
                if k not in refits.failures:
                    _refit_one(fit, portion[:, k - done], k, refits)
                line.tell(f"{bar(k + 1, count)} refits")
            done += portion.shape[1]
    return refits


def _refit_together(
    problem: GeneralProblem, laplace: Laplace, portion: np.ndarray, places: np.ndarray, to: Refits
) -> None:
    """Search side by side with the responses of a portion, (n, B); `to` is written to."""
    kept, responses = [], []
    for k, y in zip(places.tolist(), portion.T, strict=True):
        try:
            response = response_of(problem, y)
        except PymackayError as error:
            to.failures[k] = str(error)
            continue
        kept.append(k)
        responses.append(Observations.of(response.y, response.weights, response.totals))
    answers, refused = fit_together(laplace, responses, further=False)
    to.answers.put(np.array(kept, dtype=int), answers)
    to.failures.update({kept[k]: reason for k, reason in refused.items()})


def _refit_one(fit: Fit, y: np.ndarray, k: int, to: Refits) -> None:
    """Search with one response, (n,), the k-th; `to` is written to."""
    try:
        to.answers.put_fit(k, refit_to(fit, response_of(general_problem(fit, "bootstrap"), y)))
    except PymackayError as error:
        to.failures[k] = str(error)
    except np.linalg.LinAlgError as error:
        to.failures[k] = f"the criterion has no value ({error})."
