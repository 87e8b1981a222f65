"""Loadings of effects on a few factors, and `LoadingsChart`, the chart that a search steps in.

``G = Λ Λ'`` does not change when the factors are rotated. Λ can therefore be lower triangular in
its first d rows, and so can ``U'Λ`` with an orthogonal U: the chart holds the elements of this
trapezoid. With U the principal axes of G the trapezoid is diagonal, and no direction of G is far.
Arrays may have leading axes, for many points side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def trapezoid_places(q: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of the elements of a lower trapezoid, (q, d), column by column."""
    columns, rows = np.triu_indices(d, m=q)
    return rows, columns


def spread_out(values: np.ndarray, q: int, d: int, width: int) -> np.ndarray:
    """Return trapezoids, (..., q, width), of their elements, (..., k); other columns are zero."""
    made = np.zeros((*values.shape[:-1], q, width))
    rows, columns = trapezoid_places(q, d)
    made[..., rows, columns] = values
    return made


def trapezoid(loadings: np.ndarray) -> np.ndarray:
    """Return the lower trapezoid T without a negative diagonal and ``T T' = Λ Λ'``, (..., q, d).

    By QR of the transpose: nothing is squared.
    """
    upper = np.triu(np.ones(loadings.shape[-2:], dtype=bool), 1)
    if (loadings[..., upper] == 0.0).all():
        lower = loadings
    else:
        lower = np.asarray(np.linalg.qr(loadings.swapaxes(-1, -2), mode="r")).swapaxes(-1, -2)
    sign = np.where(np.diagonal(lower, axis1=-2, axis2=-1) < 0.0, -1.0, 1.0)
    return np.asarray(lower * sign[..., None, :])


@dataclass(frozen=True, eq=False)
class LoadingsChart:
    """Points of a chart, with what their derivatives are made of.

    Attributes
    ----------
    q, d : int
        Numbers of effects and of factors.
    x : numpy.ndarray, shape (..., k)
        Elements of the trapezoid ``U'Λ``, column by column.
    axes : numpy.ndarray, shape (..., q, q)
        U, orthogonal.
    """

    q: int
    d: int
    x: np.ndarray
    axes: np.ndarray

    @classmethod
    def at(cls, q: int, d: int, x: np.ndarray) -> LoadingsChart:
        """Return the points with these loadings, (..., k), without a turn of the axes."""
        return cls(q, d, x, np.broadcast_to(np.eye(q), (*x.shape[:-1], q, q)))

    @classmethod
    def around(cls, factor: np.ndarray, d: int) -> LoadingsChart:
        """Return the points with these factors of G, (..., q, q), in their principal axes."""
        q = factor.shape[-1]
        U, sizes, _ = np.linalg.svd(factor)
        largest = np.abs(U).argmax(axis=-2)[..., None, :]
        U = U * np.sign(np.take_along_axis(U, largest, axis=-2))
        rows, columns = trapezoid_places(q, d)
        x = np.where(rows == columns, sizes[..., columns], 0.0)
        return cls(q, d, x, U)

    @property
    def bounded(self) -> bool:
        """Whether the criterion has a slope where a loading is zero: it has none."""
        return False

    @property
    def loadings(self) -> np.ndarray:
        """Λ, (..., q, d)."""
        return self.axes @ spread_out(self.x, self.q, self.d, self.d)

    def moved(self, step: np.ndarray) -> LoadingsChart:
        """Return the points that steps, (..., k), lead to."""
        return LoadingsChart(self.q, self.d, self.x + step, self.axes)

    def factor(self) -> np.ndarray:
        """Return the lower-triangular factors of G, (..., q, q), with d columns that are not 0."""
        lower = trapezoid(self.loadings)
        rest = np.zeros((*lower.shape[:-1], self.q - self.d))
        return np.concatenate([lower, rest], axis=-1)

    def covariance(self) -> np.ndarray:
        """Return G, (..., q, q)."""
        loadings = self.loadings
        return loadings @ loadings.swapaxes(-1, -2)

    def tangents(self) -> np.ndarray:
        """Return dG/dx, (..., k, q, q): by element (a, b), ``u_a λ_b' + λ_b u_a'``."""
        rows, columns = trapezoid_places(self.q, self.d)
        along = self.axes[..., rows].swapaxes(-1, -2)
        loaded = self.loadings[..., columns].swapaxes(-1, -2)
        half = along[..., :, None] * loaded[..., None, :]
        return np.asarray(half + half.swapaxes(-1, -2))

    def bending(self, score: np.ndarray) -> np.ndarray:
        """Return ``tr(S d²G/dx²)``, (..., k, k), for symmetric S: ``2 u_a'S u_a'`` in a column."""
        rows, columns = trapezoid_places(self.q, self.d)
        turned = self.axes.swapaxes(-1, -2) @ score @ self.axes
        shared = columns[:, None] == columns
        return np.asarray(2.0 * shared * turned[..., rows[:, None], rows])
