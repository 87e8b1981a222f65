"""Coordinates of one term's covariance in which a profile holds a parameter.

`FactorCoordinates`: the elements of the relative factor of a term without a structure.
`ChartCoordinates`: standard deviations and angles of a structure. Both are relative to sigma, in
the user's units, and say how the elements of the whitened G change with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.chart import Chart, correlated
from pymackay.covariance.layout import TermLayout, lower_factor
from pymackay.infer.significance.chain import bend, jacobian


@dataclass(frozen=True, eq=False)
class FactorCoordinates:
    """The lower-triangular factor M, the effects in an order that a held parameter asks for.

    Of a term with reduced rank, those of its columns that are not zero.

    Attributes
    ----------
    layout : TermLayout
    order : numpy.ndarray of int, shape (q,)
    inverse : numpy.ndarray, shape (q, q)
        T⁻¹, its columns in that order.
    """

    layout: TermLayout
    order: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, layout: TermLayout, T: np.ndarray, order: np.ndarray) -> FactorCoordinates:
        """Return the coordinates of a term whose effects are T times those computed."""
        return cls(layout, order, np.linalg.inv(T)[:, order])

    def split(self, factor: np.ndarray) -> np.ndarray:
        """Return the coordinates, (k,), of a relative factor of the user's columns, (q, q)."""
        return self.layout.elements(lower_factor(factor[self.order]))

    def whitened(self, x: np.ndarray) -> np.ndarray:
        """Return the relative factor of the whitened columns, (q, q)."""
        return lower_factor(self.inverse @ self._factor(x))

    def chain(self, x: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of G's elements by x, (e, k), and ``Σ score d²G``, (k, k)."""
        full = TermLayout.of(self.layout.q, 0)
        chained = jacobian(self.inverse, self._factor(x), self.layout, full)
        return chained, bend(self.inverse, score, self.layout, full)

    def covariance(self, x: np.ndarray) -> np.ndarray:
        """Return the relative covariance of the effects, user's units and order, (q, q)."""
        factor = np.empty((self.layout.q, self.layout.q))
        factor[self.order] = self._factor(x)
        return factor @ factor.T

    def _factor(self, x: np.ndarray) -> np.ndarray:
        factor = np.zeros((self.layout.q, self.layout.q))
        factor[self.layout.rows, self.layout.columns] = x
        return factor


@dataclass(frozen=True, eq=False)
class ChartCoordinates:
    """The chart of a structure.

    Attributes
    ----------
    layout : TermLayout
    units : numpy.ndarray, shape (k,)
        By what a coordinate is multiplied to be that of the whitened columns.
    """

    layout: TermLayout
    units: np.ndarray

    @classmethod
    def of(cls, layout: TermLayout, T: np.ndarray) -> ChartCoordinates:
        """Return the coordinates of a term whose effects are T times those computed."""
        units = np.ones(layout.n_par)
        m = correlated(layout.structure).n_sd(layout.q)
        units[:m] = 1.0 / np.diag(T)[:m]
        return cls(layout, units)

    def split(self, factor: np.ndarray) -> np.ndarray:
        """Return the coordinates, (k,), of a relative factor of the user's columns, (q, q)."""
        return Chart.of(correlated(self.layout.structure), factor).x

    def whitened(self, x: np.ndarray) -> np.ndarray:
        """Return the relative factor of the whitened columns, (q, q).

        Raises
        ------
        numpy.linalg.LinAlgError
            If a standard deviation is negative that the structure does not let be: another model.
        """
        chart = self._chart(self.units * x)
        if chart.bounded and (chart.sd < 0.0).any():
            raise np.linalg.LinAlgError
        return lower_factor(chart.factor())

    def chain(self, x: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of G's elements by x, (e, k), and ``Σ score d²G``, (k, k)."""
        chart, q = self._chart(self.units * x), self.layout.q
        columns, rows = np.triu_indices(q)
        S = np.zeros((q, q))
        S[rows, columns] = 0.5 * score
        bending = chart.bending(S + S.T) * np.outer(self.units, self.units)
        return (chart.tangents()[:, rows, columns] * self.units[:, None]).T, bending

    def covariance(self, x: np.ndarray) -> np.ndarray:
        """Return the relative covariance of the effects, user's units, (q, q)."""
        chart = self._chart(x)
        return chart.structure.covariance(chart.par, self.layout.q)

    def _chart(self, x: np.ndarray) -> Chart:
        return Chart(correlated(self.layout.structure), self.layout.q, x)
