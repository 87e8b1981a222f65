"""`residual_problem`: the model and criterion behind a fit with a residual structure."""

from __future__ import annotations

from pymackay.errors import PymackayError
from pymackay.infer.problem import check_fit
from pymackay.results import Fit
from pymackay.solve.marginal.problem import ResidualProblem


def residual_problem(fit: Fit, what: str) -> ResidualProblem:
    """Return the problem that a fit with a residual structure solves.

    Parameters
    ----------
    fit : Fit
    what : str
        What needs it, for the error message.

    Raises
    ------
    PymackayError
        If the fit does not hold it.
    """
    problem = check_fit(fit, what).problem
    if not isinstance(problem, ResidualProblem):
        raise PymackayError(
            f"{what} needs the model's own arrays, which this fit by {fit.engine} does not hold. "
            f"Fit the same formula, data and residual with pymackay.lmer."
        )
    return problem
