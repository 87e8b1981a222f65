"""`TermParameters`: from the covariance parameters of a search to the factors of the terms.

Without a structure they are the elements of the factor, of reduced rank those of its first
columns. With another structure (`pymackay.covariance.structure`)
``Λ = D(s) K(ρ)``, K the factor of the correlation matrix, and the search steps in ``ρ = middle +
half sin ω``, whose bounds are stationary points, and in s; or in its root, where a sign of s would
change the covariance matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.covariance.chart import Chart, correlated, is_factor
from pymackay.covariance.layout import TermLayout
from pymackay.covariance.structure import Correlated, Structure
from pymackay.solve.linalg.blas import solve_lower

_STEP = 1e-5  # of a coordinate, for differences of exact slopes
_SINGULAR = 1e-7  # diagonal of K, under which the criterion has no slope by an angle


@dataclass(frozen=True, eq=False)
class TermParameters:
    """The parameters of one term.

    Attributes
    ----------
    layout : TermLayout
        Where they stand among all; k of them, of q effects.
    full : TermLayout
        Where the elements of the lower triangle stand among those of all terms.
    """

    layout: TermLayout
    full: TermLayout

    @property
    def structure(self) -> Structure | None:
        """The structure of the term's covariance."""
        return self.layout.structure

    @property
    def correlated(self) -> Correlated | None:
        """The structure, if it has standard deviations and correlations."""
        return None if is_factor(self.structure) else correlated(self.structure)

    @cached_property
    def own(self) -> slice:
        """Places of the parameters."""
        return slice(self.layout.start, self.layout.stop)

    def factor(self, x: np.ndarray) -> np.ndarray:
        """Return Λ, (q, q), lower triangular, at the parameters of all terms."""
        own = x[self.own]
        if self.correlated is None:
            factor = np.zeros((self.layout.q, self.layout.q))
            factor[self.layout.rows, self.layout.columns] = own
            return factor
        sd, rho = self._split(own)
        return sd[:, None] * self.correlated.root(rho, self.layout.q)

    def of_factor(self, factor: np.ndarray) -> np.ndarray:
        """Return the parameters, (k,), of a factor of a matrix of the structure."""
        structure, q = self.correlated, self.layout.q
        if structure is None:
            return self.layout.par(factor)
        x = Chart.of(structure, factor).x.copy()
        m = structure.n_sd(q)
        x[:m] = np.sqrt(x[:m]) if self.rooted else x[:m]
        return x

    def near(self, factor: np.ndarray) -> np.ndarray:
        """Return parameters, (k,), near any factor, (q, q), to start a search from."""
        if self.structure is None:
            return self.full.elements(factor)
        variances = (factor**2).sum(axis=1)
        par = self.structure.start(factor @ factor.T, 1e-4 * variances.max(), variances.max())
        return self.of_factor(self.structure.factor(par, self.layout.q))

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Return the derivatives of the factor's elements by the parameters, (elements, k)."""
        structure, q = self.correlated, self.layout.q
        if structure is None:
            same_row = self.full.rows[:, None] == self.layout.rows
            return (same_row & (self.full.columns[:, None] == self.layout.columns)).astype(float)
        own = x[self.own]
        m = structure.n_sd(q)
        sd, rho = self._split(own)
        K = structure.root(rho, q)
        by_sd = 2.0 * own[:m] if self.rooted else np.ones(m)
        columns = [K] if structure.hom else [np.diag(row) @ K for row in np.eye(q)]
        made = [slope * column for slope, column in zip(by_sd, columns, strict=True)]
        low, high = structure.bounds(q)
        by_angle = 0.5 * (high - low) * np.cos(own[m:])
        for slope, dR in zip(by_angle, structure.slopes(rho, q), strict=True):
            made.append(slope * sd[:, None] * _root_slope(K, dR))
        return np.stack([self.full.elements(each) for each in made], axis=1)

    def bending(self, x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Return ``Σ_e g_e d²Λ_e``, (k, k), for slopes g of all elements of all terms."""
        k = self.layout.n_par
        if self.correlated is None:
            return np.zeros((k, k))
        g = slopes[self.full.start : self.full.stop]
        made = np.empty((k, k))
        for i in range(k):
            ends = []
            for sign in (1.0, -1.0):
                moved = x.copy()
                moved[self.layout.start + i] += sign * _STEP
                ends.append(self.jacobian(moved).T @ g)
            made[i] = (ends[0] - ends[1]) / (2.0 * _STEP)
        return 0.5 * (made + made.T)

    @property
    def columns(self) -> list[list[int]]:
        """Places of the parameters, grouped by what is zero together: a variance on its bound."""
        if self.correlated is not None:
            return [[self.layout.start + i] for i in range(self.correlated.n_sd(self.layout.q))]
        made: dict[int, list[int]] = {}
        for i, column in enumerate(self.layout.columns.tolist()):
            made.setdefault(column, []).append(self.layout.start + i)
        return list(made.values())

    def living(self, x: np.ndarray) -> np.ndarray:
        """Return which parameters are identified where some columns may be zero, (k,)."""
        made = np.zeros(self.layout.n_par, dtype=bool)
        for column in self.columns:
            made[np.array(column) - self.layout.start] = bool(x[column].any())
        if self.correlated is not None:
            q, m = self.layout.q, self.correlated.n_sd(self.layout.q)
            made[m:] = np.count_nonzero(self._split(x[self.own])[0]) > 1 and q > 1
        return made

    @property
    def rooted(self) -> bool:
        """Whether the parameters are roots of standard deviations."""
        structure = self.correlated
        return structure is not None and not structure.hom and structure.n_rho(self.layout.q) > 0

    def _split(self, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the standard deviations, (q,), and rho, (r,), of the term's parameters, (k,)."""
        structure, q = correlated(self.structure), self.layout.q
        m = structure.n_sd(q)
        sd = own[:m] ** 2 if self.rooted else own[:m]
        return np.broadcast_to(sd, (q,)), Chart(structure, q, own).par[m:]


def _root_slope(K: np.ndarray, dR: np.ndarray) -> np.ndarray:
    """Return the derivative of the factor K of R, (q, q): ``K Φ(K⁻¹ dR K⁻ᵀ)``.

    Φ takes the lower triangle with half the diagonal (Murray 2016, arXiv:1602.07527, eq. 8). Zero
    where R is singular: rho stands at a bound.
    """
    if np.diag(K).min() < _SINGULAR:
        return np.zeros_like(K)
    inner = solve_lower(K, solve_lower(K, np.array(dR)).T)
    inner = np.tril(inner)
    inner[np.diag_indices(len(K))] *= 0.5
    return np.asarray(K @ inner)
