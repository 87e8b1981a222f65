"""Random factors of a model's terms, spread over sizes and directions, and their cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pymackay.covariance.chart import correlated
from pymackay.covariance.kinds.reduced import ReducedRank
from pymackay.covariance.layout import TermLayout, lower_factor
from pymackay.solve.search import limits
from pymackay.solve.search.values import Factors


def spread(layouts: Sequence[TermLayout], noise: Sequence[float], points: int) -> Factors:
    """Return factors, term by term (S, q, q), spread over sizes and directions.

    Standard deviations along random axes are log-uniform about those of the terms' noise levels;
    the same for every response and call.
    """
    rng = np.random.default_rng(20)
    terms = zip(layouts, noise, strict=True)
    return tuple(spread_factors(rng, layout, points, level) for layout, level in terms)


def spread_factors(
    rng: np.random.Generator, layout: TermLayout, S: int, noise: float
) -> np.ndarray:
    """Return S random factors of a term, (S, q, q), about a variance that is its noise level."""
    if layout.structure is not None:
        return _spread_structured(rng, layout, S, noise)
    return _spread_axes(rng, S, layout.q, layout.q, noise)


def _spread_axes(rng: np.random.Generator, S: int, q: int, d: int, noise: float) -> np.ndarray:
    """Return S factors, (S, q, q), of rank d with random axes."""
    axes = np.linalg.qr(rng.normal(size=(S, q, q)))[0]
    sizes = 10.0 ** rng.uniform(*limits.SPREAD_SIZES, size=(S, q))
    sizes[:, d:] = 0.0
    return lower_factor(axes * (sizes * np.sqrt(noise))[:, None, :])


def _spread_structured(
    rng: np.random.Generator, layout: TermLayout, S: int, noise: float
) -> np.ndarray:
    """Return S factors, (S, q, q), of a term with a structure; its angles are uniform.

    The correlations are dense near their bounds then, where the criterion may have a valley too.
    """
    structure = layout.structure
    if isinstance(structure, ReducedRank):
        return _spread_axes(rng, S, layout.q, structure.rank_of(layout.q), noise)
    structure = correlated(structure)
    low, high = structure.bounds(layout.q)
    sizes = 10.0 ** rng.uniform(*limits.SPREAD_SIZES, size=(S, structure.n_sd(layout.q)))
    if structure.n_rho(layout.q) and not structure.hom:  # minima at bounds, where some sds are zero
        is_small = rng.random(sizes.shape) < 0.5 * (rng.random((S, 1)) < 0.5)
        sizes = np.where(is_small, limits.SPREAD_NONE, sizes)
    angle = rng.uniform(-0.5 * np.pi, 0.5 * np.pi, size=(S, len(low)))
    rho = 0.5 * (low + high) + 0.5 * (high - low) * np.sin(angle)
    par = np.concatenate([sizes * np.sqrt(noise), rho], axis=1)
    return structure.factor(par, layout.q)


def places(factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the logs of the points' covariances, all elements, (S, k)."""
    floor = np.finfo(float).tiny
    return np.concatenate([logs_of(f, floor).reshape(len(f), -1) for f in factors], axis=1)


def lowest_of_cells(values: np.ndarray, place: np.ndarray, cells: int) -> np.ndarray:
    """Return the numbers of the lowest points in each cell around the first of them.

    Parameters
    ----------
    values : numpy.ndarray, shape (S, B)
        B criteria at S points.
    place : numpy.ndarray, shape (S, k)
        As `places` returns them.
    cells : int

    Returns
    -------
    numpy.ndarray of int, shape (cells, B)
    """
    distance = place[:, None] - place[:cells]
    cell = (distance**2).sum(axis=2).argmin(axis=1)
    values = np.where(np.isnan(values), np.inf, values)
    members = (np.flatnonzero(cell == number) for number in np.unique(cell))
    return np.array([those[values[those].argmin(axis=0)] for those in members])


def logs_of(factor: np.ndarray, floor: float) -> np.ndarray:
    """Return the matrix logarithms of covariances, (S, q, q), their eigenvalues above a floor."""
    U, sizes, _ = np.linalg.svd(factor)
    logs = np.log(np.maximum(sizes**2, floor))
    return np.asarray((U * logs[:, None, :]) @ U.swapaxes(1, 2))
