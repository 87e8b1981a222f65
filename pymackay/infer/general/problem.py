"""`general_problem`: the model and criterion behind a fit of a generalised model."""

from __future__ import annotations

from pymackay.errors import PymackayError
from pymackay.general import General
from pymackay.infer.problem import check_fit
from pymackay.results import Fit
from pymackay.solve.pirls.problem import GeneralProblem


def general_problem(fit: Fit, what: str) -> GeneralProblem:
    """Return the problem that a fit solves.

    Parameters
    ----------
    fit : Fit
    what : str
        What needs it, for the error message.

    Raises
    ------
    PymackayError
        If another engine made it, so that it holds no model arrays.
    """
    problem = check_fit(fit, what).problem
    if not isinstance(problem, GeneralProblem):
        raise PymackayError(
            f"{what} needs the model's own arrays, but this fit was made by {fit.engine} and does "
            f"not hold them. Fit the same formula and data with pymackay.glmer."
        )
    return problem


def general_part(fit: Fit, what: str) -> General:
    """Return what a fit of a generalised model has besides that of a linear one.

    Raises
    ------
    PymackayError
        If it is a fit of a linear model.
    """
    if fit.general is None:
        raise PymackayError(
            f"{what} needs a fit of a generalised model, such as pymackay.glmer returns."
        )
    return fit.general
