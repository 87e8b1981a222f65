"""The trust-region step: a quadratic model, curving down or not, minimised in a ball."""

from __future__ import annotations

import numpy as np

__all__ = ["trust_region_step"]


def trust_region_step(
    gradient: np.ndarray, curvature: np.ndarray, radius: float
) -> tuple[np.ndarray, float]:
    """Minimise the quadratic model in a ball (Moré & Sorensen 1983, SIAM J. Sci. Stat. Comput. 4).

    Returns
    -------
    step : numpy.ndarray, shape (m,)
    predicted : float
        Decrease of the model, positive.
    """
    values, vectors = np.linalg.eigh(curvature)
    along = vectors.T @ gradient
    floor = 1e-12 * max(float(np.abs(values).max()), 1.0)
    step = np.where(np.abs(values) > floor, -along / np.where(values == 0, 1.0, values), 0.0)
    if values[0] < -floor or np.linalg.norm(step) > radius:
        step = _on_sphere(values, along, radius, floor)
    predicted = -float(along @ step + 0.5 * values @ step**2)
    return vectors @ step, predicted


def _on_sphere(values: np.ndarray, along: np.ndarray, radius: float, floor: float) -> np.ndarray:
    """Solve ``(values + shift) step = -along`` with a shift that puts the step on the sphere."""
    low = max(0.0, -float(values[0]))
    tiny = floor + 1e-12 * low
    step = -along / (values + low + tiny)
    if np.linalg.norm(step) < radius:  # hard case: no slope along the direction that curves down
        step[0] = np.copysign(
            np.sqrt(max(radius**2 - float(step[1:] @ step[1:]), 0.0)), -along[0] or 1.0
        )
        return step
    high = low + float(np.linalg.norm(along)) / radius + tiny
    for _ in range(100):
        shift = 0.5 * (low + high)
        step = -along / (values + shift + tiny)
        length = float(np.linalg.norm(step))
        if abs(length - radius) < 1e-3 * radius:
            break
        low, high = (shift, high) if length > radius else (low, shift)
    return step
