"""The Monte-Carlo error of each estimated variance, from the spread over the probes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.model import Model
from pymackay.solve.iterative.search import Point
from pymackay.solve.iterative.solver import Iterative

__all__ = ["MonteCarlo", "monte_carlo"]

_NOTHING = 1e-8  # relative variance, of the level's noise, that counts as none


@dataclass(frozen=True)
class MonteCarlo:
    """How far the probes leave the variances from where exact traces would put them.

    Attributes
    ----------
    errors : dict of str to float
        Standard error of each variance and covariance, in the user's units: ``"user.x"``,
        ``"user.x.(Intercept)"``, ``"Residual"``.
    relative : float
        Largest standard error of a variance relative to the variance.
    """

    errors: dict[str, float]
    relative: float


def monte_carlo(model: Model, solver: Iterative, point: Point) -> MonteCarlo:
    """Carry the spread of the score over the probes to the variances.

    At the estimate the score is zero; a probe that moves it by d moves the parameters by
    −H⁻¹d, H the curvature there, to first order. Directions on the boundary do not move.
    """
    moves = np.zeros((1, solver.gram.n_theta))
    if not solver.probes.exact:
        moves = _moves(point)
    evaluation = point.estimate.evaluation
    gram = solver.gram
    sigma2 = evaluation.sigma2
    nu = gram.n - gram.p if solver.reml else gram.n
    slope = np.concatenate(
        [
            (2.0 - (u.rows == u.columns)) * aa[u.rows, u.columns]
            for u, aa in zip(gram.layouts, evaluation.squares, strict=True)
        ]
    )
    noise_moves = -(moves @ slope) / nu
    unit = gram.y_scale**2
    errors, relative = {}, [_error(noise_moves) / sigma2]
    for k, (term, layout) in enumerate(zip(model.terms, gram.layouts, strict=True)):
        T, factor = gram.transforms[k], point.factors[k]
        G = factor @ factor.T
        dG = np.zeros((len(moves), layout.q, layout.q))
        dG[:, layout.rows, layout.columns] = moves[:, layout.start : layout.stop]
        dG[:, layout.columns, layout.rows] = moves[:, layout.start : layout.stop]
        dV = T @ (sigma2 * dG + noise_moves[:, None, None] * G) @ T.T
        V = sigma2 * T @ G @ T.T
        for i, j in zip(layout.rows, layout.columns, strict=True):
            name = ".".join([term.name, *dict.fromkeys((term.effects[i], term.effects[j]))])
            errors[name] = _error(dV[:, i, j]) * unit
            if i == j and G[i, i] > _NOTHING / gram.n:
                relative.append(_error(dV[:, i, i]) / V[i, i])
    errors["Residual"] = relative[0] * sigma2 * unit
    return MonteCarlo(errors, max(relative))


def _error(moves: np.ndarray) -> float:
    """Return the standard error of the mean."""
    if len(moves) < 2:
        return 0.0
    return float(np.std(moves, ddof=1) / np.sqrt(len(moves)))


def _moves(point: Point) -> np.ndarray:
    """Return what each probe alone would move the elements of G by, shape (N, m)."""
    spread = point.estimate.spread - point.estimate.spread.mean(axis=0)
    m = spread.shape[1]
    jacobian = np.zeros((m, m))
    for axes in point.axes:
        span = slice(axes.layout.start, axes.layout.stop)
        jacobian[span, span] = axes.jacobian()
    jacobian *= point.scale
    values, vectors = np.linalg.eigh(point.curvature)
    floor = 1e-10 * max(float(np.abs(values).max()), 1.0)
    solved = (vectors / np.maximum(values, floor)) @ vectors.T @ (jacobian.T @ spread.T)
    return np.asarray(-(jacobian @ solved).T)
