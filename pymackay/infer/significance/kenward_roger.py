"""Kenward and Roger's adjusted covariance and degrees of freedom, from exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from pymackay.covariance.chart import chart_around
from pymackay.infer.problem import dense_gram, problem_of
from pymackay.infer.significance.precision import (
    FTest,
    flat_message,
    independent_rows,
    inverse_where_known,
    wald_statistic,
)
from pymackay.model.sums.gram import Gram
from pymackay.results import Fit
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.exact.derivatives import differentiate
from pymackay.solve.marginal.bent import along_curvature
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
        Inverse of the information on them: expected; observed beside a residual structure.
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

    Instead of sigma² the direction of V itself is taken with the elements of G: the same linear
    space, in which ``tr(PV) = n − p`` and the adjustment has no part along V. Where V is no linear
    function of its parameters (`ar1`, `ou`, standard deviations of strata), the term with its
    second derivatives is that of 2009, which counts the bias of the parameters and does not depend
    on how they are written; see `_bending`. It is zero where the covariance matrices are a linear
    space: ``cs(0 + f | g, hom = TRUE)`` has the result of ``(1 | g/f)``.

    References
    ----------
    Kenward, Roger 1997, Biometrics 53.
    Kenward, Roger 2009, Comput. Statist. Data Anal. 53(7).
    Halekoh, Højsgaard 2014, J. Stat. Softw. 59(9).
    """
    if fit.residual_covariance is not None:
        return _beside_residual_structure(fit)
    gram = dense_gram(problem_of(fit, _WHAT), _WHAT)
    factors = factors_from_theta(gram, fit.theta.to_numpy())
    local = differentiate(gram, factors, reml=True)
    m = gram.n_theta
    information = np.empty((m + 1, m + 1))
    information[:m, :m] = local.trace_products
    information[:m, m] = information[m, :m] = local.traces
    information[m, m] = gram.n - gram.p
    W = 2.0 * inverse_where_known(information)[0]
    added = np.einsum("ij,ijab->ab", W[:m, :m], local.products[:, :, :-1, :-1], optimize=True)
    root = fit.sigma * np.linalg.inv(gram.basis.R)
    along = np.concatenate([local.slopes[:, :-1, :-1], local.precision_inverse[None]])
    if any(layout.structure is not None for layout in gram.layouts):
        added = added - 0.25 * _bending(W, along, *_curvature_of_terms(gram, factors, W))
    return KenwardRoger(
        vcov=root @ (local.precision_inverse + 2.0 * added) @ root.T,
        plain=root @ local.precision_inverse @ root.T,
        slopes=root @ along @ root.T,
        parameter_vcov=W,
    )


def _bending(
    W: np.ndarray, slopes: np.ndarray, fixed: np.ndarray, traces: np.ndarray
) -> np.ndarray:
    """Return ``ΦX'V⁻¹(H − H∥)V⁻¹XΦ``, (p, p): how V curves away from its tangents.

    ``H = Σ W_ij V̈_ij`` is the term of 1997. The parameters' bias is ``−½ h`` with
    ``h = ½ W tr(PV̇PH)`` (Cox & Snell 1968, J. R. Statist. Soc. B 30, for REML), so that it takes
    off the part of H along the tangents, ``H∥ = Σ h_i V̇_i``.

    Parameters
    ----------
    W : numpy.ndarray, shape (m + 1, m + 1)
        Inverse of the expected information.
    slopes : numpy.ndarray, shape (m + 1, p, p)
        ``ΦX'V⁻¹V̇ᵢV⁻¹XΦ``, the last along V.
    fixed : numpy.ndarray, shape (p, p)
        The same of H.
    traces : numpy.ndarray, shape (m + 1,)
        ``tr(P V̇ᵢ P H)``.
    """
    return np.asarray(fixed - np.tensordot(0.5 * W @ traces, slopes, axes=1))


def _curvature_of_terms(
    gram: Gram, factors: list[np.ndarray], W: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return of H what `_bending` takes, (p, p) and (m + 1,); other terms are linear."""
    beside = []
    for layout, factor in zip(gram.layouts, factors, strict=True):
        own, made = slice(layout.start, layout.stop), np.zeros((layout.q, layout.q))
        if layout.structure is not None:
            made = chart_around(layout.structure, factor).bent(W[own, own])
        beside.append(made)
    local, m = differentiate(gram, factors, reml=True, beside=beside), gram.n_theta
    traces = np.append(local.trace_products[m:, :m].sum(axis=0), local.traces[m:].sum())
    return local.slopes[m:, :-1, :-1].sum(axis=0), traces


def _beside_residual_structure(fit: Fit) -> KenwardRoger:
    """Return the same for a fit with a residual structure; the last parameter is log σ².

    The covariance W of the parameters is from the observed information, as in SAS's PROC MIXED and
    R's mmrm, where pbkrtest has the expected one: with missing visits they differ. How V curves is
    measured against its tangents in the expected information, whatever W is (see `_bending`).
    """
    problem: ResidualProblem = fit.problem
    point, sums = problem.point, problem.point.sums
    P, p = len(point.psi), len(point.beta)
    expected = np.empty((P + 1, P + 1))
    expected[:P, :P] = sums.products
    expected[:P, P] = expected[P, :P] = sums.traces
    expected[P, P] = problem.marginal.nu
    inverse, omitted = inverse_where_known(problem.curvature)
    W = 2.0 * inverse
    fixed = sums.slopes[:, :p, :p]
    along = np.concatenate([fixed, np.eye(p)[None]])
    added = np.einsum("ij,ijab->ab", W[:P, :P], point.fixed_products())
    added -= np.einsum("ij,iab,jbc->ac", W[:P, :P], fixed, fixed, optimize=True)
    curved = along_curvature(point, W[:P, :P])
    added -= 0.25 * _bending(2.0 * inverse_where_known(expected)[0], along, *curved)
    root = fit.sigma * problem.marginal.basis.from_basis(point.root)
    return KenwardRoger(
        vcov=root @ (np.eye(p) + 2.0 * added) @ root.T,
        plain=root @ root.T,
        slopes=root @ along @ root.T,
        parameter_vcov=W,
        messages=() if not omitted else (flat_message(omitted, "Kenward and Roger's"),),
    )
