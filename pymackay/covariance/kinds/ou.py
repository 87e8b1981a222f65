"""`OrnsteinUhlenbeck`: correlations that fall with the time between effects, ``ou(0 + f | g)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.structure import Correlated

_LEAST = 1e-12  # correlation below which a power of it is that of this one: no derivative overflows


@dataclass(frozen=True)
class OrnsteinUhlenbeck(Correlated):
    """``R_ij = rho^(|t_i − t_j| / unit)``, with rho between 0 and 1; the unit is the least gap.

    With equal gaps this is `Autoregressive` with a positive correlation.

    Attributes
    ----------
    times : tuple of float, length q
        Ascending.
    """

    tag = "ou"
    compressed = False
    times: tuple[float, ...] = ()

    def n_rho(self, q: int) -> int:
        """Return the number of correlations: one, if there are two effects."""
        return int(q > 1)

    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest rho, each (r,)."""
        return np.zeros(self.n_rho(q)), np.ones(self.n_rho(q))

    @property
    def distances(self) -> np.ndarray:
        """Return the times between effects by unit of the least one, (q, q)."""
        times = np.array(self.times)
        return np.abs(times[:, None] - times) / np.diff(times).min(initial=np.inf)

    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return R, shape (..., q, q)."""
        if q == 1:
            return np.ones((*rho.shape[:-1], 1, 1))
        return np.asarray(rho[..., None] ** self.distances)

    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., r, q, q)."""
        if q == 1:
            return np.zeros((*rho.shape[:-1], 0, 1, 1))
        d = self.distances
        return np.asarray((d * rho[..., None] ** np.maximum(d - 1.0, 0.0))[..., None, :, :])

    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., r, r, q, q)."""
        if q == 1:
            return np.zeros((*rho.shape[:-1], 0, 0, 1, 1))
        d = self.distances
        powers = np.maximum(rho[..., None], _LEAST) ** np.where(d == 0.0, 0.0, d - 2.0)
        return np.asarray((d * (d - 1.0) * powers)[..., None, None, :, :])

    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the factor of R, (..., q, q): column j by ``√(1 − rho^(2 d))``, d the gap to j."""
        if q == 1:
            return np.ones((*rho.shape[:-1], 1, 1))
        d = self.distances
        gaps = np.diagonal(d, offset=1)
        left = np.sqrt(np.maximum(1.0 - rho ** (2.0 * gaps), 0.0))
        scale = np.concatenate([np.ones((*rho.shape[:-1], 1)), left], axis=-1)
        return np.asarray(np.tril(rho[..., None] ** d) * scale[..., None, :])

    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return a mean over the neighbours of what their correlations say, each by its gap.

        Where no neighbours vary, the correlations of the nearest effects that do are used.
        """
        q = sd.shape[-1]
        if q == 1:
            return np.zeros((*sd.shape[:-1], 0))
        rho, unknown = np.zeros(sd.shape[:-1]), np.ones(sd.shape[:-1], dtype=bool)
        for k in range(1, q):
            sizes = sd[..., :-k] * sd[..., k:]
            apart = np.diagonal(covariance, offset=k, axis1=-2, axis2=-1)
            share = np.clip(apart / np.where(sizes > 0.0, sizes, 1.0), 0.0, 1.0)
            single = share ** (1.0 / np.diagonal(self.distances, offset=k))
            weight = (sizes**2).sum(axis=-1)
            mean = (sizes**2 * single).sum(axis=-1) / np.where(weight > 0.0, weight, 1.0)
            rho = np.where(unknown & (weight > 0.0), mean, rho)
            unknown &= weight == 0.0
        return rho[..., None]

    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the lower triangle: theta is not compressed."""
        columns, rows = np.triu_indices(q)
        return rows, columns

    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta, without the group."""
        pairs = zip(*(places.tolist() for places in self.distinct(len(effects))), strict=True)
        return [effects[j] if i == j else f"{effects[i]}.{effects[j]}" for i, j in pairs]
