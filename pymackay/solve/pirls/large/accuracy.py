"""`Accuracy`: the Monte-Carlo error that random probes leave in the estimates of a large model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.solve.assemble import user_factors
from pymackay.solve.pirls.criteria.curvature import predictor_slopes
from pymackay.solve.pirls.mode import RowsAt
from pymackay.solve.pirls.rows import Rows

_STEP = 1e-6  # of a covariance parameter, for the slopes of variances
_NO_VARIANCE = 1e-8  # relative to the effects' unit, of a variance that counts as zero


@dataclass(frozen=True)
class Accuracy:
    """Monte-Carlo standard errors.

    Attributes
    ----------
    errors : dict of str to float
        Of each variance and covariance, user's units: ``"user.(Intercept)"``.
    relative : float
        The largest of a variance, relative to the variance.
    """

    errors: dict[str, float]
    relative: float

    @classmethod
    def of(cls, point: Any, hessian: np.ndarray) -> Accuracy:
        """Compute the errors from the spread of the gradient over the probes.

        A change d of the gradient at the minimum moves the parameters by ``−hessian⁻¹ d``.

        Parameters
        ----------
        point : Point
            At the minimum.
        hessian : numpy.ndarray, shape (P, P)
        """
        rows = point.laplace.rows
        slopes = _gradients(point)
        moves = -np.linalg.solve(hessian, slopes - slopes.mean(axis=1, keepdims=True))
        moves = moves[rows.p : rows.p + rows.n_theta]
        return cls(*_errors(rows, point.psi[rows.p : rows.p + rows.n_theta], moves))


def _gradients(point: Any) -> np.ndarray:
    """Return the part of the gradient that each probe alone estimates, (P, N).

    By ψ, ``log|H|`` has the slopes ``Σ_i s_i w'_i dη_i/dψ`` and, by Λ at fixed weights, twice
    `factor_slopes`.
    """
    rows, system = point.laplace.rows, point.determinant

    def of(here: RowsAt) -> np.ndarray:
        weights = point.weights(here)[1] / here.given.phi
        columns = weights[:, None] * predictor_slopes(point, here)
        made: np.ndarray = system.leverage_sums(here.given.rows, columns)
        return made

    made = point.total(of)
    p = rows.p
    for t in range(made.shape[1]):
        by_factor = [2.0 * each for each in system.factor_slopes(t)]
        made[p : p + rows.n_theta, t] += rows.slopes(point.psi[p : p + rows.n_theta], by_factor)
    return made


def _errors(
    rows: Rows, parameters: np.ndarray, moves: np.ndarray
) -> tuple[dict[str, float], float]:
    """Return errors by name, and the largest relative one, of moves of shape (k, N)."""
    here = _covariances(rows, parameters)
    slopes = [np.zeros((len(parameters), *V.shape)) for V in here]
    for i in range(len(parameters)):
        moved = parameters.copy()
        moved[i] += _STEP
        for k, V in enumerate(_covariances(rows, moved)):
            slopes[k][i] = (V - here[k]) / _STEP
    errors: dict[str, float] = {}
    relative = [0.0]
    count = moves.shape[1]
    for term, V, slope in zip(rows.model.terms, here, slopes, strict=True):
        spread = np.einsum("iab,it->abt", slope, moves).std(axis=2, ddof=1) / np.sqrt(count)
        for a, b in zip(*np.tril_indices(len(V)), strict=True):
            name = ".".join([term.name, *dict.fromkeys((term.effects[a], term.effects[b]))])
            errors[name] = float(spread[a, b])
            if a == b and V[a, a] > _NO_VARIANCE:
                relative.append(float(spread[a, a] / V[a, a]))
    return errors, max(relative)


def _covariances(rows: Rows, parameters: np.ndarray) -> list[np.ndarray]:
    """Return the covariance of each term's effects, (q, q), user's units."""
    users = user_factors(rows, rows.term_factors(parameters))
    return [factor @ factor.T for factor in users]
