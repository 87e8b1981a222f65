"""`starting_points`: where the search for a model with a residual structure begins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.model.sums.gram import cross_products
from pymackay.solve.exact.solver import Exact
from pymackay.solve.marginal.criterion import Marginal
from pymackay.solve.marginal.random_part import TermPart
from pymackay.solve.search import limits
from pymackay.solve.search.valleys.spread import spread_factors
from pymackay.solve.solver import NoDigits

_LEAST = 0.15  # diagonal of a whitened factor: zero is a stationary point, which nothing leaves
_POINTS, _SEARCHES = 96, 8  # points all over, and of how many of the lowest a search starts
_NOISE = 0.01  # variance, relative to sigma², about which the points of a random term lie
_FLOOR = 0.05  # of the mean: a standard deviation of a stratum is not taken for less


def starting_points(marginal: Marginal, theta: list[np.ndarray] | None) -> list[np.ndarray]:
    """Return ψ to start from, each (P,).

    Parameters
    ----------
    marginal : Marginal
    theta : list of numpy.ndarray, each (q, q), or None
        Lower factors that the user gives; by default those of the model with independent residuals.
    """
    sd = rough_sd(marginal)
    made = []
    for factors in _factors(marginal, theta):
        x = _coordinates(marginal, factors)
        made += [np.concatenate([x, psi]) for psi in marginal.residual.structure.starts(sd)]
    if theta is None and len(marginal.model.y) <= limits.FEW_ROWS:
        made += _lowest(marginal, _spread(marginal, sd))
    return made


def _coordinates(marginal: Marginal, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the coordinates of the random terms' factors, (k,)."""
    parts = zip(marginal.layouts, factors, strict=True)
    return np.concatenate([np.zeros(0), *(TermPart.of(*part).x for part in parts)])


def _spread(marginal: Marginal, sd: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ψ, (P,), spread over variances and correlations: few rows may have several optima."""
    rng = np.random.default_rng(20)
    factors = [spread_factors(rng, layout, _POINTS, _NOISE) for layout in marginal.layouts]
    for point in range(_POINTS):
        own = marginal.residual.structure.spread(sd, rng)
        yield np.concatenate([_coordinates(marginal, [f[point] for f in factors]), own])


def _lowest(marginal: Marginal, points: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return the points with the lowest criteria, `_SEARCHES` at most."""
    reached = []
    for psi in points:
        with contextlib.suppress(np.linalg.LinAlgError, NoDigits):
            reached.append((marginal.at(psi).criterion, psi))
    reached.sort(key=lambda each: each[0])
    return [psi for _, psi in reached[:_SEARCHES]]


def rough_sd(marginal: Marginal) -> np.ndarray:
    """Return standard deviations of the least-squares residuals by stratum or visit, (q,)."""
    residual, strata = marginal.response.residual, marginal.residual.strata
    levels = len(marginal.residual.structure.levels)
    counts = np.bincount(strata, minlength=levels)
    squares = np.bincount(strata, residual**2, minlength=levels)
    sd = np.sqrt(squares / np.maximum(counts, 1))
    return np.maximum(sd, _FLOOR * np.sqrt(np.mean(residual**2)))


def _factors(marginal: Marginal, theta: list[np.ndarray] | None) -> Iterator[list[np.ndarray]]:
    """Yield the random terms' factors: given ones, or large and small ones."""
    if not marginal.layouts or theta is not None:
        yield theta or []
        return
    try:
        solver = Exact(cross_products(marginal.model), reml=marginal.reml)
        independent = solver.find_optimum().factors
    except ConvergenceError:
        independent = [0.5 * np.eye(layout.q) for layout in marginal.layouts]
    yield [_off_zero(factor) for factor in independent]
    yield [_off_zero(0.3 * factor) for factor in independent]


def _off_zero(factor: np.ndarray) -> np.ndarray:
    """Return a lower factor whose diagonal is not zero."""
    diagonal = np.diag(factor)
    return factor + np.diag(np.maximum(_LEAST - diagonal, 0.0))
