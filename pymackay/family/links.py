"""`Link`: the function from a mean to the linear predictor, with derivatives of its inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pymackay.late import special

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Curve:
    """The mean as a function of the linear predictor η.

    Attributes
    ----------
    mu, d1, d2, d3 : numpy.ndarray, shape (n,)
        The mean, and its first three derivatives by η.
    """

    mu: np.ndarray
    d1: np.ndarray
    d2: np.ndarray
    d3: np.ndarray


@dataclass(frozen=True)
class Link:
    """A link function.

    Attributes
    ----------
    name : str
        R's name.
    forward : callable
        The linear predictor of a mean, (n,) to (n,).
    curve : callable
        The `Curve` of a linear predictor, shape (n,).
    positive : bool
        Whether the linear predictor must be positive.
    """

    name: str
    forward: Function
    curve: Callable[[np.ndarray], Curve]
    positive: bool = False


def _log_curve(eta: np.ndarray) -> Curve:
    mu = np.maximum(np.exp(eta), np.finfo(np.float64).tiny)
    return Curve(mu, mu, mu, mu)


def _identity_curve(eta: np.ndarray) -> Curve:
    zero = np.zeros_like(eta)
    return Curve(eta, np.ones_like(eta), zero, zero)


def _inverse_curve(eta: np.ndarray) -> Curve:
    mu = 1.0 / eta
    return Curve(mu, -(mu**2), 2.0 * mu**3, -6.0 * mu**4)


def _sqrt_curve(eta: np.ndarray) -> Curve:
    return Curve(eta**2, 2.0 * eta, np.full_like(eta, 2.0), np.zeros_like(eta))


def _inverse_square_curve(eta: np.ndarray) -> Curve:
    mu = 1.0 / np.sqrt(eta)
    return Curve(mu, -0.5 * mu / eta, 0.75 * mu / eta**2, -1.875 * mu / eta**3)


LINKS = {
    link.name: link
    for link in (
        Link("log", np.log, _log_curve),
        Link("identity", lambda mu: np.asarray(mu, dtype=np.float64), _identity_curve),
        Link("inverse", lambda mu: 1.0 / mu, _inverse_curve, positive=True),
        Link("sqrt", np.sqrt, _sqrt_curve),
        Link("1/mu^2", lambda mu: mu**-2.0, _inverse_square_curve, positive=True),
    )
}

PROBABILITY_LINKS: dict[str, Function] = {
    "logit": lambda mu: np.log(mu / (1.0 - mu)),
    "probit": lambda mu: special.ndtri(mu),
    "cloglog": lambda mu: np.log(-np.log1p(-mu)),
    "cauchit": lambda mu: np.tan(np.pi * (mu - 0.5)),
    "log": np.log,
}
"""The linear predictor of a probability, by R's name of the link."""
