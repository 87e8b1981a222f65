"""Fits of ours in R: what its functions say of them is what they say of a fit by `lmer`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.reference.columns import table
from pymackay.reference.r.session import session

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


# --- rows and their labels

LABELS = {
    "text": [f"r{i}" for i in range(180)],
    "digits": [str(i + 300) for i in range(180)],
    "numbers": [3 * i + 7 for i in range(180)],
    "numbers below zero": [-i for i in range(180)],
    "counted": list(range(180)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_rows_keep_their_labels_there_and_back(kind: str) -> None:
    sleep = pm.load_data("sleepstudy").set_index(pd.Index(LABELS[kind]))
    sleep.iloc[4, 0] = np.nan
    fit = pm.lmer(SLEEP, sleep, subset="Days < 9")
    mermod = pm.lme4.to_r(fit)
    back = pm.lme4.from_r(mermod)
    assert list(back.model.rows) == list(fit.model.rows) == list(back.fitted.index)
    assert pm.compare(fit, back).verdict == "same optimum"
    assert list(ask("frame_behind", mermod).index) == list(fit.model.rows)


ROWS = {
    "counted": ("{data}", {}),
    "some": ("subset({data}, x > -1)", {}),
    "some, with empty rows": ("{data}[{data}$x > -1, ]", {}),
    "named": ("`rownames<-`({data}, paste0('r', 1:80))", {}),
    "subset with missing": ("{data}", {"subset": "k"}),
    "some, subset with missing": ("subset({data}, x > -1)", {"subset": "k"}),
    "weights and offset": ("{data}", {"weights": "1 / w", "offset": "o"}),
}
SIMPLE = (
    "local({ set.seed(1); d <- data.frame(g = gl(10, 8), x = rnorm(80), w = runif(80) + 0.5, "
    "o = rnorm(80)); d$y <- d$x + rnorm(10)[d$g] + rnorm(80); d$z <- rnorm(80); d$x[5] <- NA; "
    "d$k <- d$o > -1; d$k[9] <- NA; d })"
)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("action", ["na.omit", "na.exclude"])
def test_a_fit_of_r_has_the_rows_of_its_frame(kind: str, action: str) -> None:
    rows, arguments = ROWS[kind]
    ask("set_global", "simple", SIMPLE)
    ask("set_global", "simple", rows.format(data="simple"))
    more = "".join(f", {name} = {text}" for name, text in arguments.items())
    ask("set_global", "m", f"lme4::lmer(y ~ x + (1 | g), simple, na.action = {action}{more})")
    theirs, ours = (
        pm.lme4.from_r("m"),
        pm.lmer("y ~ x + (1 | g)", pm.lme4.frame("simple"), **arguments),
    )
    assert list(theirs.model.rows) == list(ours.model.rows)
    assert np.isfinite(theirs.fitted).all()
    for comparison in (pm.compare(ours, theirs), pm.compare(theirs, ours)):
        assert comparison.verdict == "same optimum", str(comparison)


# --- the data that a fit of R was made with

AFTERWARDS = {
    "untouched": "NULL",
    "filtered": "simple <- simple[simple$z > 0, ]",
    "rescaled": "simple$z <- 100 * simple$z",
    "another": "simple <- 3",
    "removed": "rm(simple)",
}


@pytest.mark.parametrize("what", AFTERWARDS)
def test_a_fit_of_r_is_evaluated_on_its_own_data(what: str) -> None:
    ask("set_global", "simple", SIMPLE)
    ours = pm.lmer("y ~ z + (1 | g)", pm.lme4.frame("simple"))
    text = f"{{ m <- lme4::lmer(y ~ z + (1 | g), simple); {AFTERWARDS[what]}; m }}"
    ask("set_global", "m", text)
    theirs = pm.lme4.from_r("m")
    assert theirs.evaluate(theirs.theta).criterion == pytest.approx(theirs.criterion, rel=1e-12)
    np.testing.assert_allclose(theirs.evaluate(ours.theta).beta, ours.beta, rtol=1e-9)
    assert pm.compare(theirs, ours).verdict == "same optimum"
    assert pm.compare(ours, theirs).verdict == "same optimum"


def test_a_refitted_one_is_evaluated_on_its_new_response() -> None:
    ask("set_global", "simple", SIMPLE)
    frame = pm.lme4.frame("simple")
    old = "lme4::lmer(y ~ z + (1 | g), simple, REML = FALSE, weights = w)"
    ask("set_global", "m", f"lme4::refit({old}, simple$o)")
    theirs = pm.lme4.from_r("m")
    ours = pm.evaluate("o ~ z + (1 | g)", frame, theirs.theta, reml=False, weights="w")
    again = theirs.evaluate(theirs.theta)
    assert again.criterion == pytest.approx(ours.criterion, rel=tol("criterion"))
    np.testing.assert_allclose(again.beta, ours.beta, rtol=1e-9)


def test_a_criterion_that_the_data_do_not_give_is_refused() -> None:
    """`refit` of lme4 1.1-31 counts degrees of freedom wrongly after REML; see the divergences."""
    ask("set_global", "simple", SIMPLE)
    ask("set_global", "m", "lme4::refit(lme4::lmer(y ~ z + (1 | g), simple), simple$o)")
    theirs = pm.lme4.from_r("m")
    right = pm.evaluate("o ~ z + (1 | g)", pm.lme4.frame("simple"), theirs.theta).criterion
    if theirs.criterion == pytest.approx(right, rel=1e-6):
        pytest.skip("this lme4 refits rightly")
    with pytest.raises(pm.ArgumentError, match=r"the fit cannot be evaluated\. Its criterion is"):
        theirs.evaluate(theirs.theta)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "mermod: R's global environment has no variable nowhere"),
        ("simple", "a fit by lmer.* is expected, not an object of class data.frame"),
    ],
)
def test_a_name_that_holds_no_fit_is_refused(name: str, says: str) -> None:
    ask("set_global", "simple", SIMPLE)
    with pytest.raises(pm.ArgumentError, match=says):
        pm.lme4.from_r(name)


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
    result = pm.lme4.frame("exact")
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
    pd.testing.assert_frame_equal(result, expected)


def test_dates_times_and_matrices_of_one_column_come_over() -> None:
    ask(
        "set_global",
        "moments",
        "within(data.frame(d = as.Date(c('2020-02-29', NA, '0900-01-01'))), { "
        "whole <- structure(c(1L, 2L, NA), class = 'Date'); "
        "berlin <- as.POSIXct(c(0.25, NA, 1e9), origin = '1970-01-01', tz = 'Europe/Berlin'); "
        "local <- as.POSIXlt(as.POSIXct(c(0, NA, 1e9), origin = '1970-01-01')); "
        "days <- as.difftime(c(1, NA, -0.5), units = 'days'); "
        "scaled <- scale(c(1, 2, 3)); as_is <- I(c('a', NA, 'b')); counted <- array(3:1) })",
    )
    result = pm.lme4.frame("moments")
    instants = pd.to_datetime([0.25, None, 1e9], unit="s", utc=True).as_unit("us")
    expected = {
        "d": np.array(["2020-02-29", "NaT", "0900-01-01"], dtype="datetime64[s]"),
        "whole": np.array(["1970-01-02", "1970-01-03", "NaT"], dtype="datetime64[s]"),
        "berlin": instants.tz_convert("Europe/Berlin"),
        "local": pd.to_datetime([0, None, 1e9], unit="s", utc=True).as_unit("us"),
        "days": np.array([86400 * 10**6, "NaT", -43200 * 10**6], dtype="timedelta64[us]"),
        "scaled": [-1.0, 0.0, 1.0],
        "as_is": ["a", None, "b"],
        "counted": [3, 2, 1],
    }
    assert set(result) == set(expected)
    for name, values in expected.items():
        series = pd.Series(values, name=name)
        pd.testing.assert_series_equal(result[name], series, check_dtype=name != "local", obj=name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data.frame(a = 1:2, d = 1i)", "column 'd' is of class complex"),
        ("data.frame(a = 1:2, d = I(list(1, 2)))", "column 'd' is of class list"),
        ("data.frame(a = 1:2, m = I(matrix(1:4, 2)))", "column 'm' is of class matrix"),
        ("data.frame(a = 1:2, s = I(data.frame(b = 1:2)))", "column 's' is of class data.frame"),
        (
            "within(data.frame(a = 1:2), u <- structure(1:2, class = 'unit'))",
            "column 'u' is of class unit",
        ),
    ],
)
def test_a_column_without_counterpart_is_left_out_and_named(text: str, says: str) -> None:
    ask("set_global", "partly", text)
    with pytest.warns(pm.RWarning, match=f"{says}.* is left out"):
        result = pm.lme4.frame("partly")
    assert result.to_dict("list") == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data.frame(a = 1, a = 2, check.names = FALSE)", "more than one column is called 'a'"),
        ("3", "is of class numeric"),
    ],
)
def test_what_is_no_frame_is_refused(text: str, says: str) -> None:
    ask("set_global", "refused", text)
    with pytest.raises(pm.ArgumentError, match=says):
        pm.lme4.frame("refused")


def test_a_name_that_r_does_not_have_is_refused() -> None:
    with pytest.raises(pm.ArgumentError, match="no variable nowhere"):
        pm.lme4.frame("nowhere")
    with pytest.raises(pm.ArgumentError, match="name: a string is expected, not int"):
        pm.lme4.frame(3)
