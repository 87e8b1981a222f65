"""`StructuredAxes`: what the search needs of a term whose covariance has a structure.

It answers what `pymackay.solve.search.points.Axes` does, in the chart of the structure
(`pymackay.covariance.chart`). A standard deviation that must not be negative, and is small, is the
square of its coordinate: its bound is a stationary point too then. All arrays hold B points side by
side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.chart import Chart, correlated
from pymackay.covariance.layout import TermLayout
from pymackay.covariance.structure import Correlated
from pymackay.solve.search.trust_region import Batch

_CORRELATIONS = 9  # at which the growth of a covariance that is zero is examined
_KEPT_INSIDE = 0.02  # of the width of rho's bounds, that these stay away from them


@dataclass(frozen=True, eq=False)
class StructuredAxes(Batch):
    """Points in the chart of one term's structure.

    Attributes
    ----------
    layout : TermLayout
    x : numpy.ndarray, shape (B, k)
        Standard deviations, then angles.
    sizes : numpy.ndarray, shape (B, q)
        Relative standard deviations along the principal axes, descending.
    squared : numpy.ndarray of bool, shape (B, k)
        Which parameters are the squares of their coordinates.
    """

    layout: TermLayout
    x: np.ndarray
    sizes: np.ndarray
    squared: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, factor: np.ndarray, layout: TermLayout, noise: float) -> StructuredAxes:
        """Return the points with these factors, shape (B, q, q), at a term's noise level."""
        structure = correlated(layout.structure)
        sizes = np.linalg.svd(factor, compute_uv=False)
        chart = Chart.of(structure, factor)
        squared = np.zeros_like(chart.x, dtype=bool)
        if chart.bounded:
            m = structure.n_sd(layout.q)
            squared[:, :m] = chart.x[:, :m] ** 2 < noise
        return cls(layout, chart.x, sizes, squared)

    @property
    def chart(self) -> Chart:
        """The same points as a chart."""
        return Chart(self.structure, self.layout.q, self.x)

    @property
    def structure(self) -> Correlated:
        """The term's structure."""
        return correlated(self.layout.structure)

    @property
    def least(self) -> np.ndarray:
        """The size, (B,), that is zero at a bound of the structure."""
        return self.structure.least_size(self.chart.factor())

    def after(self, step: np.ndarray) -> np.ndarray:
        """Return the factors, (B, q, q), after a step in the parameters of all terms, (B, m)."""
        step = step[:, self.layout.start : self.layout.stop]
        square = (self._roots + step) ** 2
        straight = np.where(self.squared, square - self.x, step)
        return self.chart.moved(straight).factor()

    @property
    def _roots(self) -> np.ndarray:
        """The coordinates of squared parameters, (B, k); zero for the others."""
        return np.sqrt(np.where(self.squared, self.x, 0.0))

    def snapped(self, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the factors without sds below `least`, and which change, (B,)."""
        m = self.structure.n_sd(self.layout.q)
        dead = self.x[:, :m] < least
        x = self.x.copy()
        x[:, :m][dead] = 0.0
        changed = np.asarray((dead & (self.x[:, :m] > 0.0)).any(axis=1))
        return Chart(self.structure, self.layout.q, x).factor(), changed

    def growth(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest slope, (B,), for growth of a covariance that is zero, and how it grows.

        The latter holds parameters, (B, k). Where the covariance is not zero the chart itself
        leads off its boundary, and the slope is zero.
        """
        q, structure = self.layout.q, self.structure
        B, m = len(self.x), structure.n_sd(q)
        slopes, ways = np.zeros(B), np.zeros((B, structure.n_par(q)))
        none = np.flatnonzero((self.x[:, :m] == 0.0).all(axis=1))
        for rho in _correlations(structure, q) if len(none) else ():
            turned = score[none] * structure.correlation(rho, q)
            slope, sd = _lowest(turned, structure.hom)
            lower = slope < slopes[none]
            slopes[none[lower]] = slope[lower]
            ways[none[lower], :m] = sd[lower]
            ways[none[lower], m:] = rho
        return slopes, ways

    def grown(self, factor: np.ndarray, direction: np.ndarray, size: float) -> np.ndarray:
        """Return the factors, (B, q, q), with variances of `size` in the `direction`, (B, k)."""
        par = direction.copy()
        par[:, : self.structure.n_sd(self.layout.q)] *= np.sqrt(size)
        return self.structure.factor(par, self.layout.q)

    def units(self, noise: float) -> np.ndarray:
        """Return what a step of one is in the chart, shape (B, k): an sd, or an angle of one."""
        m = self.structure.n_sd(self.layout.q)
        units = np.ones_like(self.x)
        units[:, :m] = np.sqrt(self.x[:, :m] ** 2 + noise)
        return np.where(self.squared, units / (2.0 * self._roots + np.sqrt(units)), units)

    def jacobian(self) -> np.ndarray:
        """Return derivatives, (B, k, k), of the chart, which the solver knows, by coordinates."""
        k = self.x.shape[1]
        return self._by_coordinates[:, :, None] * np.eye(k)

    @property
    def _by_coordinates(self) -> np.ndarray:
        """Return the derivatives of the parameters of the chart by their coordinates, (B, k)."""
        return np.where(self.squared, 2.0 * self._roots, 1.0)

    def tamed(self, bending: np.ndarray) -> np.ndarray:
        """Return what the score adds, (B, k, k), to an average information."""
        return bending

    def slopes(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient, (B, k), and what the score adds to the curvature, (B, k, k)."""
        chart, inner = self.chart, self._by_coordinates
        gradient = np.einsum("bkij,bij->bk", chart.tangents(), score)
        bending = chart.bending(score) * inner[:, :, None] * inner[:, None, :]
        place = np.arange(self.x.shape[1])
        bending[:, place, place] += np.where(self.squared, 2.0 * gradient, 0.0)
        return gradient * inner, bending


def _correlations(structure: Correlated, q: int) -> np.ndarray:
    """Return values of rho between its bounds, (count, r)."""
    low, high = structure.bounds(q)
    kept = _KEPT_INSIDE * (high - low)
    return np.linspace(low + kept, high - kept, _CORRELATIONS if structure.n_rho(q) else 1)


def _lowest(turned: np.ndarray, hom: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest ``s'(S ∘ R)s``, (B,), over s ≥ 0 of unit length, nearly, and that s.

    With `hom` all elements of s are equal, and the length is that of one element.
    """
    if hom:
        q = turned.shape[-1]
        return turned.sum(axis=(1, 2)) / q, np.ones((len(turned), 1))
    vectors = np.abs(np.linalg.eigh(turned)[1][:, :, 0])
    return np.einsum("bi,bij,bj->b", vectors, turned, vectors), vectors
