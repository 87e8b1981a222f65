"""`NegativeBinomial`: counts whose variance is ``μ + μ²/shape``; the shape given or estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.family.family import Constant, Family, Observations, Slopes, Support
from pymackay.family.links import LINKS
from pymackay.family.saddle import deviance_part, stirling_error
from pymackay.late import special

_NEAR = 0.1  # of y + theta: as far from y the saddle-point forms lose no digits


@dataclass(frozen=True, eq=False)
class ShapeSlopes:
    """Derivatives by the log of the shape at a fixed linear predictor.

    Attributes
    ----------
    criterion : float
        Of −2 log likelihood.
    d1, d2, expected : numpy.ndarray, shape (n,)
        Of D', of the observed and of the expected weights.
    """

    criterion: float
    d1: np.ndarray
    d2: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class NegativeBinomial(Family):
    """Negative binomial counts of variance ``μ + μ²/theta``.

    Parameters
    ----------
    link : {"log", "sqrt", "identity"}
    theta : float, optional
        The shape; by default it is estimated by maximum likelihood.

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.NegativeBinomial(theta=1.5)
    NegativeBinomial(link='log', theta=1.5)
    """

    link: str = "log"
    theta: float | None = None

    name: ClassVar[str] = "negative binomial"
    support: ClassVar[Support] = "count"
    canonical: ClassVar[str] = ""
    links: ClassVar[tuple[str, ...]] = ("log", "sqrt", "identity")
    concave: ClassVar[tuple[str, ...]] = ("log",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.theta is not None and not (np.isfinite(self.theta) and self.theta > 0.0):
            raise ArgumentError(
                f"theta of the negative binomial family must be a positive number, or None to "
                f"estimate it, but it is {self.theta!r}."
            )

    @property
    def shape(self) -> float:
        """The shape; an error if it is not known."""
        if self.theta is None:
            raise ArgumentError("theta of the negative binomial family is not known yet.")
        return self.theta

    def with_shape(self, theta: float) -> NegativeBinomial:
        """Return the family with another shape."""
        return replace(self, theta=float(theta))

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """Return ``μ + μ²/theta``."""
        return mu * (1.0 + mu / self.shape)

    def variance_slope(self, mu: np.ndarray) -> np.ndarray:
        """Return ``1 + 2 μ/theta``."""
        return 1.0 + 2.0 * mu / self.shape

    def residual_slopes(self, y: np.ndarray, mu: np.ndarray) -> Slopes:
        """Return ``(y + θ)/(μ + θ) − y/μ`` and its derivatives by μ."""
        total, ratio = mu + self.shape, y / mu
        share = (y + self.shape) / total
        return (
            (mu - y) * self.shape / (mu * total),
            ratio / mu - share / total,
            -2.0 * ratio / mu**2 + 2.0 * share / total**2,
        )

    def unit_half_deviance(self, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return ``y log(y/μ) − (y + θ) log((y + θ)/(μ + θ))``.

        Far from y, where the two parts are large and cancel, it is
        ``y log(1 + θ (y − μ)/(μ (y + θ))) − θ log((y + θ)/(μ + θ))``.
        """
        theta = self.shape
        near = np.abs(y - mu) < _NEAR * (y + theta)
        beside = np.where(near, mu, y + theta)
        parts = deviance_part(y, beside) - deviance_part(y + theta, beside + theta)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.where(y > 0.0, theta * ((y / mu - 1.0) / (y + theta)), 0.0)
            far = y * np.log1p(share) - theta * (np.log(y + theta) - np.log(mu + theta))
        return np.where(near, parts, far)

    def constant(self, observed: Observations, dispersion: float = 1.0) -> Constant:
        """Return −2 log likelihood of the saturated model."""
        y, theta = observed.y, self.shape
        some = y > 0.0
        log_density = (
            0.5 * np.log(theta / (y + theta))
            - 0.5 * np.log(2.0 * np.pi * np.where(some, y, 1.0))
            + stirling_error(y + theta)
            - stirling_error(np.array(theta))
            - stirling_error(y)
        )
        return Constant(-2.0 * float(observed.weights @ np.where(some, log_density, 0.0)))

    def shape_slopes(self, observed: Observations, eta: np.ndarray) -> ShapeSlopes:
        """Return derivatives by log theta at a fixed linear predictor, shape (n,)."""
        curve = LINKS[self.link].curve(eta)
        y, w, mu, theta = observed.y, observed.weights, curve.mu, self.shape
        total = mu + theta
        a = (mu - y) / total**2
        b = 2.0 * (y + theta) / total**3 - 1.0 / total**2
        expected = (mu * curve.d1 / (theta * self.variance(mu))) ** 2
        return ShapeSlopes(
            criterion=float(self.shape_criterion(observed, eta).sum()),
            d1=theta * w * a * curve.d1,
            d2=theta * w * (b * curve.d1**2 + a * curve.d2),
            expected=theta * w * expected,
        )

    def shape_criterion(self, observed: Observations, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of each row's −2 log likelihood by log theta, (n,)."""
        y, theta = observed.y, self.shape
        mu = LINKS[self.link].curve(eta).mu
        total = mu + theta
        density = (
            special.digamma(y + theta)
            - special.digamma(theta)
            + np.log(theta / total)
            + (mu - y) / total
        )
        return np.asarray(-2.0 * theta * observed.weights * density)

    def start(self, observed: Observations) -> np.ndarray:
        """Return ``y + 1/6`` for zeros, and y."""
        return np.where(observed.y == 0.0, 1.0 / 6.0, observed.y)

    def draw(
        self,
        random: np.random.Generator,
        observed: Observations,
        mu: np.ndarray,
        dispersion: float = 1.0,
    ) -> np.ndarray:
        """Draw counts with means `mu`, shape (..., n)."""
        theta = self.shape
        return random.negative_binomial(theta, theta / (theta + mu)).astype(np.float64)
