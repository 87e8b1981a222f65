"""Start values from the data: a moment estimate of each block's relative covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.model.sums.gram import Bases
from pymackay.solve.search.moments import MomentEquations

__all__ = ["clipped_variances", "moment_start", "noise_level"]

_FLOOR = 0.1  # of the noise level: starts stay inside, where every direction has a slope
_OVERLAP = 0.1  # share of what one block leaves that others may be thought to leave of it
_CEILING = 1e6  # relative variance beyond which a larger start tells nothing


def noise_level(gram: Bases, term: int) -> float:
    """Return the relative variance of one level's least-squares effect (columns are whitened)."""
    for block in gram.blocks:
        if term in block.terms:
            return block.n_levels / gram.n
    raise KeyError(term)


def moment_start(gram: Bases, *, reml: bool = True) -> list[np.ndarray]:
    """Return a relative factor per term from `MomentEquations` of each block by itself."""
    factors: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    found = [_moments(*gram.level_moments(k), gram, reml) for k in range(len(gram.blocks))]
    sigma2 = found[0].noise_alone() if len(found) == 1 else _unexplained(found, gram)
    for block, moments in zip(gram.blocks, found, strict=True):
        G = moments.relative_covariance(sigma2)
        for term, columns in gram.block_slices(block):
            values, vectors = np.linalg.eigh(G[columns, columns])
            sd = np.sqrt(clipped_variances(values, noise_level(gram, term)))
            factors[term] = lower_factor(vectors * sd)
    return factors


def clipped_variances(values: np.ndarray, noise: float) -> np.ndarray:
    """Keep relative variances, shape (..., q), where a search can start from."""
    return np.clip(values, _FLOOR * noise, _CEILING)


@dataclass(frozen=True, eq=False)
class _Moments:
    """What one block says by itself.

    Attributes
    ----------
    equations : MomentEquations
    covariance : numpy.ndarray, shape (q, q)
        Estimate of σ²G, noise included.
    left : float
        Sum of squares that the block's effects leave of the response, which has one.
    """

    equations: MomentEquations
    covariance: np.ndarray
    left: float

    def relative_covariance(self, sigma2: float) -> np.ndarray:
        """Return the effects' covariance by unit of σ², not always positive definite."""
        return self.covariance / sigma2 - self.equations.noise

    def noise_alone(self) -> float:
        """Return σ² where there is no other block."""
        return float(self.equations.variance(np.asarray(self.left), self.covariance))


def _moments(A: np.ndarray, C: np.ndarray, gram: Bases, reml: bool) -> _Moments:
    freedom = gram.n - gram.p if reml else gram.n
    equations = MomentEquations.of(A, C[:, :, :-1], freedom, reml=reml)
    c = C[:, :, -1]
    b = np.einsum("jab,jb->ja", equations.shrinkage, c)
    explained = np.einsum("ja,ja->", c, b) + equations.ridge * np.einsum("ja,ja->", b, b)
    return _Moments(equations, equations.covariance(b.T @ b), 1.0 - float(explained))


def _unexplained(found: list[_Moments], gram: Bases) -> float:
    """Return σ²: what all blocks leave where they are orthogonal, else what the best one leaves."""
    total = gram.n - gram.p
    freedoms = [moments.equations.freedom for moments in found]
    least = min(
        max(m.left, 1e-10) / max(freedom, 1.0) for m, freedom in zip(found, freedoms, strict=True)
    )
    left = 1.0 - sum(1.0 - m.left for m in found)
    still_free = total - sum(total - freedom for freedom in freedoms)
    if left <= 0.0 or still_free <= 0.0:
        return least
    return min(least, max(left / still_free, _OVERLAP * least))
