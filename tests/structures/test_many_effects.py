"""Structures of many effects: their own kernel and start, against the kernel by elements of G."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.model.design.build import build_model
from pymackay.model.sums.gram import cross_products
from pymackay.solve.exact.along import ManyEffects
from pymackay.solve.exact.solver import Exact, OneBlock
from pymackay.solve.search.start import moment_start


def sleep() -> pd.DataFrame:
    data = pm.load_data("sleepstudy")
    return data.assign(Dayf=pd.Categorical(data["Days"].astype(int).astype(str)))


def panel(times: int, levels: int, seed: int = 1) -> pd.DataFrame:
    """Return rows of an autoregressive process with an error, some of them missing."""
    rng = np.random.default_rng(seed)
    R = 0.7 ** np.abs(np.subtract.outer(np.arange(times), np.arange(times)))
    process = np.linalg.cholesky(R) @ rng.normal(size=(times, levels))
    y = (process + 0.5 * rng.normal(size=(times, levels))).T.ravel()
    time = np.tile(np.arange(times), levels)
    data = pd.DataFrame(
        {"y": y, "id": np.repeat(np.arange(levels), times), "x": rng.normal(size=len(y))}
    )
    data["t"] = pd.Categorical(time)
    return data[rng.random(len(y)) > 0.1]


@pytest.mark.parametrize("size", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    "term",
    [
        "ar1(0 + Dayf | Subject)",
        "cs(0 + Dayf | Subject)",
        "(Days | Subject) + ar1(0 + Dayf | Subject)",
    ],
)
def test_both_kernels_answer_the_same(term: str, reml: bool, size: float) -> None:
    gram = cross_products(build_model(f"Reaction ~ Days + {term}", sleep()))
    factors = [size * factor for factor in moment_start(gram, reml=reml)]
    ours = ManyEffects(gram, reml).evaluate(factors)
    expected = OneBlock(gram, reml).evaluate(factors)
    for field in fields(ours):
        one, other = getattr(ours, field.name), getattr(expected, field.name)
        one, other = (x if isinstance(x, tuple) else (x,) for x in (one, other))
        for a, b in zip(one, other, strict=True):
            scale = np.abs(np.asarray(b, dtype=float)).max(initial=0.0)
            np.testing.assert_allclose(
                a, b, rtol=0.0, atol=tol("oracle") * scale, err_msg=field.name
            )


def test_the_kernel_is_chosen_by_size() -> None:
    few = Exact(cross_products(build_model("y ~ x + ar1(0 + t | id)", panel(6, 30))), True)
    many = Exact(cross_products(build_model("y ~ x + ar1(0 + t | id)", panel(24, 30))), True)
    assert few.along is None and isinstance(many.along, ManyEffects)


def test_many_times_end_at_a_certified_optimum() -> None:
    """The curvature is checked by the certificate, the criterion by the dense likelihood."""
    data = panel(24, 30)
    fit = pm.lmer("y ~ x + ar1(0 + t | id)", data)
    assert fit.convergence.converged and fit.convergence.evaluations < 20
    sd, rho = fit.par * [fit.sigma, 1.0]
    code = data["t"].cat.codes.to_numpy()
    same = data["id"].to_numpy()[:, None] == data["id"].to_numpy()
    V = np.where(same, sd**2 * rho ** np.abs(np.subtract.outer(code, code)), 0.0)
    V += fit.sigma**2 * np.eye(len(data))
    X = np.column_stack([np.ones(len(data)), data["x"]])
    inverse = np.linalg.inv(V)
    information = X.T @ inverse @ X
    residual = data["y"] - X @ np.linalg.solve(information, X.T @ inverse @ data["y"])
    criterion = sum(np.linalg.slogdet(M)[1] for M in (V, information))
    criterion += residual @ inverse @ residual + (len(data) - 2) * np.log(2.0 * np.pi)
    assert fit.criterion == pytest.approx(float(criterion), abs=tol("tight criterion") * 10)
