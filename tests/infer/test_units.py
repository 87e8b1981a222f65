"""Tests of the fixed effects do not depend on the units of a covariate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm

FORMULA = "y ~ I(x^2) + x * f + (1 | g)"
SCALES = [1e-6, 1e-2, 1e3, 1e6]


@pytest.fixture(scope="module")
def fits() -> dict[float, pm.Fit]:
    """Return the fit by what a covariate of mean 3 was multiplied with."""
    rng = np.random.default_rng(12)
    data = pd.DataFrame({"x": 3.0 + rng.normal(size=90), "f": rng.choice(list("abc"), 90)})
    data["g"] = np.arange(90) % 9
    data["y"] = data["x"] + rng.normal(size=9)[data["g"]] + rng.normal(size=90)
    return {s: pm.lmer(FORMULA, data.assign(x=s * data["x"])) for s in (1.0, *SCALES)}


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("scale", SCALES)
def test_f_tests_of_terms(fits: dict[float, pm.Fit], scale: float, kind: int) -> None:
    tables = [fits[s].anova(type=kind, ddf="normal") for s in (1.0, scale)]
    np.testing.assert_allclose(*(t[["NumDF", "F value"]] for t in tables), rtol=tol("statistic"))


@pytest.mark.parametrize("ddf", ["Satterthwaite", "Kenward-Roger", "normal"])
@pytest.mark.parametrize("scale", SCALES)
def test_f_tests_of_functions(fits: dict[float, pm.Fit], scale: float, ddf: str) -> None:
    tables = []
    for s in (1.0, scale):
        L = [{"(Intercept)": 1.0, "x": 2.0 * s}, {"I(x^2)": s**2}, {"fb": 1.0, "fc": -1.0}]
        tables.append(fits[s].contrast(L, ddf=ddf))
    names = ["NumDF", "F value"]
    np.testing.assert_allclose(*(t[names] for t in tables), rtol=tol("statistic"))
    again = fits[scale].contrast([{k: 5.0 * v for k, v in row.items()} for row in L], ddf=ddf)
    np.testing.assert_allclose(again, tables[1], rtol=tol("statistic"))


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e6])
def test_an_f_test_does_not_depend_on_how_its_functions_are_written(
    fits: dict[float, pm.Fit], scale: float
) -> None:
    """The coefficients' variances differ by up to 1e12, more than one axis' digits hold."""
    fit = fits[scale]
    rng = np.random.default_rng(4)
    L = rng.normal(size=(3, len(fit.beta))) / fit.std_error.to_numpy()
    expected = fit.contrast(L)
    for _ in range(5):
        again = fit.contrast(rng.normal(size=(3, 3)) @ L)
        np.testing.assert_allclose(again, expected, rtol=tol("statistic"))
