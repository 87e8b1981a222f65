"""`general_problem`: the model and criterion behind a fit of a generalised model."""

from __future__ import annotations

from pymackay.errors import PymackayError
from pymackay.family.general import General
from pymackay.infer.problem import design_of, model_of
from pymackay.results import Fit
from pymackay.solve.pirls.problem import GeneralProblem


def general_problem(fit: Fit, what: str, *, rows: bool = True, cure: str = "") -> GeneralProblem:
    """Return the problem that a fit solves.

    Parameters
    ----------
    fit : Fit
    what : str
        What needs it, for the error message.
    rows : bool
        Whether the rows are needed.
    cure : str
        What to do where they were not kept, if there is something simpler than a fit of them.

    Raises
    ------
    PymackayError
        If another engine made it, so that it holds no model arrays, or if the rows are needed and
        were read in passes.
    """
    if rows:
        model_of(fit, what, cure)
    else:
        design_of(fit, what)
    problem: GeneralProblem = fit.problem
    return problem


def likelihood_part(fit: Fit, what: str) -> General:
    """Return `general_part` of a fit whose criterion is a likelihood.

    Raises
    ------
    PymackayError
        If it is lme4's criterion of a family with a dispersion.
    """
    general = general_part(fit, what)
    if general.dispersion_by == "lme4":
        raise PymackayError(
            f"{what} needs a likelihood, which lme4's criterion of a family with a dispersion is "
            f"none of; fit the model with dispersion='ml'."
        )
    return general


def general_part(fit: Fit, what: str) -> General:
    """Return what a fit of a generalised model has besides that of a linear one.

    Raises
    ------
    PymackayError
        If it is a fit of a linear model.
    """
    if not isinstance(fit.general, General):
        raise PymackayError(
            f"{what} needs a fit of a generalised model, such as pymackay.glmer returns."
        )
    return fit.general
