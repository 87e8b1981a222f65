"""`InverseGaussian`: positive measurements whose variance grows with the cube of the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pymackay.family.family import Constant, Family, Observations, Slopes, Support


@dataclass(frozen=True)
class InverseGaussian(Family):
    """Inverse Gaussian responses of variance φ μ³; prior weights count rows, as in R.

    Parameters
    ----------
    link : {"1/mu^2", "inverse", "identity", "log"}

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.InverseGaussian("log")
    InverseGaussian(link='log')
    """

    link: str = "1/mu^2"

    name: ClassVar[str] = "inverse.gaussian"
    support: ClassVar[Support] = "positive"
    canonical: ClassVar[str] = "1/mu^2"
    links: ClassVar[tuple[str, ...]] = ("1/mu^2", "inverse", "identity", "log")
    concave: ClassVar[tuple[str, ...]] = ("1/mu^2", "inverse")
    has_dispersion: ClassVar[bool] = True

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """Return μ³."""
        return mu**3

    def variance_slope(self, mu: np.ndarray) -> np.ndarray:
        """Return 3 μ²."""
        return 3.0 * mu**2

    def residual_slopes(self, y: np.ndarray, mu: np.ndarray) -> Slopes:
        """Return ``(μ − y)/μ³`` and its derivatives by μ."""
        ratio = y / mu
        return (
            (mu - y) / mu**3,
            (3.0 * ratio - 2.0) / mu**3,
            (6.0 - 12.0 * ratio) / mu**4,
        )

    def unit_half_deviance(self, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return ``(y − μ)² / (2 μ² y)``."""
        return 0.5 * ((y - mu) / mu) ** 2 / y

    def constant(self, observed: Observations, dispersion: float = 1.0) -> Constant:
        """Return −2 log likelihood of the saturated model."""
        w = observed.weights
        total = float(w.sum())
        value = total * np.log(2.0 * np.pi * dispersion) + 3.0 * float(w @ np.log(observed.y))
        return Constant(float(value), total)

    def draw(
        self,
        random: np.random.Generator,
        observed: Observations,
        mu: np.ndarray,
        dispersion: float = 1.0,
    ) -> np.ndarray:
        """Draw responses with means `mu`, shape (..., n)."""
        return random.wald(mu, 1.0 / dispersion)
