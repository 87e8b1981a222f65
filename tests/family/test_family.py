"""Families: derivatives against differences, densities against SciPy, ends of the range."""

from __future__ import annotations

import decimal

import numpy as np
import pytest
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.family.family import _PART, Observations, expand_in_parts
from pymackay.family.named import FAMILIES, family_of
from pymackay.family.saddle import deviance_part, stirling_error

N = 60
EVERY = [
    kind(link) if name != "negative binomial" else kind(link, theta=1.7)
    for name, kind in FAMILIES.items()
    for link in kind.links
]


def observations(family, seed: int = 3) -> tuple[Observations, np.ndarray]:
    """Return responses of a family and linear predictors that are legal for it."""
    random = np.random.default_rng(seed)
    mu = random.uniform(0.3, 4.0, N)
    totals, weights = np.ones(N), random.uniform(0.5, 2.0, N)
    if family.name == "binomial":
        mu = random.uniform(0.05, 0.9, N)
        totals = random.integers(1, 9, N).astype(float)
        weights = totals.copy()
    given = Observations(np.ones(N), weights, totals)
    y = family.draw(random, given, mu, 0.3)
    return Observations(np.abs(y), weights, totals), family.predictor(mu)


def slope(function, eta: np.ndarray) -> np.ndarray:
    """Return the derivative of a function of η, row by row, by Richardson's differences."""
    h = 1e-3 * np.abs(eta)

    def central(step):
        return (function(eta + step) - function(eta - step)) / (2.0 * step)

    return (4.0 * central(h / 2.0) - central(h)) / 3.0


@pytest.mark.parametrize("family", EVERY, ids=repr)
def test_derivatives_are_those_of_differences(family):
    observed, eta = observations(family)
    at = family.expand(observed, eta)
    for whole, part in (
        ("value", "d1"),
        ("d1", "d2"),
        ("d2", "d3"),
        ("expected", "expected_d1"),
    ):
        by_difference = slope(lambda e, w=whole: getattr(family.expand(observed, e), w), eta)
        size = np.abs(getattr(at, whole)).max() + np.abs(getattr(at, part)).max()
        error = np.abs(getattr(at, part) - by_difference).max() / size
        assert error < tol("family derivative"), (part, error)


@pytest.mark.parametrize("family", EVERY, ids=repr)
def test_expected_weights_are_the_mean_of_observed_ones(family):
    """The observed weight is linear in y, so that it is the expected one at y = μ."""
    observed, eta = observations(family)
    at_mean = Observations(family.mean(eta), observed.weights, observed.totals)
    at = family.expand(at_mean, eta)
    np.testing.assert_allclose(at.d2, at.expected, rtol=tol("family"))
    if family.is_canonical:
        at = family.expand(observed, eta)
        np.testing.assert_allclose(at.d2, at.expected, rtol=tol("family"), atol=1e-12)


@pytest.mark.parametrize("family", EVERY, ids=repr)
def test_mean_and_predictor_are_inverse(family):
    _, eta = observations(family)
    np.testing.assert_allclose(family.predictor(family.mean(eta)), eta, rtol=tol("family"))
    size = np.abs(family.mean_slope(eta)).max()
    assert np.abs(family.mean_slope(eta) - slope(family.mean, eta)).max() < 1e-8 * size


def log_density(family, observed: Observations, mu: np.ndarray, phi: float) -> float:
    """Return the log likelihood by SciPy's distributions."""
    y, w = observed.y, observed.weights
    if family.name == "binomial":
        m = observed.totals
        return stats.binom.logpmf(np.round(m * y), m, mu).sum()
    if family.name == "poisson":
        return (w * stats.poisson.logpmf(y, mu)).sum()
    if family.name == "Gamma":
        return (w * stats.gamma.logpdf(y, 1 / phi, scale=mu * phi)).sum()
    if family.name == "inverse.gaussian":
        return (w * stats.invgauss.logpdf(y, mu * phi, scale=1 / phi)).sum()
    if family.name == "gaussian":
        return stats.norm.logpdf(y, mu, np.sqrt(phi / w)).sum()
    theta = family.shape
    return (w * stats.nbinom.logpmf(y, theta, theta / (theta + mu))).sum()


@pytest.mark.parametrize("family", EVERY, ids=repr)
def test_likelihood_has_all_constants(family):
    observed, eta = observations(family)
    if family.name in ("poisson", "negative binomial"):
        observed = Observations(np.round(observed.y), observed.weights, observed.totals)
    mu, phi = family.mean(eta), 0.7 if family.has_dispersion else 1.0
    ours = family.minus_two_log_likelihood(observed, mu, phi)
    theirs = -2.0 * log_density(family, observed, mu, phi)
    assert ours == pytest.approx(theirs, rel=tol("family"))
    at = family.expand(observed, eta)
    assert 2.0 * at.value.sum() / phi + family.constant(observed, phi).value == pytest.approx(
        theirs, rel=tol("family")
    )


