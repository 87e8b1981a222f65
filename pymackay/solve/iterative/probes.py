"""`Probes`: vectors of random signs, and unit vectors, with which traces are estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_UNITS = 64  # largest number of effects of small blocks, in total, that get unit vectors


@dataclass(frozen=True, eq=False)
class Probes:
    """Probe vectors: unit vectors on small blocks, random signs on the others.

    Attributes
    ----------
    units : numpy.ndarray of int, shape (m,)
        The effects with a unit vector each.
    z : numpy.ndarray of float32, shape (size, N)
        Random signs; zero on the effects of `units`.
    """

    units: np.ndarray
    z: np.ndarray

    @property
    def exact(self) -> bool:
        """Whether every effect has a unit vector: the traces are then exact."""
        return len(self.units) == len(self.z)

    @property
    def count(self) -> int:
        """Number of random vectors, or of unit vectors if there are only these."""
        return len(self.units) if self.exact else self.z.shape[1]

    def columns(self, common: np.ndarray) -> np.ndarray:
        """Return unit vectors, `common`, and the parts of the random signs orthogonal to it.

        Parameters
        ----------
        common : numpy.ndarray, shape (size, r)
            Orthonormal, and zero on the effects of `units`. The traces along it are exact.

        Returns
        -------
        numpy.ndarray of float32, shape (size, m + r + N)
        """
        units = np.zeros((len(self.z), len(self.units)), dtype=np.float32)
        units[self.units, np.arange(len(self.units))] = 1.0
        orthogonal = self.z - common @ (common.T @ self.z)
        return np.concatenate([units, common, orthogonal], axis=1, dtype=np.float32)


def draw_probes(blocks: Sequence[slice], count: int, seed: int) -> Probes:
    """Draw probe vectors for the effects of some blocks, given by their slices.

    The levels of a small block meet many levels of the others, so that estimates from random signs
    have large errors; unit vectors are exact. If `count` reaches the number of the other effects,
    all effects get unit vectors.
    """
    size = max(block.stop for block in blocks)
    units, n_units = [], 0
    for block in sorted(blocks, key=lambda block: block.stop - block.start):
        n_units += block.stop - block.start
        if n_units > _UNITS:
            break
        units.append(np.arange(block.start, block.stop))
    chosen = np.concatenate(units) if units else np.arange(0)
    if count >= size - len(chosen):
        return Probes(np.arange(size), np.zeros((size, 0), dtype=np.float32))
    z = draw_signs(size, count, seed)
    z[chosen] = 0.0
    return Probes(chosen, z)


def draw_signs(size: int, count: int, seed: int) -> np.ndarray:
    """Draw random signs, shape (size, count); column i does not depend on `count`."""
    z = np.empty((size, count), dtype=np.float32)
    for i in range(count):
        bits = np.random.default_rng((seed, i)).integers(0, 2, size, dtype=np.int8)
        z[:, i] = 2.0 * bits - 1.0
    return z
