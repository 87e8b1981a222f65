"""The chart of a structure that a search steps in, with the derivatives of the covariance by it.

That of a reduced rank is a `LoadingsChart`. Other structures have a `Chart`, ``x = (s, ω)``:
standard deviations, and angles with ``rho = middle + half * sin ω``, so that the
bounds of rho are stationary points of any criterion and no step leaves them. Arrays may have
leading axes, for many points side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.loadings import LoadingsChart
from pymackay.covariance.structure import Correlated, Structure

_AT_BOUND = 1e-14  # of half the width of rho's bounds: nearer to one, rho is taken to be there


@dataclass(frozen=True, eq=False)
class Chart:
    """Points of a chart, with what their derivatives are made of.

    Attributes
    ----------
    structure : Structure
    q : int
    x : numpy.ndarray, shape (..., k)
        Standard deviations, one if `hom`, then angles.
    """

    structure: Correlated
    q: int
    x: np.ndarray

    @classmethod
    def of(cls, structure: Correlated, factor: np.ndarray) -> Chart:
        """Return the points with these factors, (..., q, q)."""
        q = factor.shape[-1]
        return cls.at(structure, q, structure.par_of(factor))

    @classmethod
    def at(cls, structure: Correlated, q: int, par: np.ndarray) -> Chart:
        """Return the points with these parameters, (..., k)."""
        m = structure.n_sd(q)
        middle, half = _middle(structure, q)
        share = (par[..., m:] - middle) / half
        share = np.where(np.abs(share) > 1.0 - _AT_BOUND, np.sign(share), share)
        return cls(structure, q, np.concatenate([par[..., :m], np.arcsin(share)], axis=-1))

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations among the parameters, (..., 1 or q)."""
        return self.x[..., : self.structure.n_sd(self.q)]

    @property
    def angle(self) -> np.ndarray:
        """The angles, (..., r)."""
        return self.x[..., self.structure.n_sd(self.q) :]

    @property
    def bounded(self) -> bool:
        """Whether the criterion has a slope where a standard deviation is zero.

        Otherwise it depends on their squares, and they may change their signs.
        """
        return not self.structure.hom and self.structure.n_rho(self.q) > 0

    def moved(self, step: np.ndarray) -> Chart:
        """Return the points that steps, (..., k), lead to; standard deviations have no sign."""
        x = self.x + step
        m = self.structure.n_sd(self.q)
        return Chart(
            self.structure, self.q, np.concatenate([np.abs(x[..., :m]), x[..., m:]], axis=-1)
        )

    @property
    def par(self) -> np.ndarray:
        """The parameters, (..., k)."""
        middle, half = _middle(self.structure, self.q)
        low, high = self.structure.bounds(self.q)
        sine = np.sin(self.angle)
        rho = np.where(sine == 1.0, high, np.where(sine == -1.0, low, middle + half * sine))
        return np.concatenate([self.sd, rho], axis=-1)

    def factor(self) -> np.ndarray:
        """Return the lower-triangular factors of G, (..., q, q)."""
        return self.structure.factor(self.par, self.q)

    def tangents(self) -> np.ndarray:
        """Return dG/dx, shape (..., k, q, q).

        By the sd of effect i: row and column i of ``R D``; by a shared one: ``2 s R``; by an
        angle: ``half cos(ω) D dR D``.
        """
        q, structure = self.q, self.structure
        sd, rho = structure.split(self.par, q)
        R = structure.correlation(rho, q)
        if structure.hom:
            first = (2.0 * sd[..., :1, None] * R)[..., None, :, :]
        else:
            rows, i = R * sd[..., None, :], np.arange(q)
            first = np.zeros((*sd.shape[:-1], q, q, q))
            first[..., i, i, :] += rows
            first[..., i, :, i] += np.moveaxis(rows, -2, 0)  # NumPy puts the index first
        return np.concatenate([first, self._by_rho(sd, rho) * self._cosine], axis=-3)

    def bending(self, score: np.ndarray) -> np.ndarray:
        """Return ``tr(S d²G/dx²)``, shape (..., k, k), for symmetric S, (..., q, q)."""
        q, structure = self.q, self.structure
        m, k = structure.n_sd(q), structure.n_par(q)
        sd, rho = structure.split(self.par, q)
        RS = structure.correlation(rho, q) * score
        added = np.zeros((*sd.shape[:-1], k, k))
        added[..., :m, :m] = 2.0 * (RS.sum((-2, -1))[..., None, None] if structure.hom else RS)
        if not structure.n_rho(q):
            return added
        turned = structure.slopes(rho, q) * self._cosine * score[..., None, :, :]
        mixed = 2.0 * (turned * sd[..., None, None, :]).sum(axis=-1)
        mixed = mixed.sum(axis=-1, keepdims=True) if structure.hom else mixed
        added[..., m:, :m] = mixed
        added[..., :m, m:] = mixed.swapaxes(-1, -2)
        D = sd[..., :, None] * sd[..., None, :]
        bent = (structure.bends(rho, q) * (D * score)[..., None, None, :, :]).sum(axis=(-2, -1))
        cosine = self._cosine[..., 0, 0]
        sine = _middle(structure, q)[1] * np.sin(self.angle)
        along = (self._by_rho(sd, rho) * score[..., None, :, :]).sum(axis=(-2, -1))
        r = np.arange(structure.n_rho(q))
        bent = bent * cosine[..., :, None] * cosine[..., None, :]
        bent[..., r, r] -= sine * along
        added[..., m:, m:] = bent
        return added

    @property
    def _cosine(self) -> np.ndarray:
        """Return drho/dω, shape (..., r, 1, 1); exactly zero at a bound."""
        half = _middle(self.structure, self.q)[1]
        cosine = np.where(np.abs(np.sin(self.angle)) == 1.0, 0.0, np.cos(self.angle))
        return (half * cosine)[..., None, None]

    def _by_rho(self, sd: np.ndarray, rho: np.ndarray) -> np.ndarray:
        """Return ``D dR/drho D``, shape (..., r, q, q)."""
        D = sd[..., :, None] * sd[..., None, :]
        return D[..., None, :, :] * self.structure.slopes(rho, self.q)


