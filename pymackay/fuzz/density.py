"""`Density`: log densities of generalised models by SciPy, with scores from their textbook form.

Beside `pymackay.family`, which it checks: densities are SciPy's, links and variances are written as
in a textbook, and every further derivative is a complex step, which is exact to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import special, stats

from pymackay.model.design.general_response import GeneralResponse

_STEP = 1e-30

_MEANS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "logit": lambda eta: 1.0 / (1.0 + np.exp(-eta)),
    "probit": lambda eta: 0.5 * special.erfc(-eta / np.sqrt(2.0)),
    "cloglog": lambda eta: 1.0 - np.exp(-np.exp(eta)),
    "cauchit": lambda eta: 0.5 + np.arctan(eta) / np.pi,
    "log": np.exp,
    "identity": lambda eta: eta,
    "sqrt": lambda eta: eta * eta,
    "inverse": lambda eta: 1.0 / eta,
    "1/mu^2": lambda eta: eta**-0.5,
}
_SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "logit": lambda eta: np.exp(-eta) / (1.0 + np.exp(-eta)) ** 2,
    "probit": lambda eta: np.exp(-eta * eta / 2.0) / np.sqrt(2.0 * np.pi),
    "cloglog": lambda eta: np.exp(eta - np.exp(eta)),
    "cauchit": lambda eta: 1.0 / (np.pi * (1.0 + eta * eta)),
    "log": np.exp,
    "identity": lambda eta: 1.0 + 0.0 * eta,
    "sqrt": lambda eta: 2.0 * eta,
    "inverse": lambda eta: -1.0 / (eta * eta),
    "1/mu^2": lambda eta: -0.5 * eta**-1.5,
}


@dataclass(frozen=True)
class Density:
    """The density of a response given its linear predictor.

    Attributes
    ----------
    family, link : str
        R's names: ``"binomial"``, ``"poisson"``, ``"Gamma"``, ``"inverse.gaussian"``,
        ``"negative binomial"``, ``"gaussian"``.
    dispersion : float
        Of Gamma, inverse Gaussian and gaussian; 1 otherwise.
    shape : float
        Of the negative binomial.
    """

    family: str
    link: str
    dispersion: float = 1.0
    shape: float = 1.0

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """Return μ(η), shape (n,), real or complex."""
        return _MEANS[self.link](eta)

    def log(self, response: GeneralResponse, eta: np.ndarray) -> np.ndarray:
        """Return each row's log density, prior weight included.

        Parameters
        ----------
        response : GeneralResponse
        eta : numpy.ndarray, shape (..., n)

        Returns
        -------
        numpy.ndarray, shape (..., n)
        """
        weights, mu = response.weights, self.mean(eta)
        used = weights > 0.0
        if self.family == "binomial":
            m = response.totals
            assert m is not None  # a binomial response has totals
            one = np.where(used, m, 1.0)
            logs = stats.binom.logpmf(np.round(m * response.y), np.round(one), mu)
            return np.where(used, weights / one, 0.0) * np.where(used, logs, 0.0)
        if self.family == "gaussian":
            sd = np.sqrt(self.dispersion / np.where(used, weights, 1.0))
            return np.where(used, stats.norm.logpdf(response.y, mu, sd), 0.0)
        return weights * self._unit_log(response.y, mu)

    def _unit_log(self, y: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Return log densities at prior weight one; the weight counts replications."""
        if self.family == "poisson":
            return stats.poisson.logpmf(y, mu)
        if self.family == "negative binomial":
            return stats.nbinom.logpmf(y, self.shape, self.shape / (self.shape + mu))
        if self.family == "Gamma":
            return stats.gamma.logpdf(y, 1.0 / self.dispersion, scale=mu * self.dispersion)
        return stats.invgauss.logpdf(y, mu * self.dispersion, scale=1.0 / self.dispersion)

    def deviance(self, response: GeneralResponse, eta: np.ndarray) -> float:
        """Return the deviance of a family with a dispersion at η, (n,)."""
        y, mu = response.y, self.mean(eta)
        if self.family == "gaussian":
            halves = 0.5 * (y - mu) ** 2
        else:
            unit = replace(self, dispersion=1.0)
            halves = unit._unit_log(y, y) - unit._unit_log(y, mu)
        return 2.0 * float((response.weights * halves).sum())

    def score(self, response: GeneralResponse, eta: np.ndarray) -> np.ndarray:
        """Return the derivative of `log` by η, shape (n,), real or complex."""
        mu = self.mean(eta)
        slope = _SLOPES[self.link](eta)
        return response.weights * (response.y - mu) * slope / (self.dispersion * self._variance(mu))

    def observed(self, response: GeneralResponse, eta: np.ndarray) -> np.ndarray:
        """Return minus the second derivative of `log` by η, shape (n,)."""
        return -np.imag(self.score(response, eta + 1j * _STEP)) / _STEP

    def expected(self, response: GeneralResponse, eta: np.ndarray) -> np.ndarray:
        """Return the expectation of `observed` over the response, shape (n,)."""
        variance = self._variance(self.mean(eta))
        return response.weights * _SLOPES[self.link](eta) ** 2 / (self.dispersion * variance)

    def _variance(self, mu: np.ndarray) -> np.ndarray:
        if self.family == "binomial":
            return mu * (1.0 - mu)
        if self.family == "poisson":
            return mu
        if self.family == "negative binomial":
            return mu + mu * mu / self.shape
        return {"Gamma": mu**2, "inverse.gaussian": mu**3}.get(self.family, 1.0 + 0.0 * mu)
