"""`wald_ends`: normal intervals of a model with a residual structure."""

from __future__ import annotations

import numpy as np

from pymackay.infer.intervals.parameters import Parameter
from pymackay.infer.residual.problem import residual_problem
from pymackay.infer.significance.precision import inverse_where_known
from pymackay.results import Fit


def wald_ends(fit: Fit, parameter: Parameter, quantile: float) -> tuple[float, float]:
    """Return the ends of the interval of a coefficient or of a residual parameter; else nan.

    Ratios of standard deviations are on the log scale, correlations on one on which they may have
    any value (Fisher's z of ``ar1`` and ``us``), as nlme's ``intervals`` has them. The covariance
    is twice the inverse of the observed curvature of the criterion, REML or ML, profiled over
    sigma. Ends are nan where the data do not determine a parameter.
    """
    if parameter.kind == "beta":
        reach = quantile * float(fit.std_error.iloc[parameter.first])
        return parameter.estimate - reach, parameter.estimate + reach
    problem = residual_problem(fit, "confint")
    cut, structure = problem.marginal.n_theta, problem.marginal.residual.structure
    inverse, omitted = inverse_where_known(problem.point.curvature.hessian)
    if parameter.kind != "residual" or omitted:
        return float("nan"), float("nan")
    w, J = structure.free_scale(problem.psi[cut:])
    reach = quantile * np.sqrt(2.0 * np.einsum("ia,ab,ib->i", J, inverse[cut:, cut:], J))
    low, high = w - reach, w + reach
    ends = [structure.from_free_scale(x) for x in (low, np.clip(0.0, low, high), high)]
    of_one = np.array(ends)[:, parameter.first]
    return float(of_one.min()), float(of_one.max())
