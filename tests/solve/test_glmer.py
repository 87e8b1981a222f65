"""`glmer`: several minima, bounds, counts without overdispersion, arguments that are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.fuzz import generate_general


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    random = np.random.default_rng(8)
    n = 240
    data = pd.DataFrame(
        {
            "x": random.normal(size=n),
            "g": random.integers(0, 20, n),
            "h": random.integers(0, 9, n),
        }
    )
    shift = 0.6 * random.normal(size=20)[data["g"]]
    data["count"] = random.poisson(np.exp(0.8 + 0.3 * data["x"] + shift))
    data["even"] = np.round(np.exp(1.5 + 0.3 * data["x"] + shift))
    data["hit"] = (random.uniform(size=n) < 1.0 / (1.0 + np.exp(-shift))).astype(int)
    data["size"] = random.gamma(4.0, np.exp(0.5 + shift) / 4.0)
    return data


@pytest.mark.parametrize("seed", [1322, 1478])
def test_lme4s_criterion_ends_in_the_lower_of_two_minima(seed):
    """In these drawn models one minimum has a variance of zero, and lies below the other."""
    model = generate_general(seed)
    arguments = {"dispersion": "lme4", **model.arguments}
    family = pm.Gaussian("log")
    fit = pm.glmer(model.formula, model.data, family, **arguments)
    near_zero = pm.glmer(model.formula, model.data, family, start=[0.02, 1.4], **arguments)
    at_zero = pm.glmer(model.formula, model.data, family, start=[0.02, 0.02], **arguments)
    size = 1.0 + abs(fit.criterion)
    assert fit.criterion <= min(near_zero.criterion, at_zero.criterion) + tol("certified") * size


def test_counts_without_overdispersion_are_told(data):
    fit = pm.glmer("even ~ x + (1 | g)", data, pm.NegativeBinomial())
    poisson = pm.glmer("even ~ x + (1 | g)", data, "poisson")
    assert any("not more dispersed" in message for message in fit.messages)
    assert fit.criterion == pytest.approx(poisson.criterion, rel=tol("oracle"))
    assert fit.df == poisson.df + 1


def test_counts_without_overdispersion_are_evaluated_at_another_shape(data):
    formula = "even ~ x + (1 | g)"
    fit = pm.glmer(formula, data, pm.NegativeBinomial())
    moved = fit.replace(general=replace(fit.general, shape=3.0), theta=fit.theta * 0.0 + 0.4)
    expected = pm.evaluate_glmer(
        formula, data, moved.theta, moved.beta, pm.NegativeBinomial(theta=3.0)
    )
    there = fit._at_parameters_of(moved)
    assert there.criterion == pytest.approx(expected.criterion, rel=tol("oracle"))


def test_a_start_out_of_bounds_is_made_smaller(data):
    """With this link a mean is the linear predictor, which large effects make negative."""
    fit = pm.glmer("count ~ 1 + (1 | g)", data, pm.Poisson("identity"), start=[50.0])
    plain = pm.glmer("count ~ 1 + (1 | g)", data, pm.Poisson("identity"))
    assert fit.criterion == pytest.approx(plain.criterion, rel=tol("optimum"))


def test_lme4_leaves_constants_out_of_quadrature(data):
    fit = pm.glmer("count ~ x + (1 | g)", data, "poisson", nagq=7)
    observed = fit.general.observed
    saturated = pm.Poisson().constant(observed).value
    assert fit.general.lme4_criterion == pytest.approx(fit.criterion - saturated)
    one = pm.glmer("count ~ x + (1 | g)", data, "poisson")
    assert one.general.lme4_criterion == one.criterion
    assert abs(one.criterion - fit.criterion) < 0.5


def test_two_effects_of_a_level_by_the_product_rule(data):
    formula = "hit ~ 1 + (x | g)"
    few, many = (pm.glmer(formula, data, "binomial", nagq=k) for k in (9, 15))
    assert few.criterion == pytest.approx(many.criterion, abs=1e-4)


def test_given_parameters_have_no_standard_errors(data):
    fit = pm.glmer("hit ~ x + (1 | g)", data, "binomial")
    again = pm.evaluate_glmer("hit ~ x + (1 | g)", data, fit.theta, fit.beta, "binomial")
    assert again.criterion == pytest.approx(fit.criterion, rel=tol("oracle"))
    assert again.std_error.isna().all() and np.isnan(again.pev["g"]).all()
    np.testing.assert_allclose(again.condvar["g"], fit.condvar["g"], rtol=tol("oracle"))


@pytest.mark.parametrize("family", [pm.Gamma("log"), "inverse.gaussian", pm.Gaussian("log")])
def test_a_dispersion_by_maximum_likelihood_counts_as_a_parameter(family, data):
    fit = pm.glmer("size ~ x + (1 | g)", data, family)
    assert fit.df == 4 and fit.sigma == pytest.approx(np.sqrt(fit.general.dispersion))
    assert np.isnan(fit.general.lme4_criterion)
    phi = fit.general.dispersion
    near = [
        pm.evaluate_glmer("size ~ x + (1 | g)", data, fit.theta, fit.beta, family, phi=phi * f)
        for f in (0.99, 1.01)
    ]
    assert min(each.criterion for each in near) > fit.criterion


REFUSED = [
    ({"nagq": -1}, "nagq must be"),
    ({"nagq": 2.5}, "nagq must be"),
    ({"nagq": True}, "nagq must be"),
    ({"nagq": "all"}, "nagq must be"),
    ({"solver": "quick"}, "solver must be"),
    ({"control": 3}, "control must be"),
    ({"determinant": "both"}, "determinant must be"),
    ({"dispersion": "moments"}, "dispersion must be"),
    ({"start": [1.0, 2.0]}, "theta has shape"),
    ({"formula": "hit ~ x + (1 | g) + (1 | h)", "nagq": 5}, "one grouping factor"),
    ({"formula": "hit ~ x + (x | g)", "nagq": "exact"}, "nagq=15"),
    ({"formula": "size ~ x + (1 | g)", "family": "Gamma", "nagq": 5, "dispersion": "lme4"}, "ml"),
    ({"family": "tweedie"}, "family must be"),
]


@pytest.mark.parametrize("changed, message", REFUSED, ids=str)
def test_what_cannot_be_used_is_refused(changed, message, data):
    arguments = {"formula": "hit ~ x + (1 | g)", "data": data, "family": "binomial", **changed}
    with pytest.raises(pm.ArgumentError, match=message):
        pm.glmer(**arguments)


def test_partitions_are_refused(data):
    with pytest.raises(pm.ArgumentError, match="data frame"):
        pm.glmer("hit ~ x + (1 | g)", iter([data]), "binomial")


def test_parameters_that_are_missing_are_refused(data):
    formula = "size ~ x + (1 | g)"
    with pytest.raises(pm.ArgumentError, match="phi must be"):
        pm.evaluate_glmer(formula, data, [1.0], [0.0, 0.0], pm.Gamma("log"))
    with pytest.raises(pm.ArgumentError, match="beta must be 2"):
        pm.evaluate_glmer(formula, data, [1.0], [0.0], pm.Gamma("log"), phi=1.0)
    with pytest.raises(pm.ArgumentError, match="no dispersion"):
        pm.evaluate_glmer("hit ~ x + (1 | g)", data, [1.0], [0.0, 0.0], "binomial", phi=1.0)
    with pytest.raises(pm.ArgumentError, match="shape"):
        pm.evaluate_glmer("count ~ x + (1 | g)", data, [1.0], [0.0, 0.0], pm.NegativeBinomial())
