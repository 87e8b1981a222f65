"""`Structure`: a covariance matrix with few parameters, and `Correlated`, most kinds of it.

The parameters of a `Correlated` structure are standard deviations and those of a correlation
matrix: with s the q standard deviations (all the same if `hom`), D = diag(s) and R a correlation
matrix with parameters rho, ``G = D R(rho) D``. The parameters `par` are the standard deviations,
one if `hom`, then rho, as in lme4 2.x. A subclass says what R is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_INSIDE = 0.05  # of the width of its bounds: how far a start keeps a correlation away from them
_FAMILY = 1e-6  # of the largest element: how far theta may be from a matrix of the structure


@dataclass(frozen=True)
class Structure(ABC):
    """A structure of a term's covariance matrix.

    Attributes
    ----------
    hom : bool
        Whether all effects have the same variance.
    """

    tag = ""
    needs_levels = True  # whether the variances follow from differences between levels only
    reduced = False  # whether the parameters are loadings, elements of a factor of few columns
    hom: bool = False

    def __str__(self) -> str:
        return f"{self.tag}, hom = {str(self.hom).upper()}"

    # ---- what a subclass has to say

    @abstractmethod
    def n_par(self, q: int) -> int:
        """Return the number of parameters."""

    @abstractmethod
    def names(self, effects: Sequence[str]) -> list[str]:
        """Name the parameters, without the group."""

    @abstractmethod
    def factor(self, par: np.ndarray, q: int) -> np.ndarray:
        """Return the lower-triangular factor of G, (..., q, q), for parameters (..., k)."""

    @abstractmethod
    def par_of(self, factor: np.ndarray) -> np.ndarray:
        """Return the parameters, (..., k), of factors (..., q, q) of matrices of this structure."""

    @abstractmethod
    def start(self, covariance: np.ndarray, least: float, most: float) -> np.ndarray:
        """Return parameters, (..., k), near any symmetric matrices, where a search can start.

        Parameters
        ----------
        covariance : numpy.ndarray, shape (..., q, q)
            Not always positive definite.
        least, most : float
            Bounds of the variances.
        """

    @abstractmethod
    def places(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return row and column in the factor of G of each element of theta."""

    @abstractmethod
    def theta_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta, without the group."""

    @abstractmethod
    def par_of_theta(self, theta: np.ndarray, q: int) -> np.ndarray:
        """Return the parameters, (k,), that lead to `theta`.

        Raises
        ------
        ValueError
            If it is not the factor of a matrix of this structure.
        """

    @abstractmethod
    def scaling(self, rms: np.ndarray) -> np.ndarray:
        """Return a diagonal T, (q, q), that brings columns with these root mean squares near one.

        The covariance of the effects ``T⁻¹ b`` has the structure that the covariance of b has.
        """

    # ---- what follows

    def rank_of(self, q: int) -> int:
        """Return the largest rank of G of q effects."""
        return q

    def covariance(self, par: np.ndarray, q: int) -> np.ndarray:
        """Return G, (..., q, q), for parameters (..., k)."""
        factor = self.factor(par, q)
        return factor @ factor.swapaxes(-1, -2)

    def least_size(self, factor: np.ndarray) -> np.ndarray:
        """Return the size, (...), that is zero where factors, (..., q, q), are at a bound.

        It is the smallest standard deviation along the principal axes of G.
        """
        return np.asarray(np.linalg.svd(factor, compute_uv=False).min(axis=-1))


@dataclass(frozen=True)
class Correlated(Structure):
    """A structure whose parameters are standard deviations, and those of a correlation matrix."""

    compressed = True  # whether theta of a structure with `hom` holds distinct elements only

    # ---- what a subclass has to say

    @abstractmethod
    def n_rho(self, q: int) -> int:
        """Return the number of parameters of the correlation matrix."""

    @abstractmethod
    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest rho, each (r,)."""

    @abstractmethod
    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return R, shape (..., q, q), for rho of shape (..., r)."""

    @abstractmethod
    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., r, q, q)."""

    @abstractmethod
    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., r, r, q, q)."""

    @abstractmethod
    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the lower-triangular factor of R, (..., q, q), without a negative diagonal."""

    @abstractmethod
    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return rho, (..., r), of covariances, (..., q, q), with standard deviations (..., q).

        Of a covariance of another structure: that of similar correlations, perhaps out of bounds.
        Zero where no two effects vary.
        """

    @abstractmethod
    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return row and column in the factor of G of each element of theta, if `hom`."""

    @abstractmethod
    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta, without the group, if `hom`."""

    # ---- the parameters

    def n_sd(self, q: int) -> int:
        """Return the number of standard deviations among the parameters."""
        return 1 if self.hom else q

    def n_par(self, q: int) -> int:
        """Return the number of parameters."""
        return self.n_sd(q) + self.n_rho(q)

    def names(self, effects: Sequence[str]) -> list[str]:
        """Name the parameters as lme4 2.x does, without the group."""
        r = self.n_rho(len(effects))
        numbered = [f"rho{k}" for k in range(1, r + 1)]
        return (["*"] if self.hom else list(effects)) + (["rho"] if r == 1 else numbered)

    def split(self, par: np.ndarray, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the standard deviations of all effects, (..., q), and rho, (..., r)."""
        m = self.n_sd(q)
        return np.broadcast_to(par[..., :m], (*par.shape[:-1], q)), par[..., m:]

    def covariance(self, par: np.ndarray, q: int) -> np.ndarray:
        """Return G, (..., q, q), for parameters (..., k)."""
        sd, rho = self.split(par, q)
        return sd[..., :, None] * sd[..., None, :] * self.correlation(rho, q)

    def factor(self, par: np.ndarray, q: int) -> np.ndarray:
        """Return the lower-triangular factor of G, (..., q, q), for parameters (..., k)."""
        sd, rho = self.split(par, q)
        return sd[..., :, None] * self.root(rho, q)

    def par_of(self, factor: np.ndarray) -> np.ndarray:
        """Return the parameters, (..., k), of factors (..., q, q) of matrices of this structure."""
        sd = np.linalg.norm(factor, axis=-1)
        rho = self._within(self.rho_of(factor @ factor.swapaxes(-1, -2), sd), factor.shape[-1])
        return np.concatenate([self._sds(sd), rho], axis=-1)

    def start(self, covariance: np.ndarray, least: float, most: float) -> np.ndarray:
        """Return parameters, (..., k), near any symmetric matrices, where a search can start.

        Parameters
        ----------
        covariance : numpy.ndarray, shape (..., q, q)
            Not always positive definite.
        least, most : float
            Bounds of the variances.
        """
        q = covariance.shape[-1]
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        if self.hom:
            variance = np.broadcast_to(variance.mean(axis=-1, keepdims=True), variance.shape)
        sd = np.sqrt(np.clip(variance, least, most))
        rho = self._within(self.rho_of(covariance, sd), q, margin=_INSIDE)
        return np.concatenate([self._sds(sd), rho], axis=-1)

    def _sds(self, sd: np.ndarray) -> np.ndarray:
        """Return the parameters that stand for standard deviations, (..., q)."""
        return np.sqrt(np.mean(sd**2, axis=-1, keepdims=True)) if self.hom else sd

    def _within(self, rho: np.ndarray, q: int, margin: float = 0.0) -> np.ndarray:
        """Return rho, moved between its bounds, `margin` of their distance away from them."""
        low, high = self.bounds(q)
        kept = margin * (high - low)
        return np.clip(rho, low + kept, high - kept)

    # ---- theta, lme4's compressed factor

    def places(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return row and column in the factor of G of each element of theta."""
        if self.hom:
            return self.distinct(q)
        columns, rows = np.triu_indices(q)
        return rows, columns

    def theta_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta as lme4 2.x does, without the group."""
        if self.hom:
            return self.shared_names(effects)
        rows, columns = self.places(len(effects))
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        return [effects[i] if i == j else f"{effects[i]}.{effects[j]}" for i, j in pairs]

    def par_of_theta(self, theta: np.ndarray, q: int) -> np.ndarray:
        """Return the parameters, (k,), that lead to `theta`.

        Raises
        ------
        ValueError
            If it is not the factor of a matrix of this structure.
        """
        rows, columns = self.places(q)
        if self.hom and self.compressed:
            sd = abs(float(theta[0]))
            known = np.asarray(theta[1 : 1 + self.n_rho(q)]) / (theta[0] if sd > 0.0 else 1.0)
            par = np.concatenate([[sd], self._within(known, q)])
        else:
            factor = np.zeros((q, q))
            factor[rows, columns] = theta
            par = self.par_of(factor)
        away = np.abs(self.factor(par, q)[rows, columns] - theta).max(initial=0.0)
        if away > _FAMILY * np.abs(theta).max(initial=0.0):
            raise ValueError
        return par

    # ---- bases

    def scaling(self, rms: np.ndarray) -> np.ndarray:
        """Return a diagonal T, (q, q), that brings columns with these root mean squares near one.

        The covariance of the effects ``T⁻¹ b`` has the structure that the covariance of b has.
        """
        unit = np.sqrt(np.mean(rms**2)) if self.hom else rms
        return np.diag(np.broadcast_to(1.0 / unit, rms.shape))
