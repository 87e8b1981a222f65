"""`Binomial`: shares of successes, with logit, probit, cloglog, cauchit and log links.

The derivatives use ``r1 = μ'/μ``, ``r0 = μ'/(1 − μ)`` and ``k = μ''/μ'``, which stay finite where
μ or 1 − μ is smaller than float64 can tell from zero:

``D' = −y r1 + (1 − y) r0``, ``r1' = r1 (k − r1)``, ``r0' = r0 (k + r0)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pymackay.family.family import Constant, Expansion, Family, Observations, Slopes, Support
from pymackay.family.links import PROBABILITY_LINKS
from pymackay.family.saddle import deviance_part, stirling_error
from pymackay.late import special

_MANY_TRIALS = 1e4  # from which plain logs lose more than 1e-12 of a row's deviance
_LARGEST_LOGIT = 700.0  # e^η is still a number
_LARGEST_RATE = 700.0  # e^η of the cloglog link: exp(−700) is still a number


@dataclass(frozen=True, eq=False)
class _Probability:
    """A probability at a linear predictor, each of shape (n,).

    Attributes
    ----------
    mu, nu : numpy.ndarray
        The probability, and one minus it.
    log_mu, log_nu : numpy.ndarray
        Their logs.
    r1, r0, k, dk : numpy.ndarray
        μ'/μ, μ'/(1 − μ), μ''/μ' and the derivative of the last.
    """

    mu: np.ndarray
    nu: np.ndarray
    log_mu: np.ndarray
    log_nu: np.ndarray
    r1: np.ndarray
    r0: np.ndarray
    k: np.ndarray
    dk: np.ndarray


def _logit(eta: np.ndarray) -> _Probability:
    held = np.clip(eta, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    mu, nu = 1.0 / (1.0 + np.exp(-held)), 1.0 / (1.0 + np.exp(held))
    soft = np.log1p(np.exp(-np.abs(eta)))
    log_mu, log_nu = np.minimum(eta, 0.0) - soft, np.minimum(-eta, 0.0) - soft
    return _Probability(mu, nu, log_mu, log_nu, nu, mu, nu - mu, -2.0 * mu * nu)


def _probit(eta: np.ndarray) -> _Probability:
    log_mu, log_nu = special.log_ndtr(eta), special.log_ndtr(-eta)
    log_density = -0.5 * eta**2 - 0.5 * np.log(2.0 * np.pi)
    r1, r0 = np.exp(log_density - log_mu), np.exp(log_density - log_nu)
    return _Probability(
        special.ndtr(eta), special.ndtr(-eta), log_mu, log_nu, r1, r0, -eta, np.full_like(eta, -1.0)
    )


def _cloglog(eta: np.ndarray) -> _Probability:
    rate = np.minimum(np.exp(np.minimum(eta, _LARGEST_RATE)), _LARGEST_RATE)
    rate = np.maximum(rate, np.finfo(np.float64).tiny)
    mu, nu = -np.expm1(-rate), np.exp(-rate)
    r1 = rate / np.expm1(rate)
    return _Probability(mu, nu, _log_of(mu, nu), -rate, r1, rate, 1.0 - rate, -rate)


def _cauchit(eta: np.ndarray) -> _Probability:
    mu, nu = np.arctan2(1.0, -eta) / np.pi, np.arctan2(1.0, eta) / np.pi
    square = 1.0 + eta**2
    slope = 1.0 / (np.pi * square)
    k = -2.0 * eta / square
    dk = 2.0 * (eta**2 - 1.0) / square**2
    logs = _log_of(mu, nu), _log_of(nu, mu)
    return _Probability(mu, nu, *logs, slope / mu, slope / nu, k, dk)


def _log(eta: np.ndarray) -> _Probability:
    mu, nu = np.exp(eta), -np.expm1(eta)
    one = np.ones_like(eta)
    return _Probability(mu, nu, eta, _log_of(nu, mu), one, mu / nu, one, np.zeros_like(eta))


_CURVES = {
    "logit": _logit,
    "probit": _probit,
    "cloglog": _cloglog,
    "cauchit": _cauchit,
    "log": _log,
}


@dataclass(frozen=True)
class Binomial(Family):
    """Binomial responses: successes among a known number of trials, or 0 and 1.

    Parameters
    ----------
    link : {"logit", "probit", "cloglog", "cauchit", "log"}

    Examples
    --------
    >>> import pymackay as pm
    >>> pm.Binomial("probit")
    Binomial(link='probit')
    """

    link: str = "logit"

    name: ClassVar[str] = "binomial"
    support: ClassVar[Support] = "binomial"
    canonical: ClassVar[str] = "logit"
    links: ClassVar[tuple[str, ...]] = tuple(_CURVES)
    concave: ClassVar[tuple[str, ...]] = ("logit", "probit", "cloglog", "log")

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """Return the probability at a linear predictor, both of shape (n,)."""
        if self.link == "logit":
            return np.asarray(special.expit(np.asarray(eta, dtype=np.float64)))
        return _CURVES[self.link](np.asarray(eta, dtype=np.float64)).mu

    def mean_slope(self, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of the probability by the linear predictor, shape (n,)."""
        at = _CURVES[self.link](np.asarray(eta, dtype=np.float64))
        return at.r1 * at.mu

    def predictor(self, mu: np.ndarray) -> np.ndarray:
        """Return the linear predictor of a probability, both of shape (n,)."""
        return PROBABILITY_LINKS[self.link](np.asarray(mu, dtype=np.float64))

    def is_legal(self, eta: np.ndarray) -> bool:
        """Say whether every linear predictor has a probability under one."""
        return bool(np.isfinite(eta).all() and (not self.is_bounded or (eta < 0.0).all()))

    @property
    def is_bounded(self) -> bool:
        """Whether some linear predictors have no probability: with the log link positive ones."""
        return self.link == "log"

    def expand(self, observed: Observations, eta: np.ndarray) -> Expansion:
        """Return half deviances and their derivatives at a linear predictor, shape (n,)."""
        y, w = observed.y, observed.weights
        if self.link == "logit":
            return _expand_logit(observed, eta)
        at = _CURVES[self.link](eta)
        success, failure = y * at.r1, (1.0 - y) * at.r0
        down, up = at.k - at.r1, at.k + at.r0
        expected = w * at.r1 * at.r0
        return Expansion(
            value=w * _half_deviance(y, w, at),
            d1=w * (failure - success),
            d2=w * (failure * up - success * down),
            d3=w
            * (
                failure * (up * up + at.dk + at.r0 * up)
                - success * (down * down + at.dk - at.r1 * down)
            ),
            expected=expected,
            expected_d1=expected * (down + up),
        )

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """Return ``μ (1 − μ)``."""
        return mu * (1.0 - mu)

    def variance_slope(self, mu: np.ndarray) -> np.ndarray:
        """Return ``1 − 2 μ``."""
        return 1.0 - 2.0 * mu

    def residual_slopes(self, y: np.ndarray, mu: np.ndarray) -> Slopes:
        """Return ``(μ − y) / V`` and its derivatives by μ, in the form ``−y/μ + (1−y)/(1−μ)``."""
        nu = 1.0 - mu
        success, failure = y / mu, (1.0 - y) / nu
        return (
            failure - success,
            failure / nu + success / mu,
            2.0 * (failure / nu**2 - success / mu**2),
        )

    def unit_half_deviance(self, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return half deviances of one trial."""
        return deviance_part(y, mu) + deviance_part(1.0 - y, 1.0 - mu)

    def constant(self, observed: Observations, dispersion: float = 1.0) -> Constant:
        """Return −2 log likelihood of the saturated model, the numbers of successes whole.

        As R does, numbers of successes and trials are rounded here.
        """
        m = np.round(observed.totals)
        successes = np.round(observed.totals * observed.y)
        failures = m - successes
        inner = (successes > 0.0) & (failures > 0.0)
        share = np.where(inner, successes * failures / np.where(m > 0.0, m, 1.0), 1.0)
        log_density = (
            stirling_error(m)
            - stirling_error(successes)
            - stirling_error(failures)
            - 0.5 * np.where(inner, np.log(2.0 * np.pi * share), 0.0)
        )
        repeats = observed.weights / np.where(observed.totals > 0.0, observed.totals, 1.0)
        return Constant(-2.0 * float(repeats @ np.where(inner, log_density, 0.0)))

    def start(self, observed: Observations) -> np.ndarray:
        """Return ``(w y + ½) / (w + 1)``."""
        w = observed.weights
        return (w * observed.y + 0.5) / (w + 1.0)

    def draw(
        self,
        random: np.random.Generator,
        observed: Observations,
        mu: np.ndarray,
        dispersion: float = 1.0,
    ) -> np.ndarray:
        """Draw shares of successes with probabilities `mu`, shape (..., n)."""
        m = np.round(observed.totals).astype(np.int64)
        return np.asarray(random.binomial(m, mu) / np.where(m > 0, m, 1))


def _expand_logit(observed: Observations, eta: np.ndarray) -> Expansion:
    """Return `Binomial.expand` of the logit link.

    With ``D = w (log(1 + e^η) − y η)``, less its value at μ = y. It works in place, and without a
    choice by signs: new arrays and choices would take most of the time.
    """
    y, w = observed.y, observed.weights
    value = np.maximum(eta, 0.0)
    value -= y * eta
    soft = np.abs(eta)
    np.negative(soft, out=soft)
    np.exp(soft, out=soft)
    value += np.log1p(soft, out=soft)
    mu = np.minimum(eta, _LARGEST_LOGIT)
    np.maximum(mu, -_LARGEST_LOGIT, out=mu)
    np.exp(mu, out=mu)
    nu = 1.0 + mu
    np.divide(1.0, nu, out=nu)
    mu *= nu
    _add_saturated(value, observed, mu, nu)
    value *= w
    d1 = 1.0 - y
    d1 *= mu
    d1 -= np.multiply(y, nu, out=soft)
    d1 *= w
    variance = mu * nu
    variance *= w
    third = np.subtract(nu, mu, out=nu)
    third *= variance
    return Expansion(value, d1, variance, third, variance, third)


def _add_saturated(
    value: np.ndarray, observed: Observations, mu: np.ndarray, nu: np.ndarray
) -> None:
    """Add ``y log y + (1 − y) log(1 − y)`` to the values, (n,), of shares y, in place.

    Of many trials the half deviances, which would cancel, are set.
    """
    negative_entropy = observed.negative_entropy
    if negative_entropy is None:
        return
    if observed.weights.max() > _MANY_TRIALS:
        inner = np.flatnonzero(negative_entropy)
        share = observed.y[inner]
        parts = deviance_part(share, mu[inner]) + deviance_part(1.0 - share, nu[inner])
        value[inner] = parts
    else:
        value += negative_entropy


def _half_deviance(y: np.ndarray, w: np.ndarray, at: _Probability) -> np.ndarray:
    """Return the half deviance of one trial, shape (n,), of shares y of w trials.

    By logs of probabilities for 0 and 1, and where numbers of trials are so small that what
    cancels in ``y log(y/μ) + (1 − y) log((1 − y)/(1 − μ))`` is rounding.
    """
    value = -np.where(y > 0.5, at.log_mu, at.log_nu)
    inner = np.flatnonzero((y > 0.0) & (y < 1.0))
    if not len(inner):
        return value
    share = y[inner]
    if w.max() > _MANY_TRIALS:
        value[inner] = deviance_part(share, at.mu[inner])
        value[inner] += deviance_part(1.0 - share, at.nu[inner])
    else:
        saturated = special.xlogy(share, share) + special.xlog1py(1.0 - share, -share)
        value[inner] = saturated - share * at.log_mu[inner] - (1.0 - share) * at.log_nu[inner]
    return value


def _log_of(share: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return the log of a share, (n,), from it or from what is left, whichever is smaller."""
    with np.errstate(divide="ignore"):
        return np.where(share < 0.5, np.log(share), np.log1p(-np.minimum(rest, 0.5)))
