"""The variance gap of generalised models: exact where Laplace's criterion is lowest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.infer.gap.variance_gap import GAP_COLUMNS

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """400 rows of 30 levels crossed with 7."""
    random = np.random.default_rng(11)
    n = 400
    g, h, x = random.integers(0, 30, n), random.integers(0, 7, n), random.normal(size=n)
    eta = 0.2 + 0.5 * x + random.normal(size=30)[g] + 0.7 * random.normal(size=30)[g] * x
    eta = eta + 0.5 * random.normal(size=7)[h]
    return pd.DataFrame(
        {
            "g": g,
            "h": h,
            "x": x,
            "binary": (random.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(int),
            "count": random.poisson(np.exp(eta)),
            "positive": np.exp(eta) * random.gamma(3.0, 1.0 / 3.0, n),
        }
    )


FAMILIES = {
    "binary": pm.Binomial("probit"),
    "count": pm.NegativeBinomial(),
    "positive": pm.Gamma("log"),
}


@pytest.mark.parametrize("random", ["(1 | g)", "(x | g) + (1 | h)"])
@pytest.mark.parametrize("y", FAMILIES)
def test_the_gap_closes_at_the_optimum(data, y, random):
    fit = pm.glmer(f"{y} ~ x + {random}", data, FAMILIES[y])
    gap = pm.variance_gap(fit)
    assert tuple(gap.columns) == GAP_COLUMNS
    assert np.abs(gap["residue"] / gap["variance"]).max() < tol("variance gap")
    variances = np.concatenate([np.diag(fit.varcorr[term]) for term in fit.varcorr])
    assert gap["variance"].to_numpy() == pytest.approx(variances, rel=1e-12)


def test_the_modes_alone_leave_something_over(data):
    fit = pm.glmer("binary ~ x + (1 | g)", data, "binomial")
    gap = pm.variance_gap(fit).iloc[0]
    modes = float((fit.ranef["g"]["(Intercept)"] ** 2).mean())
    assert gap["prediction_variance"] > 1.01 * modes
    errors = float(fit.condvar["g"].mean())
    assert gap["error_variance"] == pytest.approx(errors, rel=1e-12)
    assert gap["gamma"] == pytest.approx(30 * (1.0 - errors / gap["variance"]), rel=1e-12)


@pytest.mark.parametrize("effects", ["mode", "mean"])
@pytest.mark.parametrize("y", FAMILIES)
def test_the_gap_closes_at_the_end_of_the_loop(data, y, effects):
    family = pm.NegativeBinomial(theta=2.0) if y == "count" else FAMILIES[y]
    fit = pm.mackay(f"{y} ~ x + (x | g)", data, family=family, effects=effects)
    gap = pm.variance_gap(fit)
    assert np.abs(gap["residue"] / gap["variance"]).max() < tol("loop by means")


def test_away_from_the_optimum_something_is_left_over():
    cbpp = pm.load_data("cbpp")
    fit = pm.glmer(CBPP, cbpp, "binomial")
    away = pm.evaluate_glmer(CBPP, cbpp, 0.8 * fit.theta, fit.beta, "binomial")
    gap = pm.variance_gap(away).iloc[0]
    assert abs(gap["residue"]) > 0.05 * gap["variance"]


def test_a_variance_of_zero_is_hidden_whole():
    random = np.random.default_rng(5)
    data = pd.DataFrame({"y": random.poisson(3.0, 60), "g": np.repeat(np.arange(12), 5)})
    gap = pm.variance_gap(pm.glmer("y ~ 1 + (1 | g)", data, "poisson")).iloc[0]
    assert (gap["variance"], gap["hidden_share"], gap["gamma"]) == (0.0, 1.0, 0.0)


@pytest.mark.live
def test_a_comparison_has_the_gaps_of_both_sides():
    cbpp = pm.load_data("cbpp")
    fit = pm.glmer(CBPP, cbpp, "binomial")
    compared = pm.compare(fit, pm.lme4.glmer(CBPP, cbpp, family="binomial", source="live"))
    gap = compared.variance_gap.set_index("fit")
    assert list(gap.index) == ["ours", "theirs"]
    left = (gap["residue"] / gap["variance"]).abs()
    assert left["ours"] < tol("variance gap")
    assert left["ours"] < left["theirs"] < 1e-2
    assert "variance gap" in str(compared)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"nagq": 5}, "nagq=1"), ({"dispersion": "lme4"}, "dispersion='ml'")],
)
def test_other_criteria_are_refused(data, options, message):
    fit = pm.glmer("positive ~ x + (1 | g)", data, pm.Gamma("log"), **options)
    with pytest.raises(pm.PymackayError, match=message):
        pm.variance_gap(fit)
