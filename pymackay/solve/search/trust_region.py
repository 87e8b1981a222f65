"""The criterion's quadratic model, curving down or not, and its minimum in a ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.linalg.blas import eigen

__all__ = ["Quadratic", "trust_region_step"]


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A quadratic model in the eigenbasis of its curvature.

    Attributes
    ----------
    values : numpy.ndarray, shape (m,)
        Curvatures, ascending.
    vectors : numpy.ndarray, shape (m, m)
        Their directions, in columns.
    along : numpy.ndarray, shape (m,)
        The gradient along them.
    """

    values: np.ndarray
    vectors: np.ndarray
    along: np.ndarray

    @classmethod
    def of(cls, gradient: np.ndarray, curvature: np.ndarray) -> Quadratic:
        """Return the model with this gradient, shape (m,), and curvature, shape (m, m)."""
        values, vectors = eigen(curvature)
        return cls(values, vectors, vectors.T @ gradient)

    @property
    def size(self) -> float:
        """Largest curvature, at least 1."""
        return max(-float(self.values[0]), float(self.values[-1]), 1.0)

    @property
    def steepness(self) -> np.ndarray:
        """Gradient along each direction in units of its standard error, shape (m,)."""
        return np.abs(self.along) / np.sqrt(np.maximum(np.abs(self.values), 1e-10 * self.size))

    @property
    def decrement(self) -> float:
        """By how much the model says the criterion could still fall."""
        steepness = self.steepness
        return float(0.5 * (steepness @ steepness))

    def step(self, radius: float) -> tuple[np.ndarray, float]:
        """Minimise in a ball (Moré & Sorensen 1983, SIAM J. Sci. Stat. Comput. 4).

        Returns
        -------
        step : numpy.ndarray, shape (m,)
        predicted : float
            Decrease of the model, positive.
        """
        values, along = self.values, self.along
        floor = 1e-12 * self.size
        step = np.where(np.abs(values) > floor, -along / np.where(values == 0, 1.0, values), 0.0)
        if values[0] < -floor or step @ step > radius**2:
            step = _on_sphere(values, along, radius, floor)
        predicted = -float(along @ step + 0.5 * values @ step**2)
        return self.vectors @ step, predicted


def trust_region_step(
    gradient: np.ndarray, curvature: np.ndarray, radius: float
) -> tuple[np.ndarray, float]:
    """Return `Quadratic.step` of the model with this gradient and curvature."""
    return Quadratic.of(gradient, curvature).step(radius)


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
