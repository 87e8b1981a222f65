"""Terms with structures in the iterative solver, against the exact one within the stated errors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.solve.iterative.control import IterativeControl

TERMS = {
    "diag": "diag(x | h) + (1 | g)",
    "diag hom": "diag(0 + f | g, hom = TRUE) + (x | h)",
    "cs": "cs(0 + f | g) + (x | h)",
    "cs hom": "cs(0 + f | g, hom = TRUE) + (x | h)",
    "ar1": "ar1(0 + f | g) + (x | h)",
    "ar1 het": "ar1(0 + f | g, hom = FALSE) + diag(x | h)",
    "toep": "toep(0 + f | g) + (1 | h)",
    "fa": "fa(0 + f | g) + (1 | h)",
    "rr": "rr(0 + f | g) + (1 | h)",
}
CONTROL = IterativeControl(criterion_probes=64)
UNIT_VECTORS = IterativeControl(probes=1024)  # more than there are effects: exact traces
RARE = 1e-5  # probability with which one of the deviations may be larger


@cache
def table() -> pd.DataFrame:
    """Return 3000 rows of 90 by 70 levels, with four effects of each level of g."""
    rng = np.random.default_rng(3)
    n = 3000
    g, h, f = rng.integers(0, 90, n), rng.integers(0, 70, n), rng.integers(0, 4, n)
    x = rng.normal(size=n)
    R = 0.7 ** np.abs(np.subtract.outer(range(4), range(4)))
    effects = 0.8 * rng.normal(size=(90, 4)) @ np.linalg.cholesky(R).T
    other = rng.normal(size=(70, 2)) * [0.6, 0.3]
    y = 1.0 + 0.5 * x + effects[g, f] + other[h, 0] + other[h, 1] * x + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "f": pd.Categorical(f), "g": g, "h": h})


@cache
def exact(name: str) -> pm.Fit:
    return pm.lmer(f"y ~ x + {TERMS[name]}", table(), solver="exact")


@pytest.mark.parametrize("name", TERMS)
def test_with_unit_vectors_the_answer_is_the_exact_one(name: str) -> None:
    expected = exact(name)
    found = pm.lmer(f"y ~ x + {TERMS[name]}", table(), control=UNIT_VECTORS)
    assert found.convergence.converged and found.engine.name == "pymackay"
    assert max(found.convergence.monte_carlo_error.values()) == 0.0
    assert abs(found.criterion - expected.criterion) < tol("iterative criterion")
    assert list(found.par.index) == list(expected.par.index)
    for term, V in expected.varcorr.items():
        scale = np.abs(V.to_numpy()).max()
        np.testing.assert_allclose(found.varcorr[term] / scale, V / scale, atol=tol("iterative"))
    errors = expected.std_error
    assert np.abs((found.beta - expected.beta) / errors).max() < tol("iterative")


@pytest.mark.parametrize("name", TERMS)
def test_deviations_are_within_the_stated_errors(name: str) -> None:
    """Student's distribution with as many degrees of freedom as there are probes, less one."""
    expected = exact(name)
    found = pm.lmer(f"y ~ x + {TERMS[name]}", table(), control=CONTROL)
    error = found.convergence.monte_carlo_error
    assert found.convergence.converged and found.convergence.probes == 8
    far = float(stats.t.isf(0.5 * RARE, found.convergence.probes - 1))
    for term, V in expected.varcorr.items():
        for i, first in enumerate(V.index):
            for j in range(i + 1):
                key = ".".join([term, *dict.fromkeys((first, V.index[j]))])
                away = abs(found.varcorr[term].iloc[i, j] - V.iloc[i, j])
                assert (error[key] > 0.0) == (V.iloc[i, j] != 0.0) and error[key] < 1e-3
                assert away < far * error[key] + 1e-6 * V.to_numpy().max(), key
    away = abs(found.criterion - expected.criterion)
    assert away < 5.0 * error["criterion"] + tol("iterative criterion")


def test_a_structured_fit_goes_on_like_others() -> None:
    name = "ar1"
    found = pm.lmer(f"y ~ x + {TERMS[name]}", table(), solver="iterative")
    again = pm.lmer(f"y ~ x + {TERMS[name]}", table(), solver="iterative", start=found.par)
    np.testing.assert_allclose(again.par, found.par, rtol=1e-4)
    assert pm.compare(found, exact(name)).verdict == "same optimum"
    few = table().iloc[:10]
    ours, expected = (fit.predict(few, se_fit=True) for fit in (found, exact(name)))
    np.testing.assert_allclose(ours, expected, rtol=1e-3)
    df = found.coefficients()["df"], exact(name).coefficients()["df"]
    np.testing.assert_allclose(*df, rtol=1e-3)


def test_the_loop_with_a_structure_by_iterative_solves() -> None:
    formula = f"y ~ x + {TERMS['ar1']}"
    loop = pm.mackay(formula, table(), solver="iterative")
    expected = exact("ar1").varcorr["g"]
    np.testing.assert_allclose(loop.varcorr["g"], expected, rtol=1e-3)
