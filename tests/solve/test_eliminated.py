"""One and two effects a level are eliminated by closed forms: the numbers are those of LAPACK."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.infer.problem import dense_gram
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.exact.eliminated import eliminate_levels


@pytest.mark.parametrize(
    ("formula", "theta"),
    [
        ("y ~ x + (1 | g)", [0.7]),
        ("y ~ x + (1 | g)", [0.0]),
        ("y ~ x + (1 | g)", [1e6]),
        ("y ~ x + (x | g)", [1.4, -0.3, 0.6]),
        ("y ~ x + (x || g)", [3.0, 0.0]),
        ("y ~ x + (x | g)", [1e5, 2e5, 1e3]),
        ("y ~ x + (x | g)", [0.0, 0.0, 0.0]),
    ],
)
def test_the_leading_block(formula: str, theta: list[float]) -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)})
    fit = pm.evaluate(formula, data.assign(g=np.arange(60) % 11), theta)
    gram = dense_gram(fit.problem, "the test")
    factors = factors_from_theta(gram, np.array(theta))
    factor = gram.joined(gram.blocks[0], factors)
    half, F, logdet = eliminate_levels(gram, factors)
    M = np.eye(len(factor)) + factor.T @ gram.A @ factor
    inverse = factor @ np.linalg.inv(M) @ factor.T
    size = np.abs(inverse).max() + 1e-300
    np.testing.assert_allclose(F / size, inverse / size, atol=tol("oracle"))
    np.testing.assert_allclose(half.swapaxes(1, 2) @ half, F, atol=1e-12 * size)
    assert logdet == pytest.approx(np.linalg.slogdet(M)[1].sum(), rel=1e-12, abs=1e-12)


def test_the_first_interval_of_many_levels_is_quick() -> None:
    """It takes less CPU time than LAPACK alone would take for the matrices of the levels."""
    levels = 200_000
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=2 * levels), "y": rng.normal(size=2 * levels)})
    fit = pm.evaluate("y ~ x + (1 | g)", data.assign(g=np.arange(2 * levels) % levels), [1.0])
    new = {"x": [0.0, 1.0], "g": [5, 77]}
    fit.predict(new)
    matrices = rng.uniform(1.0, 2.0, size=(levels, 1, 1))
    ours, theirs = [], []
    for _ in range(3):
        ours.append(cpu_seconds(partial(fit.replace().predict, new, interval="prediction")))
        theirs.append(cpu_seconds(lambda: np.linalg.solve(np.linalg.cholesky(matrices), matrices)))
    assert min(ours) < min(theirs)


def cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin
