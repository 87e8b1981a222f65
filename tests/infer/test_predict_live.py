"""predict, simulate, refit, influence and summary against lme4's own, asked live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table
from tolerances import tol

import pymackay as pm
from pymackay.reference.columns import table
from pymackay.reference.live import live_model
from pymackay.reference.r.session import session

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore::pymackay.RWarning")]

SIX_SIGMA = 6.0  # standard errors: no draw of a correct program goes there


def probe(function: str, fit: pm.Fit, *arguments: object) -> Any:
    """Call a function of infer_probe.R on the merMod behind a live fit."""
    session().call("source", str(Path(__file__).parents[1] / "support" / "infer_probe.R"))
    return session().call(function, live_model(fit).kept, *arguments).value


def both(formula: str, data: pd.DataFrame, **given: Any) -> tuple[pm.Fit, pm.Fit]:
    """Return lme4's fit, and ours at its theta."""
    theirs = pm.lme4.lmer(formula, data, source="live", **given)
    return theirs, pm.evaluate(formula, data, theirs.theta, **given)


def assert_near(ours: Any, theirs: Any, name: str) -> None:
    size = np.nanmax(np.abs(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=tol(name) * size)


PREDICTIONS = [
    ("y ~ x + f + (x | g) + (1 | h)", {}, ["~ (1 | g)", "~ (0 + x | g)", "~ (1 | h)"]),
    ("y ~ poly(x, 2) + ns(z, df = 3) + scale(z) + (x || g)", {}, ["~ (1 | g)", "~ (x | g)"]),
    ("y ~ x * f + offset(o) + (1 | h/g)", {}, ["~ (1 | h)", "~ (1 | g:h)"]),
    ("y ~ bs(x, df = 4) + (poly(x, 2) | h)", {"weights": "w"}, ["~ (poly(x, 2) | h)"]),
    ("y ~ x + (f | h) + (1 | g)", {"contrasts": {"f": "contr.sum"}}, ["~ (f | h)"]),
]


@pytest.mark.parametrize(("formula", "given", "forms"), PREDICTIONS)
def test_predict(formula: str, given: dict[str, Any], forms: list[str]) -> None:
    data = crossed_table().reset_index(drop=True)
    theirs, ours = both(formula, data, **given)
    new = data.iloc[::-3].reset_index(drop=True)
    new["x"] = np.clip(new["x"] + 0.1, data["x"].min(), data["x"].max())
    new.loc[2, "z"] = np.nan
    strange = new.assign(g=new["g"].where(new.index != 1, "new"))
    for form in ["all", "none", *forms]:
        chosen = {"all": None, "none": "~0"}.get(form, form)
        expected = probe("probe_predict", theirs, table(new), form, False)
        assert_near(ours.predict(new, re_form=chosen), expected, "statistic")
        expected = probe("probe_predict", theirs, table(strange), form, True)
        result = ours.predict(strange, re_form=chosen, allow_new_levels=True)
        assert_near(result, expected, "statistic")


# refit() of lme4 1.1-31 takes a REML fit's n - p for n - 1, so that only p = 1 can be compared
@pytest.mark.parametrize(
    ("formula", "reml"), [("y ~ 1 + (x | g) + (1 | h)", True), ("y ~ x + (x | g) + (1 | h)", False)]
)
def test_refit(formula: str, reml: bool) -> None:
    data = crossed_table().reset_index(drop=True)
    theirs, ours = both(formula, data, reml=reml, weights="w")
    y = data["y"] + 0.5 * np.random.default_rng(5).normal(size=len(data))
    expected = probe("probe_refit", theirs, y.to_numpy())
    result = ours.refit(y)
    above = expected["criterion"][0] - result.criterion
    assert -tol("tight criterion") < above < tol("default criterion")
    at_theirs = result.evaluate(expected["theta"])
    assert at_theirs.criterion == pytest.approx(expected["criterion"][0], rel=tol("criterion"))
    assert_near(at_theirs.beta, expected["beta"], "statistic")


@pytest.mark.parametrize("given", [False, True])
def test_simulate_has_r_s_moments(given: bool) -> None:
    data = crossed_table().reset_index(drop=True)
    # without weights: lme4 leaves them out of what it simulates
    theirs, ours = both("y ~ x + offset(o) + (x | g) + (1 | h)", data)
    draws = 3000
    expected = probe("probe_simulate", theirs, draws, given)
    result = ours.simulate(draws, seed=8, re_form=None if given else "~0")
    error = np.asarray(expected["sd"]) * np.sqrt(2.0 / draws)
    assert np.abs((result.mean(axis=1) - expected["mean"]) / error).max() < SIX_SIGMA
    ratio = np.log(result.std(axis=1) / expected["sd"]) / np.sqrt(1.0 / draws)
    assert np.abs(ratio).max() < SIX_SIGMA


@pytest.mark.parametrize("given", [{}, {"weights": "w"}])
def test_leverage_and_cook_s_distance(given: dict[str, Any]) -> None:
    data = crossed_table().reset_index(drop=True)
    theirs, ours = both("y ~ x + f + (x | g) + (1 | h)", data, **given)
    expected = probe("probe_influence", theirs)
    result = ours.augment()
    assert_near(result[".hat"], expected["hat"], "statistic")
    assert_near(result[".cooksd"], expected["cook"], "statistic")


SUMMARIES = [
    ("Reaction ~ Days + (Days | Subject)", "sleepstudy", True),
    ("Reaction ~ Days + (Days || Subject)", "sleepstudy", False),
    ("strength ~ 1 + (1 | batch/cask)", "Pastes", True),
    ("angle ~ recipe + temp + (1 | recipe:replicate)", "cake", True),
    ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", False),
    ("yield ~ nitro * Variety + (1 | Block/Variety)", "Oats", True),
]
_THEIRS = ("   Data: ", "optimizer ", "boundary ", "Model failed", "Weights: ", "Formula: ")


@pytest.mark.parametrize(("formula", "name", "reml"), SUMMARIES)
def test_summary_is_printed_alike(formula: str, name: str, reml: bool) -> None:
    theirs, ours = both(formula, pm.load_data(name), reml=reml)
    printed = [line.rstrip() for line in probe("probe_summary", theirs)]
    expected = [line for line in printed if not line.startswith(_THEIRS)]
    own = str(ours.summary(ddf=None)).replace("['pymackay']", "['lmerMod']").split("\n")
    result = [line.rstrip() for line in own if not line.startswith(_THEIRS)]
    place = expected.index("Scaled residuals:")
    quartiles = [[float(x) for x in lines[place + 2].split()] for lines in (result, expected)]
    # R before 4.4 rounds these to a digit more or less than R from then on
    np.testing.assert_allclose(quartiles[0], quartiles[1], atol=tol("printed 3"))
    del result[place + 1 : place + 3], expected[place + 1 : place + 3]
    while expected and not expected[-1]:
        expected.pop()
    if any("-2*log(L)" in line for line in expected):  # what lme4 from 1.1-36 on calls the deviance
        result, expected = ([line.split() for line in lines] for lines in (result, expected))
        result = [["-2*log(L)" if x == "deviance" else x for x in line] for line in result]
    assert result == expected