@pytest.mark.parametrize("family", [f for f in EVERY if f.has_dispersion], ids=repr)
def test_slope_by_the_dispersion(family):
    observed, _ = observations(family)
    h = 1e-4
    values = [family.constant(observed, 0.6 * np.exp(d)).value for d in (-h, h)]
    slope_ = (values[1] - values[0]) / (2.0 * h)
    assert family.constant(observed, 0.6).slope == pytest.approx(slope_, rel=1e-6)


@pytest.mark.parametrize("link", pm.NegativeBinomial.links)
def test_slopes_by_the_shape(link):
    family = pm.NegativeBinomial(link, theta=1.7)
    observed, eta = observations(family)
    h = 1e-4
    low, high = (family.with_shape(1.7 * np.exp(d)) for d in (-h, h))
    slopes = family.shape_slopes(observed, eta)
    mu = family.mean(eta)
    criterion = high.minus_two_log_likelihood(observed, mu) - low.minus_two_log_likelihood(
        observed, mu
    )
    assert slopes.criterion == pytest.approx(criterion / (2 * h), rel=1e-6)
    above, below = high.expand(observed, eta), low.expand(observed, eta)
    for name in ("d1", "d2", "expected"):
        by_difference = (getattr(above, name) - getattr(below, name)) / (2 * h)
        np.testing.assert_allclose(getattr(slopes, name), by_difference, rtol=1e-5, atol=1e-7)


def test_far_out_a_probability_keeps_its_digits():
    eta = np.array([-30.0, 30.0])
    observed = Observations(np.array([1.0, 0.0]), np.ones(2), np.ones(2))
    at = pm.Binomial().__class__("logit").expand(observed, eta)
    np.testing.assert_allclose(at.value, [30.0, 30.0], rtol=1e-14)
    np.testing.assert_allclose(at.d2, np.exp(-30.0), rtol=1e-12)
    opposite = Observations(np.array([0.0, 1.0]), np.ones(2), np.ones(2))
    for link in ("logit", "probit", "cloglog"):
        family = pm.Binomial(link)
        at = family.expand(opposite, np.array([-8.0, 1.0]))
        direct = -np.log1p(-family.mean(np.array([-8.0])))[0]
        assert at.value[0] == pytest.approx(direct, rel=1e-12)


def test_deviances_of_large_counts_keep_their_digits():
    """Of x = m + d the deviance is d²/(2m) − d³/(6m²) + ..., which plain logs lose."""
    m, d = 1e12, 3.0
    assert deviance_part(np.array([m + d]), np.array([m]))[0] == pytest.approx(
        d**2 / (2 * m) - d**3 / (6 * m**2), rel=1e-12
    )
    exact = [0.0, 0.08106146679532726, 0.04134069595540929, 0.0083305634333631]
    np.testing.assert_allclose(stirling_error(np.array([0.0, 1.0, 2.0, 10.0])), exact, rtol=1e-12)


def test_a_name_stands_for_a_family():
    assert family_of("gamma") == pm.Gamma()
    assert family_of(pm.Poisson) == pm.Poisson()
    with pytest.raises(pm.ArgumentError, match="binomial"):
        family_of("weibull")
    with pytest.raises(pm.ArgumentError, match="logit"):
        pm.Binomial("log-log")
    with pytest.raises(pm.ArgumentError, match="positive"):
        pm.NegativeBinomial(theta=-1.0)


@pytest.mark.parametrize("y", [0.0, 3.0, 9749.0])
@pytest.mark.parametrize("mu", [1e-12, 0.4, 2.9, 3.1, 9000.0, 1e5, 1e12, 1e40, 1e80])
def test_the_negative_binomial_deviance_keeps_its_digits_far_from_the_count(y, mu):
    """Both logs of its definition are taken with 120 digits."""
    theta = 0.1
    with decimal.localcontext() as context:
        context.prec = 120
        Y, M, T = (decimal.Decimal(number) for number in (y, mu, theta))
        exact = (Y * (Y / M).ln() if y else Y) - (Y + T) * ((Y + T) / (M + T)).ln()
    ours = pm.NegativeBinomial(theta=theta).unit_half_deviance(np.array([y]), np.array([mu]))
    assert ours[0] == pytest.approx(float(exact), rel=tol("family"))


@pytest.mark.parametrize("family", EVERY, ids=repr)
def test_rows_in_parts_have_the_same_derivatives(family):
    observed, eta = observations(family)
    times = 1 + 2 * _PART // N
    many = Observations(
        *(np.tile(v, times) for v in (observed.y, observed.weights, observed.totals))
    )
    parts = expand_in_parts(family, many, np.tile(eta, times))
    once = family.expand(observed, eta)
    for name, value in vars(once).items():
        np.testing.assert_allclose(
            getattr(parts, name), np.tile(value, times), rtol=tol("family"), err_msg=name
        )
