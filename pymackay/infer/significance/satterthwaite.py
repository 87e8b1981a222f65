"""Satterthwaite's degrees of freedom, from exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.chart import chart_around
from pymackay.infer.problem import dense_gram, problem_of
from pymackay.infer.significance.chain import bend, jacobian
from pymackay.infer.significance.precision import FTest, flat_message, inverse_where_known
from pymackay.model.sums.gram import Gram
from pymackay.results import Fit
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.exact.derivatives import Derivatives, differentiate
from pymackay.solve.marginal.problem import ResidualProblem

_WHAT = "ddf='Satterthwaite'"
_SAME = 1e-8  # degrees of freedom nearer than this are averaged
_RANK = float(np.sqrt(np.finfo(float).eps))


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """The first two moments of the estimated covariance of beta.

    Attributes
    ----------
    vcov : numpy.ndarray, shape (p, p)
        Of beta, absolute scale.
    slopes : numpy.ndarray, shape (m + 1, p, p)
        Derivatives of `vcov` by theta and by sigma (beside a residual structure by log sigma²).
    parameter_vcov : numpy.ndarray, shape (m + 1, m + 1)
        Covariance of these parameters: twice the inverse of the deviance's curvature.
    messages : tuple of str
    """

    vcov: np.ndarray
    slopes: np.ndarray
    parameter_vcov: np.ndarray
    messages: tuple[str, ...] = ()

    def t_df(self, row: np.ndarray) -> float:
        """Return ``2 (l'Vl)² / Var(l'Vl)`` for one linear function l of beta, shape (p,)."""
        variance = float(row @ self.vcov @ row)
        gradient = np.einsum("a,iab,b->i", row, self.slopes, row)
        spread = float(gradient @ self.parameter_vcov @ gradient)
        return 2.0 * variance**2 / spread if spread > 0.0 else float("inf")

    def f_test(self, L: np.ndarray, difference: np.ndarray) -> FTest:
        """Test along the principal axes of ``L V L'``, their degrees of freedom put together.

        The axes, and with them the denominator degrees of freedom, depend on how L is written:
        rows of other lengths or angles that state the same hypothesis have other axes. lmerTest's
        tables of terms take the rows as they are. `contrast` takes orthonormal rows.
        """
        covariance = L @ self.vcov @ L.T
        values, vectors = np.linalg.eigh(covariance)
        kept = values > _RANK * values[-1]
        errors = np.sqrt(np.diag(covariance))
        by_error = np.linalg.eigvalsh(covariance / np.outer(errors, errors))
        if kept.sum() < (by_error > _RANK * by_error[-1]).sum():  # by the rows' units, not by rank
            return self.f_test(L / errors[:, None], difference / errors)
        axes = vectors[:, kept].T
        wald = float(np.mean((axes @ difference) ** 2 / values[kept]))
        df = np.array([self.t_df(row) for row in axes @ L])
        return FTest(wald, wald, len(axes), _joint_df(df))


def _joint_df(df: np.ndarray) -> float:
    """Return the df of an F whose mean is that of the mean of independent t(df)²."""
    if np.ptp(df) < _SAME or np.isinf(df).all():
        return float(df.mean())
    if df.min() <= 2.0:
        return 2.0
    total = float(np.sum(1.0 / (1.0 - 2.0 / df)))
    return 2.0 * total / (total - len(df))


def satterthwaite(fit: Fit) -> Satterthwaite:
    """Return what Satterthwaite's method needs of a fit.

    The covariance of theta and sigma comes from the observed curvature of the deviance (REML or
    ML, as the fit), not profiled over sigma, as in lmerTest. A structure has the parameters of its
    chart: the result does not depend on how parameters are written. Directions that the data do not
    determine, or along which the deviance curves down, are left out of its inverse.

    References
    ----------
    Kuznetsova, Brockhoff, Christensen 2017, J. Stat. Softw. 82(13), section 2.
    Giesbrecht, Burns 1985, Biometrics 41.
    """
    if fit.residual_covariance is not None:
        return _beside_residual_structure(fit)
    gram = dense_gram(problem_of(fit, _WHAT), _WHAT)
    return satterthwaite_at(gram, fit.theta.to_numpy(), fit.sigma, reml=fit.reml)


def _beside_residual_structure(fit: Fit) -> Satterthwaite:
    """Return what Satterthwaite's method needs of a fit with a residual structure.

    The parameters are ψ, those of random terms and residuals, and log σ²; their covariance is twice
    the inverse of the observed curvature of the deviance at these, as in R's mmrm and lmerTest.
    With ``C = σ² (X'V⁻¹X)⁻¹``, ``dC/dψᵢ = σ² (X'V⁻¹X)⁻¹ X'V⁻¹V̇ᵢV⁻¹X (X'V⁻¹X)⁻¹``.
    """
    problem: ResidualProblem = fit.problem
    point = problem.point
    inverse, omitted = inverse_where_known(problem.curvature)
    root = fit.sigma * problem.marginal.basis.from_basis(point.root)
    along = np.concatenate([point.sums.slopes[:, :-1, :-1], np.eye(len(point.beta))[None]])
    return Satterthwaite(
        vcov=root @ root.T,
        slopes=root @ along @ root.T,
        parameter_vcov=2.0 * inverse,
        messages=() if not omitted else (flat_message(omitted),),
    )


def satterthwaite_at(gram: Gram, theta: np.ndarray, sigma: float, *, reml: bool) -> Satterthwaite:
    """Return what Satterthwaite's method needs at an optimum of the criterion of these sums.

    Parameters
    ----------
    gram : Gram
    theta : numpy.ndarray, shape (m,)
        In the user's units.
    sigma : float
        Residual standard deviation, in the user's units.
    reml : bool
    """
    factors = factors_from_theta(gram, theta)
    local = differentiate(gram, factors, reml=reml)
    relative = sigma / gram.y_scale
    chained = _theta_jacobian(gram, theta)
    bending = _bending(gram, factors, local, relative)
    curvature = _curvature(chained, bending, local, relative, gram.n - gram.p * reml)
    inverse, n_omitted = inverse_where_known(curvature)
    root = np.linalg.inv(gram.basis.R)
    by_theta = np.tensordot(chained.T, local.slopes[:, :-1, :-1], axes=1)
    by_sigma = 2.0 / relative * local.precision_inverse
    slopes = root @ np.concatenate([by_theta, by_sigma[None]]) @ root.T
    messages = () if not n_omitted else (flat_message(n_omitted),)
    return Satterthwaite(
        vcov=sigma**2 * (root @ local.precision_inverse @ root.T),
        slopes=sigma**2 * slopes,
        parameter_vcov=2.0 * inverse,
        messages=messages,
    )


def _theta_jacobian(gram: Gram, theta: np.ndarray) -> np.ndarray:
    """Return the derivatives of G's elements by theta, shape (m, m).

    A term with a structure is differentiated along its chart: the identity.
    """
    derivatives = np.eye(gram.n_theta)
    for layout, T in zip(gram.layouts, gram.transforms, strict=True):
        if layout.structure is None:
            span = slice(layout.start, layout.stop)
            derivatives[span, span] = jacobian(np.linalg.inv(T), layout.factor(theta), layout)
    return derivatives


def _curvature(
    by_theta: np.ndarray,
    bending: np.ndarray,
    local: Derivatives,
    sigma: float,
    nu: int,
) -> np.ndarray:
    """Return the second derivatives of the deviance by (theta, sigma), shape (m + 1, m + 1)."""
    m = len(by_theta)
    squares = local.slopes[:, -1, -1]
    observed = 2.0 * local.products[:, :, -1, -1] / sigma**2 - local.trace_products
    curvature = np.empty((m + 1, m + 1))
    curvature[:m, :m] = by_theta.T @ observed @ by_theta + bending
    curvature[:m, m] = curvature[m, :m] = 2.0 / sigma**3 * (squares @ by_theta)
    curvature[m, m] = 6.0 * local.r2 / sigma**4 - 2.0 * nu / sigma**2
    return curvature


def _bending(gram: Gram, factors: list[np.ndarray], local: Derivatives, sigma: float) -> np.ndarray:
    """Return what the second derivatives of G by theta, or by a chart, add, shape (m, m)."""
    added = np.zeros((gram.n_theta, gram.n_theta))
    score = local.traces - local.slopes[:, -1, -1] / sigma**2
    for term, (layout, T) in enumerate(zip(gram.layouts, gram.transforms, strict=True)):
        span = slice(layout.start, layout.stop)
        if layout.structure is None:
            added[span, span] = bend(np.linalg.inv(T), score[span], layout)
        else:
            S = local.level_traces[term] - local.level_squares[term] / sigma**2
            added[span, span] = chart_around(layout.structure, factors[term]).bending(S)
    return added
