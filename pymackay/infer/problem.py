"""`problem_of`: the model and the solver behind a fit, or an error that says how to get them."""

from __future__ import annotations

from pymackay.errors import PymackayError
from pymackay.late import residual_refusal
from pymackay.model.model import Model
from pymackay.model.sums.gram import Gram
from pymackay.results import Fit
from pymackay.results import check_fit as check_fit
from pymackay.solve.assemble import Problem
from pymackay.solve.solver import ExactSolver

_ROWS = (
    "Fit a data frame of the rows that you need, or evaluate it at this fit's theta with "
    "pymackay.evaluate(formula, data, fit.theta)."
)
_DENSE = 8000  # rows of a dense matrix, half a gigabyte, that may be made without asking


def problem_of(fit: object, what: str) -> Problem:
    """Return the problem that a fit of a linear model solves.

    Parameters
    ----------
    fit : Fit
    what : str
        What needs it, for the error message.

    Raises
    ------
    ArgumentError
        If `fit` is not a `Fit`.
    PymackayError
        If another engine made it, so that it holds no model arrays, or if it is of a generalised
        model.
    """
    checked = check_fit(fit, what)
    if checked.general is not None:
        raise PymackayError(
            f"{what} is not there for generalised linear mixed models; fit a linear model with "
            f"pymackay.lmer."
        )
    if checked.residual_covariance is not None:
        raise residual_refusal(what)
    problem = checked.problem
    if not isinstance(problem, Problem):
        raise _foreign(checked, what)
    return problem


def _foreign(fit: Fit, what: str) -> PymackayError:
    return PymackayError(
        f"{what} needs the model's own arrays, but this fit was made by {fit.engine} and "
        f"does not hold them. Fit the same formula and data with "
        + (
            "pymackay.lmer, or evaluate them at this fit's theta with "
            "pymackay.evaluate(formula, data, fit.theta)."
            if fit.general is None
            else "pymackay.glmer."
        )
    )


def design_of(fit: object, what: str, *, residual: bool = False) -> Model:
    """Return the model that a fit is of, linear or generalised; its rows may not be there.

    Parameters
    ----------
    fit : Fit
    what : str
        What needs it, for the error message.
    residual : bool
        Whether what needs it holds for models with a residual structure too.

    Raises
    ------
    ArgumentError, PymackayError
        As `problem_of`.
    """
    checked = check_fit(fit, what)
    structured = residual and checked.residual_covariance is not None
    if checked.general is None and not structured:
        return problem_of(checked, what).model
    model = getattr(checked.problem, "model", None)
    if not isinstance(model, Model):
        raise _foreign(checked, what)
    return model


def model_of(fit: object, what: str, cure: str = "", *, residual: bool = False) -> Model:
    """Return the model that a fit is of, with its rows.

    Parameters
    ----------
    fit : Fit
    what : str
        What needs it, for the error message.
    cure : str
        What to do where the rows were not kept, if there is something simpler than a fit of them.
    residual : bool
        As of `design_of`.

    Raises
    ------
    ArgumentError, PymackayError
        As `problem_of`, and if the rows were only summed up and not kept.
    """
    model = design_of(fit, what, residual=residual)
    if not len(model.y):
        raise PymackayError(
            f"{what} needs the rows that the model was fitted to, but they were summed up and not "
            f"kept. {cure or _ROWS}"
        )
    return model


def exact_solver(problem: Problem, what: str) -> ExactSolver:
    """Return the exact solver of a problem's equations.

    That of an iterative fit is made from its sparse sums, if they are not too large.

    Parameters
    ----------
    problem : Problem
    what : str
        What needs it, for the error message.

    Raises
    ------
    PymackayError
        If they are too large.
    """
    solver = problem.solver.exact(_DENSE)
    if solver is None:
        bases = problem.solver.bases
        raise PymackayError(
            f"{what} needs a dense matrix of {bases.n_others + bases.p:,} rows, which this fit by "
            f"the iterative solver was made without; fit with solver='exact' if the memory allows "
            f"it, or ask for predictions without standard errors"
        )
    return solver


def dense_gram(problem: Problem, what: str) -> Gram:
    """Return the cross-products that exact answers stand on (see `exact_solver`)."""
    return exact_solver(problem, what).sums
