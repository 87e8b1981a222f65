"""Kenward and Roger's adjusted covariance and degrees of freedom, from exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from pymackay.infer.problem import dense_gram, problem_of
from pymackay.infer.significance.precision import (
    FTest,
    independent_rows,
    inverse_where_known,
    wald_statistic,
)
from pymackay.results import Fit
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.exact.derivatives import differentiate
from pymackay.solve.marginal.problem import ResidualProblem

_WHAT = "ddf='Kenward-Roger'"


@dataclass(frozen=True, eq=False)
class KenwardRoger:
    """The adjusted covariance of beta, and what its degrees of freedom are made of.

    Attributes
    ----------
    vcov : numpy.ndarray, shape (p, p)
        Adjusted covariance of beta, absolute scale.
    plain : numpy.ndarray, shape (p, p)
        The covariance before adjustment.
    slopes : numpy.ndarray, shape (m + 1, p, p)
        Derivatives of `plain` along the parameters of V: G's elements, and V itself.
    parameter_vcov : numpy.ndarray, shape (m + 1, m + 1)
        Inverse of the expected information on them.
    messages : tuple of str
    """

    vcov: np.ndarray
    plain: np.ndarray
    slopes: np.ndarray
    parameter_vcov: np.ndarray
    messages: tuple[str, ...] = ()

    def t_df(self, row: np.ndarray) -> float:
        """Return the degrees of freedom of the t test of one linear function, shape (p,)."""
        return self._moments(row[None])[0]

    def f_test(self, L: np.ndarray, difference: np.ndarray) -> FTest:
        """Test with the adjusted covariance, scaled so that mean and variance are an F's."""
        rows, delta = independent_rows(L, difference, self.vcov)
        df, scale = self._moments(rows)
        wald = wald_statistic(rows @ self.vcov @ rows.T, delta) / len(rows)
        return FTest(wald, scale * wald, len(rows), df)

    def _moments(self, L: np.ndarray) -> tuple[float, float]:
        """Return denominator df and scale (Kenward & Roger 1997, section 3.2, with λ)."""
        q = len(L)
        factor = np.linalg.cholesky(L @ self.plain @ L.T)
        half = scipy.linalg.solve_triangular(factor, L, lower=True)
        X = half @ self.slopes @ half.T
        along = np.einsum("iaa->i", X)
        A1 = float(along @ self.parameter_vcov @ along)
        A2 = float(np.einsum("ij,iab,jba->", self.parameter_vcov, X, X, optimize=True))
        B = (A1 + 6.0 * A2) / (2.0 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        c1, c2, c3 = np.array([g, q - g, q + 2 - g]) / (3 * q + 2 * (1 - g))
        first, second, third = 1.0 + c1 * B, 1.0 - c2 * B, 1.0 - c3 * B
        mean = 1.0 - A2 / q
        # balanced one-way layouts can make both vanish together: their ratio is one
        ratio = 1.0 if max(abs(mean), abs(second)) < 1e-14 else mean / second
        rho = ratio**2 * (0.0 if abs(first) < 1e-10 else first) / third / q
        df = 4.0 + (q + 2) / (q * rho - 1.0)
        return df, 1.0 if abs(df - 2.0) < 1e-2 else df * mean / (df - 2.0)


def kenward_roger(fit: Fit) -> KenwardRoger:
    """Return what Kenward and Roger's method needs of a REML fit.

    V is linear in its parameters, so the term with its second derivatives is zero. Instead of
    sigma² the direction of V itself is taken with the elements of G: the same linear space, in
    which ``tr(PV) = n − p`` and the adjustment has no part along V. A structure enters by its
    tangents, and the term with second derivatives is left out (as by SAS's option
    ``ddfm=kenwardroger(firstorder)``), so that the result does not depend on how the parameters
    are written: ``cs(0 + f | g, hom = TRUE)`` has that of ``(1 | g/f)``.

    References
    ----------
    Kenward, Roger 1997, Biometrics 53.
    Halekoh, Højsgaard 2014, J. Stat. Softw. 59(9).
    """
    if fit.residual_covariance is not None:
        return _beside_residual_structure(fit)
    gram = dense_gram(problem_of(fit, _WHAT), _WHAT)
    local = differentiate(gram, factors_from_theta(gram, fit.theta.to_numpy()), reml=True)
    m = gram.n_theta
    information = np.empty((m + 1, m + 1))
    information[:m, :m] = local.trace_products
    information[:m, m] = information[m, :m] = local.traces
    information[m, m] = gram.n - gram.p
    W = 2.0 * inverse_where_known(information)[0]
    added = np.einsum("ij,ijab->ab", W[:m, :m], local.products[:, :, :-1, :-1], optimize=True)
    root = fit.sigma * np.linalg.inv(gram.basis.R)
    along = np.concatenate([local.slopes[:, :-1, :-1], local.precision_inverse[None]])
    return KenwardRoger(
        vcov=root @ (local.precision_inverse + 2.0 * added) @ root.T,
        plain=root @ local.precision_inverse @ root.T,
        slopes=root @ along @ root.T,
        parameter_vcov=W,
    )


def _beside_residual_structure(fit: Fit) -> KenwardRoger:
    """Return the same for a fit with a residual structure; the last parameter is σ².

    It is ``"Kenward-Roger-Linear"`` of R's mmrm.
    """
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
    root = fit.sigma * problem.marginal.basis.from_basis(point.root)
    along = np.concatenate([fixed, np.eye(p)[None]])
    return KenwardRoger(
        vcov=root @ (np.eye(p) + 2.0 * added) @ root.T,
        plain=root @ root.T,
        slopes=root @ along @ root.T,
        parameter_vcov=W,
    )
