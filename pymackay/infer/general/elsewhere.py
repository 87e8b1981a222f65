"""`at_parameters_of`: a generalised model at the parameters of another fit; what has no optimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymackay.errors import PymackayError, SeparationError
from pymackay.infer.general.problem import general_part, general_problem
from pymackay.infer.kinds import any_kind
from pymackay.results import Fit
from pymackay.solve.pirls.assemble import parameters
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.fit import evaluate_general, refuse_separation
from pymackay.solve.pirls.mode import is_lower


@any_kind
def at_parameters_of(fit: Fit, other: Fit) -> Fit:
    """Return a fit of this model at another fit's theta, beta and shape or dispersion.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    other : Fit
        Of the same model, its terms and columns in the same order.

    Raises
    ------
    PymackayError
        If `fit` does not hold its model, or its parameters cannot be those of `other`.
    """
    laplace, psi = _parameters_of(fit, other)
    return evaluate_general(laplace, general_part(other, "evaluation").nagq, psi)


@any_kind
def at_modes_of(fit: Fit, other: Fit) -> Fit | None:
    """Return `at_parameters_of` at the other fit's modes, where lower ones exist; otherwise None.

    Random effects may have several modes if a density is not a log-concave function of the linear
    predictor.
    """
    lowest = at_parameters_of(fit, other)
    if lowest.general is None or lowest.general.family.is_log_concave:
        return None
    laplace, psi = _parameters_of(fit, other)
    theirs = general_part(other, "evaluation at its modes")
    near = evaluate_general(laplace, theirs.nagq, psi, theirs.linear_predictor.to_numpy())
    points = [general_problem(one, "a mode").point for one in (lowest, near)]
    return near if is_lower(points[0].given, points[0].mode, points[1].mode) else None


def _parameters_of(fit: Fit, other: Fit) -> tuple[Laplace, np.ndarray]:
    """Return the criterion of a fit, and the parameters ψ, (P,), of another of the same model."""
    laplace = general_problem(fit, "evaluation at other parameters").laplace
    theirs = general_part(other, "evaluation at its parameters")
    if general_part(fit, "evaluation").shape_estimated and not laplace.extra:
        # counts that are not overdispersed: the search held the shape where it is Poisson's
        family = laplace.family.with_shape(theirs.shape)  # type: ignore[attr-defined]
        laplace = replace(laplace, family=family)
    given = {"": None, "shape": theirs.shape, "dispersion": theirs.dispersion}
    extra = given[laplace.extra or ""]
    if extra is not None and not (np.isfinite(extra) and extra > 0.0):
        raise PymackayError(f"the other fit has no {laplace.extra}, which this model estimates")
    log = None if extra is None else float(np.log(extra))
    return laplace, parameters(laplace, other.theta.to_numpy(), other.beta.to_numpy(), log)


@any_kind
def separation(fit: Fit) -> str:
    """Return why the likelihood of a fit's model has no maximum; empty if that is not known."""
    if fit.general is None or fit.problem is None:
        return ""
    laplace = general_problem(fit, "separation", rows=False).laplace
    if laplace.rows.source is not None:
        return ""  # the fit was checked while its rows were read
    try:
        refuse_separation(laplace.rows, laplace.family)
    except SeparationError as error:
        return str(error)
    return ""
