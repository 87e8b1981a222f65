"""`condvar_error`: Monte-Carlo standard errors of the conditional variances of a fit."""

from __future__ import annotations

import numpy as np

from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import check_fit
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, factors_from_theta


@by_kind(cure="fit.condvar is exact but for Laplace's approximation.")
def condvar_error(fit: Fit) -> dict[str, np.ndarray]:
    """Return the Monte-Carlo standard errors of the diagonals of `fit.condvar` and `fit.pev`.

    The iterative solver estimates the variances with random probe vectors where the model has more
    than 2,048 random effects beside those of the factor that is eliminated. It uses 64 probes, or
    as many as the fit did. The part of pev that comes from the uncertainty of beta is exact. With
    64 probes the standard errors themselves are known to about a tenth.

    Parameters
    ----------
    fit : Fit
        Of any engine.

    Returns
    -------
    dict of str to numpy.ndarray, each (levels, q)
        By grouping factor, in the order of `fit.ranef`, squared units of the response; zeros
        where the variances are exact.

    Raises
    ------
    ArgumentError
        If `fit` is not a `Fit`.
    PymackayError
        If the fit does not offer `condvar`.

    Examples
    --------
    >>> import pymackay as pm
    >>> ratings = pm.datasets.simulate_crossed(9000, 4000, 3000, seed=1)
    >>> fit = pm.lmer("rating ~ 1 + (1 | user) + (1 | item)", ratings, solver="iterative")
    >>> share = fit.condvar_error()["item"][:, 0] / fit.condvar["item"][:, 0, 0]
    >>> bool(0.0 < share.max() < 0.1)
    True
    """
    check_fit(fit, "condvar_error")
    if not isinstance(fit.problem, Problem):
        return {group: np.zeros(value.shape[:2]) for group, value in fit.condvar.items()}
    solver = fit.problem.solver
    factors = factors_from_theta(solver.bases, fit.theta.to_numpy())
    errors = solver.error_variance(factors, with_beta=False).errors
    blocks = zip(solver.bases.blocks, errors, strict=True)
    by_group = {block.name: fit.sigma**2 * error for block, error in blocks}
    return {group: by_group[group] for group in fit.ranef}
