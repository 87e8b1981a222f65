"""`Toeplitz`: a correlation for each distance of columns, ``toep(0 + f | g)`` as in glmmTMB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.levinson import (
    lag_correlations,
    lag_derivatives,
    lattice_root,
    partial_autocorrelations,
)
from pymackay.covariance.structure import Correlated


@dataclass(frozen=True)
class Toeplitz(Correlated):
    """``R_ij = r_|i−j|``; the parameters are the partial autocorrelations that belong to r.

    The k-th is the correlation of effects that lie k apart, given those between them. Each lies
    between −1 and 1, whatever the others are, and every choice is a correlation matrix.
    """

    tag = "toep"
    compressed = False

    def n_rho(self, q: int) -> int:
        """Return the number of correlations: one for each distance."""
        return q - 1

    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest partial autocorrelations, each (r,)."""
        return -np.ones(q - 1), np.ones(q - 1)

    def names(self, effects: Sequence[str]) -> list[str]:
        """Name the parameters, without the group: ``pacf1`` is the correlation at distance 1."""
        numbered = [f"pacf{k}" for k in range(1, len(effects))]
        return (["*"] if self.hom else list(effects)) + numbered

    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return R, shape (..., q, q)."""
        ones = np.ones((*rho.shape[:-1], 1))
        return np.concatenate([ones, lag_correlations(rho)], axis=-1)[..., _distances(q)]

    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., r, q, q)."""
        first = np.moveaxis(lag_derivatives(rho, order=1)[1], -2, -1)
        return _padded(first)[..., _distances(q)]

    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., r, r, q, q)."""
        second = np.moveaxis(lag_derivatives(rho)[2], -3, -1)
        return _padded(second)[..., _distances(q)]

    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the factor of R, (..., q, q)."""
        return lattice_root(rho)

    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return the partial autocorrelations of least-squares correlations by distance.

        A distance at which no two effects vary adds no correlation to those before it.
        """
        q = sd.shape[-1]
        lags = np.zeros((*sd.shape[:-1], q - 1))
        unknown = np.zeros(lags.shape, dtype=bool)
        for k in range(1, q):
            sizes = sd[..., :-k] * sd[..., k:]
            weight = (sizes**2).sum(axis=-1)
            apart = np.diagonal(covariance, offset=k, axis1=-2, axis2=-1)
            unknown[..., k - 1] = weight == 0.0
            known = np.where(weight > 0.0, weight, 1.0)
            lags[..., k - 1] = (apart * sizes).sum(axis=-1) / known
        return np.where(unknown, 0.0, partial_autocorrelations(lags))

    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the lower triangle: theta is not compressed."""
        columns, rows = np.triu_indices(q)
        return rows, columns

    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta, without the group."""
        pairs = zip(*(places.tolist() for places in self.distinct(len(effects))), strict=True)
        return [effects[j] if i == j else f"{effects[i]}.{effects[j]}" for i, j in pairs]


def _distances(q: int) -> np.ndarray:
    """Return |i − j|, (q, q)."""
    place = np.arange(q)
    return np.abs(place[:, None] - place)


def _padded(by_lag: np.ndarray) -> np.ndarray:
    """Put a zero for distance 0 before values by lag, (..., r) to (..., r + 1)."""
    return np.concatenate([np.zeros((*by_lag.shape[:-1], 1)), by_lag], axis=-1)
