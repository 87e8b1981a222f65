"""`Autoregressive`: correlations by the distance of columns, as lme4's ``ar1(f | g)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.structure import Correlated


@dataclass(frozen=True)
class Autoregressive(Correlated):
    """``R_ij = rho^|i − j|``, with rho between −1 and 1; i and j are positions of columns."""

    tag = "ar1"

    def n_rho(self, q: int) -> int:
        """Return the number of correlations: one, if there are two effects."""
        return int(q > 1)

    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest rho, each (r,)."""
        return -np.ones(self.n_rho(q)), np.ones(self.n_rho(q))

    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return R, shape (..., q, q)."""
        if q == 1:
            return np.ones((*rho.shape[:-1], 1, 1))
        return rho[..., None] ** _distances(q)

    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., r, q, q)."""
        if q == 1:
            return np.zeros((*rho.shape[:-1], 0, 1, 1))
        d = _distances(q)
        return (d * rho[..., None] ** np.maximum(d - 1, 0))[..., None, :, :]

    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., r, r, q, q)."""
        if q == 1:
            return np.zeros((*rho.shape[:-1], 0, 0, 1, 1))
        d = _distances(q)
        return (d * (d - 1) * rho[..., None] ** np.maximum(d - 2, 0))[..., None, None, :, :]

    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the factor: powers of rho, from the second column on by ``√(1 − rho²)``."""
        if q == 1:
            return np.ones((*rho.shape[:-1], 1, 1))
        left = np.sqrt(np.maximum((1.0 - rho) * (1.0 + rho), 0.0))
        scale = np.where(np.arange(q) == 0, 1.0, left)
        return np.tril(rho[..., None] ** _distances(q)) * scale[..., None, :]

    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return the least-squares fit of ``rho s_i s_(i+1)`` to the covariances of neighbours.

        Where no neighbours vary, the correlations of the nearest effects that do are used.
        """
        q = sd.shape[-1]
        if q == 1:
            return np.zeros((*sd.shape[:-1], 0))
        rho = np.zeros(sd.shape[:-1])
        unknown = np.ones(sd.shape[:-1], dtype=bool)
        for d in range(1, q):
            sizes = sd[..., :-d] * sd[..., d:]
            weight = (sizes**2).sum(axis=-1)
            apart = np.diagonal(covariance, offset=d, axis1=-2, axis2=-1)
            power = (apart * sizes).sum(axis=-1) / np.where(weight > 0.0, weight, 1.0)
            known = unknown & (weight > 0.0)
            rho = np.where(known, np.sign(power) * np.abs(power) ** (1.0 / d), rho)
            unknown &= ~known
            if not unknown.any():
                break
        return rho[..., None]

    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the first two columns; the others repeat the second."""
        rows = np.concatenate([np.arange(q), np.arange(1, q)])
        return rows, np.repeat([0, 1], [q, q - 1])

    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta as lme4 2.x does, without the group."""
        pairs = zip(*(places.tolist() for places in self.distinct(len(effects))), strict=True)
        return [effects[j] if i == j else f"{effects[i]}.{effects[j]}" for i, j in pairs]


def _distances(q: int) -> np.ndarray:
    """Return |i − j|, (q, q)."""
    place = np.arange(q)
    return np.abs(place[:, None] - place)
