"""`Poisson`: counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pymackay.family.family import Constant, Family, Observations, Slopes, Support
from pymackay.family.saddle import deviance_part, stirling_error


@dataclass(frozen=True)
class Poisson(Family):
    """Poisson counts.

    Parameters
    ----------
    link : {"log", "identity", "sqrt"}

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.Poisson()
    Poisson(link='log')
    """

    link: str = "log"

    name: ClassVar[str] = "poisson"
    support: ClassVar[Support] = "count"
    canonical: ClassVar[str] = "log"
    links: ClassVar[tuple[str, ...]] = ("log", "identity", "sqrt")
    concave: ClassVar[tuple[str, ...]] = ("log", "identity")

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """Return μ."""
        return mu

    def variance_slope(self, mu: np.ndarray) -> np.ndarray:
        """Return one."""
        return np.ones_like(mu)

    def residual_slopes(self, y: np.ndarray, mu: np.ndarray) -> Slopes:
        """Return ``1 − y/μ`` and its derivatives by μ."""
        ratio = y / mu
        return (mu - y) / mu, ratio / mu, -2.0 * ratio / mu**2

    def unit_half_deviance(self, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return ``y log(y/μ) − (y − μ)``."""
        return deviance_part(y, mu)

    def constant(self, observed: Observations, dispersion: float = 1.0) -> Constant:
        """Return −2 log likelihood of the saturated model."""
        y, some = observed.y, observed.y > 0.0
        terms = 2.0 * stirling_error(y) + np.log(2.0 * np.pi * np.where(some, y, 1.0))
        return Constant(float(observed.weights @ np.where(some, terms, 0.0)))

    def start(self, observed: Observations) -> np.ndarray:
        """Return ``y + 0.1``."""
        return observed.y + 0.1

    def draw(
        self,
        random: np.random.Generator,
        observed: Observations,
        mu: np.ndarray,
        dispersion: float = 1.0,
    ) -> np.ndarray:
        """Draw counts with means `mu`, shape (..., n)."""
        return random.poisson(mu).astype(np.float64)
