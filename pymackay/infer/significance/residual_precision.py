"""Degrees of freedom of fixed effects beside a residual structure, from exact derivatives."""

from __future__ import annotations

import numpy as np

from pymackay.errors import PymackayError
from pymackay.infer.significance.kenward_roger import KenwardRoger
from pymackay.infer.significance.precision import inverse_where_known
from pymackay.infer.significance.satterthwaite import Satterthwaite, flat_message
from pymackay.results import Fit
from pymackay.solve.marginal.problem import ResidualProblem


def satterthwaite(fit: Fit) -> Satterthwaite:
    """Return what Satterthwaite's method needs of a fit with a residual structure.

    The parameters are ψ, those of random terms and residuals, and σ; their covariance is twice the
    inverse of the observed curvature of the deviance at these, as in R's mmrm and lmerTest. With
    ``C = σ² (X'V⁻¹X)⁻¹``, ``dC/dψᵢ = σ² (X'V⁻¹X)⁻¹ X'V⁻¹V̇ᵢV⁻¹X (X'V⁻¹X)⁻¹``.
    """
    problem: ResidualProblem = fit.problem
    point, nu = problem.point, problem.marginal.nu
    sigma, P = float(np.sqrt(point.sigma2)), len(point.psi)
    squares = point.sums.squares
    curvature = np.empty((P + 1, P + 1))
    curvature[:P, :P] = point.observed
    curvature[:P, P] = curvature[P, :P] = 2.0 * squares / sigma**3
    curvature[P, P] = 6.0 * point.r2 / sigma**4 - 2.0 * nu / sigma**2
    inverse, omitted = inverse_where_known(curvature)
    root = _root(problem)
    by_psi = point.sums.slopes[:, :-1, :-1]
    by_sigma = 2.0 / sigma * np.eye(len(point.beta))
    slopes = root @ np.concatenate([by_psi, by_sigma[None]]) @ root.T
    return Satterthwaite(
        vcov=fit.sigma**2 * (root @ root.T),
        slopes=fit.sigma**2 * slopes,
        parameter_vcov=2.0 * inverse,
        messages=() if not omitted else (flat_message(omitted),),
    )


def _root(problem: ResidualProblem) -> np.ndarray:
    """Return A, (p, p), with ``A A' = (X'V⁻¹X)⁻¹`` in the user's columns."""
    return problem.marginal.basis.from_basis(problem.point.root)


def kenward_roger(fit: Fit) -> KenwardRoger:
    """Return what Kenward and Roger's method needs of a REML fit with a residual structure.

    As for linear models without one, V enters by its tangents, and the term with second
    derivatives is left out, so that the result does not depend on how parameters are written
    (``"Kenward-Roger-Linear"`` of R's mmrm; SAS's ``ddfm=kenwardroger(firstorder)``). The last
    parameter is σ².

    References
    ----------
    Kenward, Roger 1997, Biometrics 53.

    Raises
    ------
    PymackayError
        If the fit is not by REML.
    """
    if not fit.reml:
        raise PymackayError("Kenward and Roger's method needs a REML fit; fit with reml=True.")
    problem: ResidualProblem = fit.problem
    point, sums = problem.point, problem.point.sums
    P, p = len(point.psi), len(point.beta)
    information = np.empty((P + 1, P + 1))
    information[:P, :P] = sums.products
    information[:P, P] = information[P, :P] = sums.traces
    information[P, P] = problem.marginal.nu
    W = 2.0 * inverse_where_known(information)[0]
    fixed = sums.slopes[:, :p, :p]
    crossed = point.fixed_products() - np.einsum("iab,jbc->ijac", fixed, fixed)
    added = np.einsum("ij,ijab->ab", W[:P, :P], crossed)
    root = fit.sigma * _root(problem)
    along = np.concatenate([fixed, np.eye(p)[None]])
    return KenwardRoger(
        vcov=root @ (np.eye(p) + 2.0 * added) @ root.T,
        plain=root @ root.T,
        slopes=root @ along @ root.T,
        parameter_vcov=W,
    )
