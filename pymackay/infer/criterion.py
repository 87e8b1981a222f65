"""The same model fitted by the other criterion: REML for Kenward–Roger, ML for likelihoods."""

from __future__ import annotations

import warnings

from pymackay.errors import ConvergenceWarning
from pymackay.infer.problem import dense_gram, problem_of
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, assemble
from pymackay.solve.exact.make import make_solver
from pymackay.solve.search.newton import find_optimum

__all__ = ["ML_MESSAGE", "REML_MESSAGE", "refit_by"]

ML_MESSAGE = "refitted by ML (instead of REML)"
REML_MESSAGE = "refitted by REML (instead of ML), which Kenward and Roger's method needs"


def refit_by(fit: Fit, *, reml: bool) -> Fit:
    """Return the optimum of the same model by REML or ML.

    Raises
    ------
    PymackayError
        If the fit does not hold its model.

    Warns
    -----
    ConvergenceWarning
        When the optimum could not be certified.
    """
    what = f"a refit by {'REML' if reml else 'ML'}"
    given = problem_of(fit, what)
    problem = Problem(given.model, make_solver(dense_gram(given, what), reml=reml))
    optimum = find_optimum(problem.solver)
    if not optimum.convergence.converged:
        warnings.warn(
            f"the {'REML' if reml else 'ML'} optimum of {fit.formula!r} is not certified: "
            f"{optimum.convergence.message}. A simpler random part may be determined.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return assemble(problem, optimum.factors, optimum.evaluation, optimum.convergence)
