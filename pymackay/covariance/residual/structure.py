"""`ResidualStructure`: the covariance matrices of the residuals of groups, relative to sigma².

Rows are known by two numbers: the stratum s of their standard deviation, and the time or visit t.
The first stratum, or visit, has the standard deviation sigma: its relative variance is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.residual.correlation import Correlation


@dataclass(frozen=True)
class ResidualStructure(ABC):
    """R(psi), block by block.

    Attributes
    ----------
    levels : tuple of str
        Strata, or visits, with a standard deviation each; one if all have the same.
    """

    levels: tuple[str, ...]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the parameters as they are reported."""

    @property
    def n_par(self) -> int:
        """Number of parameters, k."""
        return len(self.names)

    @abstractmethod
    def values(self, psi: np.ndarray) -> np.ndarray:
        """Return the parameters as they are reported, by `names`, (k,)."""

    @abstractmethod
    def ratios(self, psi: np.ndarray) -> np.ndarray:
        """Return the standard deviations of `levels` relative to the first, (q,)."""

    def free_scale(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parameters on scales without bounds, w, (k,), and dw/dpsi, (k, k).

        They are psi, unless a structure says otherwise.
        """
        return psi, np.eye(len(psi))

    def from_free_scale(self, w: np.ndarray) -> np.ndarray:
        """Return the parameters as they are reported, (k,), at w; each depends on its own w."""
        return self.values(w)

    def range_of(self, k: int, lag: float) -> tuple[float, float]:
        """Return the bounds of psi's k-th number; `lag` is the least time between two rows.

        Beyond them the likelihood does not change: there is no correlation left.
        """
        return -np.inf, np.inf

    @abstractmethod
    def starts(self, sd: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return psi to start from, each (k,), given rough standard deviations of `levels`."""

    @abstractmethod
    def spread(self, sd: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a random psi, (k,), about rough standard deviations of `levels`."""

    @abstractmethod
    def blocks(self, psi: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return R, (..., m, m), of rows with strata s and times t, (..., m)."""

    @abstractmethod
    def slopes(self, psi: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return dR/dpsi, (..., k, m, m)."""

    @abstractmethod
    def bending(
        self, psi: np.ndarray, s: np.ndarray, t: np.ndarray, score: np.ndarray
    ) -> np.ndarray:
        """Return ``Σ_u tr(S d²R)``, (k, k), for symmetric S, (u, m, m); s and t of shape (u, m)."""


@dataclass(frozen=True)
class Scaled(ResidualStructure):
    """``R_ab = exp(d_s(a) + d_s(b)) C_ab``: variances by stratum, correlations by time.

    psi holds the logs of the ratios of standard deviations to the first, d, then x of C.

    Attributes
    ----------
    correlation : Correlation
    prefix : str
        What the names of ratios begin with.
    """

    correlation: Correlation
    prefix: str = "sd"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the ratios of standard deviations, and of the correlations."""
        ratios = (f"{self.prefix}.{level}" for level in self.levels[1:])
        return (*ratios, *self.correlation.names)

    @property
    def _cut(self) -> int:
        return len(self.levels) - 1

    def values(self, psi: np.ndarray) -> np.ndarray:
        """Return ratios of standard deviations and correlations, (k,)."""
        rho = self.correlation.values(psi[self._cut :])
        return np.concatenate([np.exp(psi[: self._cut]), rho])

    def ratios(self, psi: np.ndarray) -> np.ndarray:
        """Return the standard deviations of the strata relative to the first, (q,)."""
        return np.exp(np.append(0.0, psi[: self._cut]))

    def range_of(self, k: int, lag: float) -> tuple[float, float]:
        """Return the bounds of psi's k-th number, a log ratio or one of the correlations'."""
        return (-np.inf, np.inf) if k < self._cut else self.correlation.range_at(lag)

    def starts(self, sd: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return rough ratios with each start of the correlations."""
        d = np.log(sd[1:] / sd[0])
        return tuple(np.concatenate([d, x]) for x in self.correlation.starts())

    def spread(self, sd: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return log ratios about the rough ones, and x, by normal deviates, (k,)."""
        start = self.starts(sd)[0]
        return start + rng.normal(size=len(start))

    def _parts(
        self, psi: np.ndarray, s: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the scale E, (..., m, m), then C and its derivatives."""
        d = np.append(0.0, psi[: self._cut])[s]
        lag = np.abs(t[..., :, None] - t[..., None, :])
        scale = np.exp(d[..., :, None] + d[..., None, :])
        return scale, *self.correlation.at(psi[self._cut :], lag)

    def _counts(self, s: np.ndarray) -> np.ndarray:
        """Return how many of the two rows are of each stratum but the first, (..., q-1, m, m)."""
        of = (s[..., None, :] == np.arange(1, len(self.levels))[:, None]).astype(np.float64)
        return of[..., :, None] + of[..., None, :]

    def blocks(self, psi: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return R, (..., m, m)."""
        scale, C, _, _ = self._parts(psi, s, t)
        return scale * C

    def slopes(self, psi: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return dR/dpsi, (..., k, m, m)."""
        scale, C, first, _ = self._parts(psi, s, t)
        by_sd = self._counts(s) * (scale * C)[..., None, :, :]
        return np.concatenate([by_sd, scale[..., None, :, :] * first], axis=-3)

    def bending(
        self, psi: np.ndarray, s: np.ndarray, t: np.ndarray, score: np.ndarray
    ) -> np.ndarray:
        """Return ``Σ tr(S d²R)``, (k, k): products of counts, and the second derivatives of C."""
        scale, C, first, second = self._parts(psi, s, t)
        weight = (score * scale)[..., None, :, :]
        slopes = np.concatenate([self._counts(s) * C[..., None, :, :], first], axis=-3)
        counts = self._counts(s)
        added = np.zeros((self.n_par, self.n_par))
        mixed = np.einsum("uiab,ujab->ij", counts * weight, slopes, optimize=True)
        added[: self._cut] = mixed
        added[self._cut :, : self._cut] = mixed[:, self._cut :].T
        at = np.arange(self._cut, self.n_par)
        added[at, at] = np.einsum("uiab,uiab->i", np.broadcast_to(weight, second.shape), second)
        return added


@dataclass(frozen=True)
class Unstructured(ResidualStructure):
    """Any covariance matrix ``L L'`` of the visits, with ``L_11 = 1``.

    psi holds the other elements of the lower triangle of L, row by row; t is the visit's place.
    """

    @property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.tril_indices(len(self.levels))
        return rows[1:], columns[1:]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the ratios of standard deviations, then of the correlations."""
        pairs = zip(*np.tril_indices(len(self.levels), -1), strict=True)
        sds = tuple(f"sd.{level}" for level in self.levels[1:])
        return (*sds, *(f"cor.{self.levels[j]}.{self.levels[i]}" for i, j in pairs))

    def covariance(self, psi: np.ndarray) -> np.ndarray:
        """Return the matrix of all visits relative to sigma², (q, q)."""
        L = self._factor(psi)
        return L @ L.T

    def of_covariance(self, S: np.ndarray) -> np.ndarray:
        """Return psi of a covariance matrix of all visits, (q, q), whatever its scale."""
        return np.asarray(np.linalg.cholesky(S / S[0, 0])[self._places])

    def _factor(self, psi: np.ndarray) -> np.ndarray:
        L = np.zeros((len(self.levels), len(self.levels)))
        L[0, 0] = 1.0
        L[self._places] = psi
        return L

    def ratios(self, psi: np.ndarray) -> np.ndarray:
        """Return the standard deviations of the visits relative to the first, (q,)."""
        return np.sqrt(np.diag(self.covariance(psi)))

    def values(self, psi: np.ndarray) -> np.ndarray:
        """Return ratios of standard deviations and correlations, (k,)."""
        sd = self.ratios(psi)
        R = self.covariance(psi) / np.outer(sd, sd)
        return np.concatenate([sd[1:], R[np.tril_indices(len(sd), -1)]])

    def free_scale(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log ratios and Fisher's z of the correlations, (k,), and derivatives, (k, k).

        With S = LL': ``d log sd_i = dS_ii / (2 S_ii)``, and
        ``dR_ij = dS_ij / (sd_i sd_j) − R_ij (d log sd_i + d log sd_j)``.
        """
        values, cut = self.values(psi), len(self.levels) - 1
        at = np.arange(len(self.levels))
        dS = self.slopes(psi, at, at)
        sd = self.ratios(psi)
        by_log = 0.5 * np.diagonal(dS, axis1=1, axis2=2) / sd**2
        R = self.covariance(psi) / np.outer(sd, sd)
        dR = dS / np.outer(sd, sd) - R * (by_log[:, :, None] + by_log[:, None, :])
        below = np.tril_indices(len(sd), -1)
        by_z = dR[:, below[0], below[1]] / (1.0 - values[cut:] ** 2)
        w = np.concatenate([np.log(values[:cut]), np.arctanh(values[cut:])])
        return w, np.concatenate([by_log[:, 1:], by_z], axis=1).T

    def from_free_scale(self, w: np.ndarray) -> np.ndarray:
        """Return ratios and correlations, (k,), of their logs and Fisher's z."""
        cut = len(self.levels) - 1
        return np.concatenate([np.exp(w[:cut]), np.tanh(w[cut:])])

    def starts(self, sd: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return rough standard deviations with correlations of 0.4 and of zero."""
        made = []
        for rho in (0.4, 0.0):
            R = np.where(np.eye(len(sd), dtype=bool), 1.0, rho)
            L = np.linalg.cholesky(R * np.outer(sd, sd) / sd[0] ** 2)
            made.append(L[self._places])
        return tuple(made)

    def spread(self, sd: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a factor with rows of random directions and lengths about the rough ones, (k,)."""
        rows = np.tril(rng.normal(size=(len(sd), len(sd))))
        rows *= (sd * np.exp(rng.normal(size=len(sd))) / np.linalg.norm(rows, axis=1))[:, None]
        rows *= np.where(np.diag(rows) < 0.0, -1.0, 1.0)[:, None]
        return np.asarray((rows / rows[0, 0])[self._places])

    def blocks(self, psi: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return R, (..., m, m)."""
        at = t.astype(np.intp)
        return self.covariance(psi)[at[..., :, None], at[..., None, :]]

    def slopes(self, psi: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return dR/dpsi, (..., k, m, m): ``E L' + L E'`` at the rows' visits."""
        L, (rows, columns), k = self._factor(psi), self._places, self.n_par
        half = np.zeros((k, len(L), len(L)))
        half[np.arange(k), rows] = L[:, columns].T
        whole, at = half + half.swapaxes(1, 2), t.astype(np.intp)
        return np.moveaxis(whole[:, at[..., :, None], at[..., None, :]], 0, -3)

    def bending(
        self, psi: np.ndarray, s: np.ndarray, t: np.ndarray, score: np.ndarray
    ) -> np.ndarray:
        """Return ``Σ tr(S d²R)``, (k, k): ``2 S_rr'`` for two elements of one column of L."""
        q, at = len(self.levels), t.astype(np.intp)
        S = np.zeros((q, q))
        pairs = np.broadcast_arrays(at[..., :, None], at[..., None, :])
        np.add.at(S, tuple(pairs), score)
        rows, columns = self._places
        return np.asarray(2.0 * (columns[:, None] == columns) * S[rows][:, rows])
