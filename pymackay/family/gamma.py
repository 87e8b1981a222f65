"""`Gamma`: positive measurements whose standard deviation is proportional to the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pymackay.family.family import Constant, Family, Observations, Slopes, Support
from pymackay.family.saddle import deviance_part, stirling_error
from pymackay.late import special


@dataclass(frozen=True)
class Gamma(Family):
    """Gamma responses with shape 1/φ; prior weights count rows, as in R's ``Gamma()$aic``.

    Parameters
    ----------
    link : {"inverse", "identity", "log"}

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.Gamma("log")
    Gamma(link='log')
    """

    link: str = "inverse"

    name: ClassVar[str] = "Gamma"
    support: ClassVar[Support] = "positive"
    canonical: ClassVar[str] = "inverse"
    links: ClassVar[tuple[str, ...]] = ("inverse", "identity", "log")
    concave: ClassVar[tuple[str, ...]] = ("log", "inverse")
    has_dispersion: ClassVar[bool] = True

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """Return μ²."""
        return mu**2

    def variance_slope(self, mu: np.ndarray) -> np.ndarray:
        """Return 2 μ."""
        return 2.0 * mu

    def residual_slopes(self, y: np.ndarray, mu: np.ndarray) -> Slopes:
        """Return ``1/μ − y/μ²`` and its derivatives by μ."""
        ratio = y / mu
        return (
            (mu - y) / mu**2,
            (2.0 * ratio - 1.0) / mu**2,
            (2.0 - 6.0 * ratio) / mu**3,
        )

    def unit_half_deviance(self, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return ``y/μ − 1 − log(y/μ)``."""
        ratio = y / mu
        return deviance_part(np.ones_like(ratio), ratio)

    def constant(self, observed: Observations, dispersion: float = 1.0) -> Constant:
        """Return −2 log likelihood of the saturated model."""
        w, shape = observed.weights, 1.0 / dispersion
        each = np.log(2.0 * np.pi * dispersion) + 2.0 * float(stirling_error(np.array(shape)))
        value = float(w @ (2.0 * np.log(observed.y))) + float(w.sum()) * each
        slope = -2.0 * shape * float(special.digamma(shape) - np.log(shape))
        return Constant(value, float(w.sum()) * slope)

    def draw(
        self,
        random: np.random.Generator,
        observed: Observations,
        mu: np.ndarray,
        dispersion: float = 1.0,
    ) -> np.ndarray:
        """Draw responses with means `mu`, shape (..., n)."""
        return random.gamma(1.0 / dispersion, mu * dispersion)
