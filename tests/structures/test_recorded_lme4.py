"""Models with structures against recorded answers of lme4 2.1, which few systems have."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay._resources import r_reference_path

RECORDED = json.loads((r_reference_path() / "recorded_structures" / "lme4.json").read_text())
ANSWERS = RECORDED["answers"]
NAMES = [f"{a['data']}: {a['formula']} {'REML' if a['reml'] else 'ML'}" for a in ANSWERS]


@cache
def fitted(k: int) -> pm.Fit:
    answer = ANSWERS[k]
    return pm.lmer(answer["formula"], pm.load_data(answer["data"]), reml=answer["reml"])


def series(values: dict[str, float]) -> pd.Series:
    return pd.Series(values, dtype=np.float64)


def same(ours: pd.Series, theirs: dict[str, float], rtol: float, scale: Any = None) -> None:
    """Compare by name, relative to the values or to `scale`."""
    assert ours.index.tolist() == list(theirs)
    expected = series(theirs)
    unit = np.abs(expected) if scale is None else scale
    assert (np.abs(ours - expected) <= rtol * unit + 1e-12).all(), (ours, expected)


def test_the_recordings_are_of_lme4_2() -> None:
    assert RECORDED["versions"]["lme4"].startswith("2.")
    assert len(ANSWERS) == 16
    for structure in ("us", "diag", "cs", "ar1"):
        assert any(f"{structure}(" in answer["formula"] for answer in ANSWERS)


@pytest.mark.parametrize("k", range(len(ANSWERS)), ids=NAMES)
def test_at_the_theta_of_lme4_everything_is_the_same(k: int) -> None:
    answer = ANSWERS[k]
    data, theta = pm.load_data(answer["data"]), list(answer["theta"].values())
    fit = pm.evaluate(answer["formula"], data, theta, reml=answer["reml"])
    criterion = answer["criterion"]
    assert fit.criterion == pytest.approx(criterion, abs=1e-9 * (1.0 + abs(criterion)))
    assert fit.sigma == pytest.approx(answer["sigma"], rel=1e-7)
    same(fit.theta, answer["theta"], 1e-12)
    same(fit.par, answer["par"], 1e-6, scale=1.0)
    same(fit.std_error, answer["std_error"], 1e-7)
    same(fit.beta, answer["beta"], 1e-7, scale=series(answer["std_error"]))
    assert fit.df == answer["df"]
    assert list(fit.varcorr) == list(answer["varcorr"])
    for name, expected in answer["varcorr"].items():
        largest = np.abs(expected).max()
        np.testing.assert_allclose(fit.varcorr[name], expected, atol=1e-7 * largest)
    for group, expected in answer["ranef"].items():
        assert fit.ranef[group].index.tolist() == list(expected)
        theirs = np.array(list(expected.values())).reshape(fit.ranef[group].shape)
        np.testing.assert_allclose(
            fit.ranef[group].to_numpy(), theirs, atol=1e-6 * np.abs(theirs).max()
        )


@pytest.mark.parametrize("k", range(len(ANSWERS)), ids=NAMES)
def test_the_optimum_is_that_of_lme4_or_lower(k: int) -> None:
    answer, fit = ANSWERS[k], fitted(k)
    assert fit.convergence.converged
    assert fit.criterion <= answer["criterion"] + tol("tight criterion")
    assert fit.criterion == pytest.approx(answer["criterion"], abs=1e-6)
    assert fit.par.index.tolist() == list(answer["par"])
