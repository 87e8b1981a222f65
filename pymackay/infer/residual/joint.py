"""`error_variances`: of predicted means of a model with a residual structure."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp

from pymackay.infer.predict.rows import Rows, quadratic
from pymackay.infer.residual.problem import residual_problem
from pymackay.model.sums.gram import sparse_design
from pymackay.results import Fit
from pymackay.solve.assemble import alive
from pymackay.solve.marginal.problem import ResidualProblem


def error_variances(fit: Fit, rows: Rows) -> np.ndarray:
    """Return the variance of ``x'β̂ + z'(b̂ − b)`` of each row, absolute, shape (m,).

    With c = z'GZ', the covariance of z'b with the responses, it is
    ``σ² (z'Gz − cV⁻¹c' + r'Φr)``, where ``Φ = (X'V⁻¹X)⁻¹`` and ``r = x − X'V⁻¹c'`` (Henderson
    1975, Biometrics 31; Robinson 1991, Statist. Sci. 6, section 2). Effects of levels that the
    model does not have are left out.
    """
    problem = residual_problem(fit, "a standard error of prediction")
    root = problem.marginal.basis.from_basis(problem.point.root)
    fixed = rows.X @ root
    if not rows.terms:
        return np.asarray(fit.sigma**2 * np.einsum("mp,mp->m", fixed, fixed))
    squares, along = _effect_sums(fit, problem)
    A = _covariances(problem, rows)
    relative = -np.asarray(A.multiply(A @ squares).sum(axis=1)).ravel()
    fixed = fixed - A @ along
    relative += np.einsum("mp,mp->m", fixed, fixed)
    for term, columns, codes in rows.parts():
        user = problem.users[term]
        relative += quadratic(columns, user @ user.T) * (codes >= 0)
    return np.asarray(fit.sigma**2 * np.maximum(relative, 0.0))


def _effect_sums(fit: Fit, problem: ResidualProblem) -> tuple[sp.csr_matrix, np.ndarray]:
    """Return Z'V⁻¹Z, (E, E) sparse, and Z'V⁻¹Q with scaled coefficients, (E, p), of all E effects.

    The columns of Z are the whitened ones. They are computed once for each fit.
    """
    if fit not in _COMPUTED:
        model, marginal = problem.model, problem.marginal
        factors = [model.factors[term.group] for term in model.terms]
        Z = _joined(
            [
                sparse_design(columns, factor.codes, len(factor.levels))
                for columns, factor in zip(marginal.columns, factors, strict=True)
            ]
        )
        moved = problem.inverse_factor() @ Z
        _COMPUTED[fit] = (moved.T @ moved).tocsr(), Z.T @ problem.weighted[:, :-1]
    return _COMPUTED[fit]


def _covariances(problem: ResidualProblem, rows: Rows) -> sp.csr_matrix:
    """Return z'G of the rows in the whitened effects, (m, E) sparse: c is this times Z'."""
    places = {term: (columns, codes) for term, columns, codes in rows.parts()}
    parts = []
    for k, term in enumerate(problem.model.terms):
        levels, user = len(problem.model.factors[term.group].levels), problem.users[k]
        columns, codes = places.get(
            k, (np.zeros((len(rows.X), len(user))), np.zeros(len(rows.X), dtype=np.intp))
        )
        G = problem.factors[k] @ problem.factors[k].T
        known = np.where(codes[:, None] >= 0, columns, 0.0) * alive(user)
        white = known @ problem.marginal.transforms[k] @ G
        parts.append(sparse_design(white, np.maximum(codes, 0), levels))
    return _joined(parts)


def _joined(parts: Sequence[sp.spmatrix]) -> sp.csr_matrix:
    return sp.hstack(parts).tocsr()


_COMPUTED: WeakKeyDictionary[Fit, tuple[sp.csr_matrix, np.ndarray]] = WeakKeyDictionary()
