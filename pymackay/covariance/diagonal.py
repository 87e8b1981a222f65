"""`DIAGONAL`: effects that do not correlate, a variance for each."""

from __future__ import annotations

import numpy as np


class _Diagonal:
    """Diagonal covariance matrices (see `pymackay.covariance.structure.Structure`)."""

    def places(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(q), np.arange(q)

    def project(self, matrix: np.ndarray) -> np.ndarray:
        return matrix * np.eye(matrix.shape[-1])

    def axes(self, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turn = np.broadcast_to(np.eye(factor.shape[-1]), factor.shape).copy()
        return turn, np.abs(np.diagonal(factor, axis1=-2, axis2=-1))


DIAGONAL = _Diagonal()
