"""`FactorAnalytic`: one factor that all effects share, and a variance of each, ``fa(f | g)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.covariance.structure import Correlated

_STEPS = 100  # Newton's, at most, from a correlation matrix to its loadings
_REACHED = 1e-15  # change of the loadings, at which they are found
_AT_BOUND = 1e-12  # a loading nearer to ±1 is taken to be there


@dataclass(frozen=True)
class FactorAnalytic(Correlated):
    """``R_ij = l_i l_j`` for i ≠ j: effect i is ``s_i (l_i z + √(1 − l_i²) e_i)``.

    The factor z and all e are independent, with variance one. So ``G = λ λ' + diag(ψ)`` with
    ``λ_i = s_i l_i`` and ``ψ_i = s_i² (1 − l_i²)``, which is zero where l_i is at a bound. The
    parameters are the standard deviations s and the loadings l, whose signs may all be changed
    together: the largest is positive. With two effects only the product of the loadings is
    determined, so that this structure needs three.
    """

    tag = "fa"

    def __str__(self) -> str:
        return f"{self.tag}, d = 1"

    def n_rho(self, q: int) -> int:
        """Return the number of loadings."""
        return q

    def bounds(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest loadings, each (q,)."""
        return -np.ones(q), np.ones(q)

    def names(self, effects: Sequence[str]) -> list[str]:
        """Name the parameters, without the group: standard deviations, then loadings."""
        return [*effects, *(f"loading.{effect}" for effect in effects)]

    def correlation(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return R, shape (..., q, q)."""
        return np.where(np.eye(q, dtype=bool), 1.0, rho[..., :, None] * rho[..., None, :])

    def slopes(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return dR/drho, shape (..., q, q, q): row and column k hold the other loadings."""
        k = np.arange(q)
        made = np.zeros((*rho.shape[:-1], q, q, q))
        others = np.where(np.eye(q, dtype=bool), 0.0, rho[..., None, :])
        made[..., k, k, :] = others
        made[..., k, :, k] = np.moveaxis(others, -2, 0)  # NumPy puts the index first
        return made

    def bends(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return d²R/drho², shape (..., q, q, q, q): ones where the pair of loadings stands."""
        i, j = np.nonzero(~np.eye(q, dtype=bool))
        made = np.zeros((q, q, q, q))
        made[i, j, i, j] = made[i, j, j, i] = 1.0
        return np.broadcast_to(made, (*rho.shape[:-1], q, q, q, q))

    def root(self, rho: np.ndarray, q: int) -> np.ndarray:
        """Return the factor of R, (..., q, q), in closed form.

        Given the effects before it, the factor z has the variance ``v_j``, with ``v_0 = 1`` and
        ``v_(j+1) = v_j u_j / (u_j + v_j l_j²)``, ``u = 1 − l²``. Column j has
        ``√(u_j + v_j l_j²)`` on the diagonal and ``l_i l_j v_j`` by it below.
        """
        lower = np.zeros((*rho.shape[:-1], q, q))
        unique = np.maximum((1.0 - rho) * (1.0 + rho), 0.0)
        left = np.ones(rho.shape[:-1])
        for j in range(q):
            size = unique[..., j] + left * rho[..., j] ** 2
            root = np.sqrt(size)
            safe = np.where(size > 0.0, size, 1.0)
            below = rho[..., j + 1 :] * (rho[..., j] * left / np.sqrt(safe))[..., None]
            lower[..., j, j] = root
            lower[..., j + 1 :, j] = np.where(size > 0.0, 1.0, 0.0)[..., None] * below
            left = np.where(size > 0.0, left * unique[..., j] / safe, 0.0)
        return lower

    def rho_of(self, covariance: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return the loadings whose products are nearest to the correlations (least squares)."""
        q = sd.shape[-1]
        size = sd[..., :, None] * sd[..., None, :]
        R = np.where(size > 0.0, covariance / np.where(size > 0.0, size, 1.0), 0.0)
        flat = [_loadings(one) for one in R.reshape(-1, q, q)]
        rho = np.array(flat).reshape(sd.shape)
        return np.where(np.abs(rho) > 1.0 - _AT_BOUND, np.sign(rho), rho)

    def distinct(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the lower triangle: theta is not compressed."""
        columns, rows = np.triu_indices(q)
        return rows, columns

    def shared_names(self, effects: Sequence[str]) -> list[str]:
        """Name the elements of theta, without the group."""
        pairs = zip(*(places.tolist() for places in self.distinct(len(effects))), strict=True)
        return [effects[j] if i == j else f"{effects[i]}.{effects[j]}" for i, j in pairs]

    def least_size(self, factor: np.ndarray) -> np.ndarray:
        """Return the size, (...), that is zero where G is singular, or an effect has no own part.

        The latter is ``√ψ_i``, the standard deviation of what the factor does not explain.
        """
        sd = np.linalg.norm(factor, axis=-1)
        rho = self.rho_of(factor @ factor.swapaxes(-1, -2), sd)
        alone = (sd * np.sqrt(np.maximum(1.0 - rho**2, 0.0))).min(axis=-1)
        return np.asarray(np.minimum(alone, super().least_size(factor)))


def _loadings(R: np.ndarray) -> np.ndarray:
    """Return l, (q,), with the least ``Σ_(i<j) (R_ij − l_i l_j)²``, the largest positive.

    By Gauss and Newton's steps, which converge quadratically where the products can be equal to
    the correlations, from the best of the starts that one row each suggests.
    """
    q = len(R)
    i, j = np.tril_indices(q, -1)
    target, place = R[i, j], np.arange(len(i))
    loading = _first_loadings(R)
    for _ in range(_STEPS):
        slopes = np.zeros((len(i), q))
        slopes[place, i], slopes[place, j] = loading[j], loading[i]
        step = np.linalg.lstsq(slopes, target - loading[i] * loading[j], rcond=1e-13)[0]
        loading = loading + step
        if not np.abs(step).max() > _REACHED:
            break
    return np.asarray(loading * np.sign(loading[np.abs(loading).argmax()] or 1.0))


def _first_loadings(R: np.ndarray) -> np.ndarray:
    """Return loadings, (q,), near those of R: of principal axes with communalities, iterated."""
    absolute = np.abs(R - np.diag(np.diag(R)))
    share = absolute.max(axis=1)
    loading = np.zeros(len(R))
    for _ in range(20):
        values, vectors = np.linalg.eigh(R - np.diag(np.diag(R) - share))
        loading = vectors[:, -1] * np.sqrt(max(values[-1], 0.0))
        share = np.clip(loading**2, 0.0, 1.0)
    return loading
