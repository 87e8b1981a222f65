"""`ReducedRank`: effects that are combinations of a few factors, ``rr(f | g, d = 2)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.loadings import spread_out, trapezoid, trapezoid_places
from pymackay.covariance.structure import Structure


@dataclass(frozen=True)
class ReducedRank(Structure):
    """``G = Λ Λ'`` with loadings Λ, (q, d), of d factors: a covariance matrix of rank d.

    Λ is lower triangular in its first d rows, and has no negative diagonal: a rotation of the
    factors does not change G. The parameters are its elements, column by column, which are also
    those of theta.

    Attributes
    ----------
    rank : int
        Number of factors, d; one for each effect if there are fewer effects.
    """

    tag = "rr"
    reduced = True
    rank: int = 2

    def __str__(self) -> str:
        return f"{self.tag}, d = {self.rank}"

    def rank_of(self, q: int) -> int:
        """Return the largest rank of G of q effects."""
        return min(self.rank, q)

    def n_par(self, q: int) -> int:
        """Return the number of parameters: ``q d − d (d − 1)/2``."""
        return len(self.places(q)[0])

    def names(self, effects: Sequence[str]) -> list[str]:
        """Name the parameters, without the group, as the elements of theta."""
        return self.theta_names(effects)

    def factor(self, par: np.ndarray, q: int) -> np.ndarray:
        """Return the factor of G, (..., q, q), for parameters (..., k): Λ and columns of zeros."""
        return spread_out(par, q, self.rank_of(q), q)

    def par_of(self, factor: np.ndarray) -> np.ndarray:
        """Return the parameters, (..., k), of factors (..., q, q); the nearest G of this rank."""
        q = factor.shape[-1]
        d = self.rank_of(q)
        if factor[..., d:].any():
            U, sizes, _ = np.linalg.svd(factor)
            factor = U * sizes[..., None, :]
        rows, columns = self.places(q)
        return trapezoid(factor[..., :d])[..., rows, columns]

    def start(self, covariance: np.ndarray, least: float, most: float) -> np.ndarray:
        """Return parameters, (..., k), of the d largest principal axes of symmetric matrices."""
        q = covariance.shape[-1]
        values, vectors = np.linalg.eigh(covariance)
        last = slice(q - self.rank_of(q), q)
        sizes = np.sqrt(np.clip(values[..., last], least, most))
        rows, columns = self.places(q)
        return trapezoid(vectors[..., last] * sizes[..., None, :])[..., rows, columns]

    def places(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return row and column in the factor of G of each loading."""
        return trapezoid_places(q, self.rank_of(q))

    def theta_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta as those of an unstructured term, without the group."""
        pairs = zip(*(places.tolist() for places in self.places(len(effects))), strict=True)
        return [effects[i] if i == j else f"{effects[i]}.{effects[j]}" for i, j in pairs]

    def par_of_theta(self, theta: np.ndarray, q: int) -> np.ndarray:
        """Return the parameters, (k,), that lead to `theta`, which they are but for signs."""
        if not np.isfinite(theta).all():
            raise ValueError
        return self.par_of(self.factor(theta, q))

    def scaling(self, rms: np.ndarray) -> np.ndarray:
        """Return a diagonal T, (q, q), that brings columns with these root mean squares to one."""
        return np.diag(1.0 / rms)

    def least_size(self, factor: np.ndarray) -> np.ndarray:
        """Return the standard deviation along the last of the d principal axes, (...)."""
        sizes = np.linalg.svd(factor, compute_uv=False)
        return np.asarray(sizes[..., self.rank_of(factor.shape[-1]) - 1])