def _middle(structure: Correlated, q: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle of rho's bounds and half their distance, each (r,)."""
    low, high = structure.bounds(q)
    return 0.5 * (low + high), 0.5 * (high - low)


def is_factor(structure: Structure | None) -> bool:
    """Whether the parameters are elements of a factor of G: without a structure, or of `rr`."""
    return structure is None or structure.reduced


def chart_at(structure: Structure, q: int, x: np.ndarray) -> Chart | LoadingsChart:
    """Return the points with these coordinates, (..., k), which are the same numbers anywhere."""
    if structure.reduced:
        return LoadingsChart.at(q, structure.rank_of(q), x)
    return Chart(correlated(structure), q, x)


def chart_of(structure: Structure, factor: np.ndarray) -> Chart | LoadingsChart:
    """Return the points with these factors, (..., q, q), in the coordinates of `chart_at`."""
    if structure.reduced:
        return chart_at(structure, factor.shape[-1], structure.par_of(factor))
    return Chart.of(correlated(structure), factor)


def chart_around(structure: Structure, factor: np.ndarray) -> Chart | LoadingsChart:
    """Return the points with these factors, (..., q, q), in coordinates that suit steps from them.

    These may depend on the factors; the same factors have the same coordinates.
    """
    if structure.reduced:
        return LoadingsChart.around(factor, structure.rank_of(factor.shape[-1]))
    return Chart.of(correlated(structure), factor)


def correlated(structure: Structure | None) -> Correlated:
    """Return a structure of standard deviations and correlations; others have none of these."""
    assert isinstance(structure, Correlated)
    return structure
