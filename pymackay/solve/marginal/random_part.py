"""`TermPart`: the covariance of one random term's effects, as a part of V with its derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.chart import chart_at, chart_of
from pymackay.covariance.layout import TermLayout


@dataclass(frozen=True, eq=False)
class TermPart:
    """``Z G Z'`` of one term, at parameters x: elements of the lower factor, or of a chart.

    Attributes
    ----------
    layout : TermLayout
    x : numpy.ndarray, shape (k,)
    """

    layout: TermLayout
    x: np.ndarray

    @classmethod
    def of(cls, layout: TermLayout, factor: np.ndarray) -> TermPart:
        """Return the part with this lower factor, (q, q)."""
        if layout.structure is None:
            return cls(layout, layout.elements(factor))
        return cls(layout, chart_of(layout.structure, factor).x)

    @property
    def factor(self) -> np.ndarray:
        """The lower factor of G, (q, q)."""
        if self.layout.structure is not None:
            return chart_at(self.layout.structure, self.layout.q, self.x).factor()
        L = np.zeros((self.layout.q, self.layout.q))
        L[self.layout.rows, self.layout.columns] = self.x
        return L

    def tangents(self) -> np.ndarray:
        """Return dG/dx, (k, q, q): ``E L' + L E'`` for an element of the factor L."""
        if self.layout.structure is not None:
            return chart_at(self.layout.structure, self.layout.q, self.x).tangents()
        k, L = len(self.x), self.factor
        half = np.zeros((k, *L.shape))
        half[np.arange(k), self.layout.rows] = L[:, self.layout.columns].T
        return half + half.swapaxes(1, 2)

    def bending(self, score: np.ndarray) -> np.ndarray:
        """Return ``tr(S d²G)``, (k, k), for symmetric S, (q, q): ``2 S_rr'`` within a column."""
        if self.layout.structure is not None:
            return chart_at(self.layout.structure, self.layout.q, self.x).bending(score)
        rows, columns = self.layout.rows, self.layout.columns
        return np.asarray(2.0 * (columns[:, None] == columns) * score[rows][:, rows])
