"""Roots of positive semidefinite matrices: of a covariance, of a metric, to any power."""

from __future__ import annotations

import numpy as np

_NULL = 1e-12  # of the largest: an eigenvalue below it is zero, its direction without information


def metric_roots(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return root, inverse root and null projector of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    informative = values > _NULL * max(float(values[-1]), np.finfo(float).tiny)
    roots = np.sqrt(np.where(informative, values, 1.0))
    half = (vectors * np.where(informative, roots, 0.0)) @ vectors.T
    inverse = (vectors * np.where(informative, 1.0 / roots, 0.0)) @ vectors.T
    return half, inverse, (vectors * ~informative) @ vectors.T


def symmetric_power(matrix: np.ndarray, power: float) -> np.ndarray:
    """Return a positive semidefinite matrix to a positive power; rounding below zero is zero."""
    if len(matrix) == 1:
        return np.maximum(matrix, 0.0) ** power
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return (vectors * np.clip(values, 0.0, None) ** power) @ vectors.T


def root_of(covariance: np.ndarray) -> np.ndarray:
    """Return F with F F' = `covariance`, accurate for each effect in its own unit."""
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    unit = np.where(sd > 0.0, sd, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(unit, unit))
    return sd[:, None] * vectors * np.sqrt(np.clip(values, 0.0, None))
