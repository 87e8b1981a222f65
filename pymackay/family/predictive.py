"""`predictive_quantiles`: of a new observation whose linear predictor is normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pymackay.family.family import Family
from pymackay.family.negative_binomial import NegativeBinomial

_NODES = 40  # of Gauss and Hermite
_HALVINGS = 100


@dataclass(frozen=True, eq=False)
class NewObservations:
    """New observations of a family.

    Attributes
    ----------
    family : Family
    eta, sd : numpy.ndarray, shape (m,)
        Mean and standard deviation of each linear predictor.
    dispersion : float
    sizes : numpy.ndarray, shape (m,)
        Numbers of trials (binomial), or prior weights (gaussian); of other families not used.
    """

    family: Family
    eta: np.ndarray
    sd: np.ndarray
    dispersion: float
    sizes: np.ndarray


def predictive_quantiles(new: NewObservations, share: float) -> np.ndarray:
    """Return the smallest values that observations do not exceed with probability `share`, (m,).

    The distribution of an observation is the mixture of the family's at the nodes of Gauss and
    Hermite's quadrature over its linear predictor. A quantile of the mixture lies between the least
    and the largest of its parts', and is found by halving. Of a binomial family it is a share of
    the trials.
    """
    z, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = (weights / weights.sum())[:, None]
    mu = new.family.mean((new.eta + z[:, None] * new.sd).ravel()).reshape(_NODES, -1)
    parts, counts = _distribution(new, mu)
    ends = parts.ppf(share)
    low, high = ends.min(axis=0), ends.max(axis=0)
    if counts:
        low = low - 1.0  # below it the probability is less
    for _ in range(_HALVINGS):
        middle = np.floor(0.5 * (low + high)) if counts else 0.5 * (low + high)
        enough = (weights * parts.cdf(middle)).sum(axis=0) >= share
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        if (high - low <= (1.0 if counts else 0.0)).all():
            break
    if new.family.name == "binomial":
        return np.asarray(high / new.sizes)
    return np.asarray(high)


def _distribution(new: NewObservations, mu: np.ndarray) -> tuple[Any, bool]:
    """Return SciPy's distribution of means of shape (nodes, m), and whether it is of counts."""
    family, phi = new.family, new.dispersion
    if family.name == "binomial":
        return stats.binom(np.round(new.sizes), mu), True
    if family.name == "poisson":
        return stats.poisson(mu), True
    if isinstance(family, NegativeBinomial):
        return stats.nbinom(family.shape, family.shape / (family.shape + mu)), True
    if family.name == "Gamma":
        return stats.gamma(1.0 / phi, scale=mu * phi), False
    if family.name == "inverse.gaussian":
        return stats.invgauss(mu * phi, scale=1.0 / phi), False
    return stats.norm(mu, np.sqrt(phi / new.sizes)), False
