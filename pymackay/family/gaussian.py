"""`Gaussian`: measurements of constant variance, with a link of their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pymackay.family.family import Constant, Family, Observations, Slopes, Support


@dataclass(frozen=True)
class Gaussian(Family):
    """Normal responses of variance φ / weight.

    Parameters
    ----------
    link : {"identity", "log", "inverse"}

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.Gaussian("log")
    Gaussian(link='log')
    """

    link: str = "identity"

    name: ClassVar[str] = "gaussian"
    support: ClassVar[Support] = "real"
    canonical: ClassVar[str] = "identity"
    links: ClassVar[tuple[str, ...]] = ("identity", "log", "inverse")
    concave: ClassVar[tuple[str, ...]] = ("identity",)
    has_dispersion: ClassVar[bool] = True
    positive_mean: ClassVar[bool] = False

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """Return one."""
        return np.ones_like(mu)

    def variance_slope(self, mu: np.ndarray) -> np.ndarray:
        """Return zero."""
        return np.zeros_like(mu)

    def residual_slopes(self, y: np.ndarray, mu: np.ndarray) -> Slopes:
        """Return ``μ − y``, one and zero."""
        return mu - y, np.ones_like(mu), np.zeros_like(mu)

    def unit_half_deviance(self, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return ``(y − μ)² / 2``."""
        return 0.5 * (y - mu) ** 2

    def constant(self, observed: Observations, dispersion: float = 1.0) -> Constant:
        """Return −2 log likelihood of the saturated model; rows of weight zero do not count."""
        w = observed.weights[observed.weights > 0.0]
        value = len(w) * np.log(2.0 * np.pi * dispersion) - np.log(w).sum()
        return Constant(float(value), float(len(w)))

    def start(self, observed: Observations) -> np.ndarray:
        """Return y, or where a link needs a positive mean, no less than a tenth of its size."""
        y = observed.y
        if self.link == "identity":
            return y.copy()
        return np.maximum(y, 0.1 * np.abs(y).mean())

    def draw(
        self,
        random: np.random.Generator,
        observed: Observations,
        mu: np.ndarray,
        dispersion: float = 1.0,
    ) -> np.ndarray:
        """Draw responses with means `mu`, shape (..., n)."""
        with np.errstate(divide="ignore"):
            sd = np.sqrt(dispersion / observed.weights)
        return mu + sd * random.standard_normal(mu.shape)
