"""Fits of ours in R: what its functions say of them is what they say of a fit by `lmer`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.reference.columns import table
from pymackay.reference.r_session import session

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore::pymackay.RWarning")]

SLEEP = "Reaction ~ Days + (Days | Subject)"
CAKE = "angle ~ recipe + temp + (1 | recipe:replicate)"


@pytest.fixture(scope="module", autouse=True)
def _probe() -> None:
    session().call("source", str(Path(__file__).parents[1] / "support" / "mermod_probe.R"))


def ask(function: str, *arguments: object) -> object:
    return session().call(function, *arguments).value


def native(formula: str, data: pd.DataFrame, reml: bool) -> object:
    return ask("native_mermod", formula, table(data), reml)


@pytest.mark.parametrize(
    ("formula", "name", "new", "variables", "reml"),
    [
        (SLEEP, "sleepstudy", {"Days": [3.0, 11.0], "Subject": ["308", "new"]}, ("Days",), True),
        (CAKE, "cake", {"recipe": ["B"], "temp": [200.0], "replicate": ["3"]}, ("recipe",), True),
        (CAKE, "cake", {"recipe": ["B"], "temp": [200.0], "replicate": ["3"]}, ("recipe",), False),
    ],
    ids=["slopes", "factor", "factor by ML"],
)
def test_r_says_of_ours_what_it_says_of_its_own(formula, name, new, variables, reml) -> None:
    data = pm.load_data(name)
    ours = pm.lmer(formula, data, reml=reml)
    covariate = "Days" if name == "sleepstudy" else "temp"
    rest = (table(pd.DataFrame(new)), variables[0], covariate)
    mine = ask("say_everything", pm.lme4.to_r(ours), *rest)
    theirs = ask("say_everything", native(formula, data, reml), *rest)
    assert set(mine) == set(theirs)
    for function, expected in theirs.items():
        size = np.max(np.abs(expected[np.isfinite(expected)]))
        np.testing.assert_allclose(
            mine[function], expected, rtol=tol("r's functions"), atol=1e-7 * size, err_msg=function
        )


def test_the_printed_summary_is_r_s() -> None:
    sleep = pm.load_data("sleepstudy")
    mine = ask("printed", pm.lme4.to_r(pm.lmer(SLEEP, sleep)))
    theirs = ask("printed", native(SLEEP, sleep, True))
    start = mine.index("Scaled residuals: ")
    assert mine[start:] == theirs[theirs.index("Scaled residuals: ") :]
    assert mine[0] == "Linear mixed model fit by REML ['lmerMod']"


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights": "w"},
        {"weights": np.linspace(1, 3, 270)},
        {"offset": "w"},
        {"subset": "temp > 180"},
        {"subset": np.arange(270) % 3 > 0},
        {"contrasts": {"recipe": "contr.sum"}},
        {"contrasts": {"recipe": np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -2.0]])}},
        {"reml": False},
    ],
    ids=str,
)
def test_a_fit_remembers_what_it_was_made_with(arguments: dict) -> None:
    cake = pm.load_data("cake").assign(w=lambda d: 1.0 + d.temp / 100.0)
    fit = pm.lmer(CAKE, cake, **arguments)
    back = pm.lme4.from_r(pm.lme4.to_r(fit))
    np.testing.assert_array_equal(back.theta, fit.theta)
    result = pm.compare(fit, back)
    assert (result.verdict, result.ok) == ("same optimum", True), str(result)


def test_data_that_were_changed_after_the_fit_are_noticed() -> None:
    sleep = pm.load_data("sleepstudy").copy()
    fit = pm.lmer(SLEEP, sleep)
    sleep.loc[3, "Reaction"] += 40.0
    with pytest.raises(pm.ArgumentError, match="fit: its criterion is"):
        pm.lme4.to_r(fit)


def test_a_mermod_gets_a_name_in_r() -> None:
    fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    pm.lme4.to_r(fit, name="my fit")
    assert ask("global_class", "my fit") == ["lmerMod"]
    with pytest.raises(pm.ArgumentError, match="name: a name for R's global"):
        pm.lme4.to_r(fit, name="")


# --- data frames from R


def test_a_data_frame_of_r_comes_over_exactly() -> None:
    ask(
        "set_global",
        "exact",
        "data.frame(i = c(1L, NA, 3L), x = c(0.1, NA, Inf), l = c(TRUE, NA, FALSE), "
        "s = c('b', NA, '\u00fc x'), f = factor(c('b', NA, 'a'), levels = c('z', 'b', 'a')), "
        "o = factor(c('lo', 'hi', 'lo'), levels = c('lo', 'hi'), ordered = TRUE), "
        "`two words` = 3:1, check.names = FALSE)",
    )
    found = pm.lme4.frame("exact")
    expected = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "x": [0.1, np.nan, np.inf],
            "l": pd.array([True, None, False], dtype="boolean"),
            "s": ["b", None, "ü x"],
            "f": pd.Categorical(["b", None, "a"], ["z", "b", "a"]),
            "o": pd.Categorical(["lo", "hi", "lo"], ["lo", "hi"], ordered=True),
            "two words": [3, 2, 1],
        }
    )
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data.frame(d = as.Date('2020-01-01'))", "column 'd' is of class Date"),
        ("data.frame(d = as.POSIXct(0, origin = '1970-01-01'))", "column 'd' is of class POSIXct"),
        ("data.frame(d = as.difftime(1, units = 'days'))", "column 'd' is of class difftime"),
        ("data.frame(d = 1i)", "column 'd' is of class complex"),
        ("data.frame(d = I(list(1)))", "column 'd' is of class AsIs"),
        ("data.frame(a = 1, m = I(matrix(1:2, 1)))", "column 'm' is of class AsIs"),
        ("data.frame(a = 1, a = 2, check.names = FALSE)", "more than one column is called 'a'"),
        ("3", "is of class numeric"),
    ],
)
def test_what_has_no_way_into_pandas_is_refused(text: str, says: str) -> None:
    ask("set_global", "refused", text)
    with pytest.raises(pm.ArgumentError, match=says):
        pm.lme4.frame("refused")


def test_a_name_that_r_does_not_have_is_refused() -> None:
    with pytest.raises(pm.ArgumentError, match="no variable nowhere"):
        pm.lme4.frame("nowhere")
    with pytest.raises(pm.ArgumentError, match="name: a string is expected, not int"):
        pm.lme4.frame(3)
