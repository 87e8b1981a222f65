"""The Monte-Carlo error of each estimated variance, from the spread over the probes.

Measured against the exact engine (``python -m benchmarks.crossed --calibration``): the map from
the score to the variances is linear to two digits and more at errors of this size, and the average
information is as good as the observed curvature for it, within 10 % of an error where an effect
is well determined (a slope whose variance nearly vanishes: up to half). N probes give errors that
are themselves known to 1/√(2N) only, so that deviations follow Student's distribution with N − 1
degrees of freedom, provided that many directions share what a probe leaves to chance: see
`pymackay.solve.iterative.traces` for the ones that would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.model.model import Model
from pymackay.solve.iterative.search import Point
from pymackay.solve.iterative.solver import Iterative
from pymackay.solve.search import limits

__all__ = ["MonteCarlo", "monte_carlo"]

_NOTHING = 1e-8  # relative variance, of the level's noise, that counts as none


@dataclass(frozen=True)
class MonteCarlo:
    """How far the probes leave the variances from where exact traces would put them.

    Attributes
    ----------
    errors : dict of str to float
        Standard error of each variance and covariance, in the user's units: ``"user.x"``,
        ``"user.x.(Intercept)"``, ``"Residual"``. What the search left to go is in it, in
        quadrature: it matters where the probes leave less than 1e-4 of a variance's own
        standard error.
    relative : float
        Largest standard error of a variance that the probes leave, relative to the variance.
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
    errors: dict[str, float] = {}
    relative = [_spread(noise_moves) / sigma2]
    for k, (term, layout) in enumerate(zip(model.terms, gram.layouts, strict=True)):
        T, factor = gram.transforms[k], point.factors[k][0]
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
                relative.append(_spread(dV[:, i, i]) / V[i, i])
    errors["Residual"] = _error(noise_moves) * unit
    return MonteCarlo(errors, max(relative))


def _spread(moves: np.ndarray) -> float:
    """Return the standard error of the mean over the probes: all rows but the last."""
    probes = moves[:-1]
    return float(np.std(probes, ddof=1) / np.sqrt(len(probes))) if len(probes) > 1 else 0.0


def _error(moves: np.ndarray) -> float:
    """Return the standard error, and the step that the search left, in quadrature."""
    return float(np.hypot(_spread(moves), moves[-1]))


def _moves(point: Point) -> np.ndarray:
    """Return what each probe alone would move the elements of G by, and the search's next step.

    Shape (N + 1, m).
    """
    spread = point.estimate.spread - point.estimate.spread.mean(axis=0)
    m = spread.shape[1]
    jacobian = np.zeros((m, m))
    for axes in point.axes:
        span = slice(axes.layout.start, axes.layout.stop)
        jacobian[span, span] = axes.jacobian()[0]
    jacobian *= point.unit
    model = point.model
    values, vectors = model.values[0], model.vectors[0]
    slopes = np.column_stack([vectors.T @ jacobian.T @ spread.T, model.along[0]])
    solved = (vectors / np.maximum(values, limits.FLOOR * model.size)) @ slopes
    return np.asarray(-(jacobian @ solved).T)
