"""The user's own R session: nothing of it gets into a model, and nothing of ours stays in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.reference.r.session import session

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore::pymackay.RWarning")]

FORMULA = "score ~ dose + (1 | ward)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    ward = np.repeat(np.arange(10), 12)
    dose, base = rng.normal(size=(2, 120)).round(3)
    score = dose + base + rng.normal(size=10)[ward] + rng.normal(size=120)
    return pd.DataFrame(
        {
            "score": score,
            "dose": dose,
            "base": base,
            "ward": [f"w{i}" for i in ward],
            "arm": np.tile(["lo", "mid", "hi"], 40),
            "prec": rng.uniform(0.5, 2.0, 120).round(3),
            "keep": np.arange(120) % 5 > 0,
            "two words": rng.uniform(0.5, 2.0, 120).round(3),
        }
    )


@pytest.fixture
def r() -> Iterator[Callable[[str], object]]:
    """Evaluate text in the user's own session, whose options and variables are put back."""
    session()
    import rpy2.robjects as ro

    options, names = ro.r("options()"), ro.r("ls(globalenv(), all.names = TRUE)")
    yield ro.r
    ro.r("options")(options)
    ro.r(
        "function(names) rm(list = setdiff(ls(globalenv(), all.names = TRUE), names), "
        "envir = globalenv())"
    )(names)


def criterion(formula: str, data: pd.DataFrame, **arguments: object) -> float:
    return pm.lme4.lmer(formula, data, source="live", **arguments).criterion


# --- what of the session must not be seen

MISSING = [
    ("score ~ nowhere + (1 | ward)", {}),
    ("score ~ dose + (nowhere | ward)", {}),
    ("score ~ dose + offset(nowhere) + (1 | ward)", {}),
    (FORMULA, {"weights": "nowhere"}),
    (FORMULA, {"weights": "2 * nowhere"}),
    (FORMULA, {"offset": "nowhere + 1"}),
    (FORMULA, {"subset": "nowhere > 0"}),
]


@pytest.mark.parametrize(("formula", "arguments"), MISSING)
@pytest.mark.parametrize("left", ["nowhere <- runif(120)", "attach(list(nowhere = runif(120)))"])
def test_a_variable_of_the_session_is_no_column(r, data, formula, arguments, left) -> None:
    r(left)
    try:
        with pytest.raises(pm.PymackayError, match="the data have no column 'nowhere'"):
            criterion(formula, data, **arguments)
        with pytest.raises(pm.PymackayError, match="the data have no column 'nowhere'"):
            pm.lmer(formula, data, **arguments)
    finally:
        r("if ('list(nowhere = runif(120))' %in% search()) detach('list(nowhere = runif(120))')")


@pytest.mark.parametrize("name", ["time", "rank", "df"])
def test_a_function_of_r_is_no_column(data, name) -> None:
    with pytest.raises(pm.RError, match=f"the data have no column '{name}'"):
        criterion(f"score ~ {name} + (1 | ward)", data)


OPTIONS = [
    "options(contrasts = c('contr.sum', 'contr.poly'))",
    "options(contrasts = c(unordered = 'contr.helmert', ordered = 'contr.helmert'))",
    "options(na.action = 'na.exclude')",
    "options(na.action = 'na.fail')",
    "options(OutDec = ',', scipen = 100, digits = 3)",
    "options(warn = 2)",
    "options(lmerControl = list(check.nobs.vs.nlev = 'stop', check.nlev.gtr.1 = 'ignore'))",
    "log <- function(x) x; I <- function(x) 0 * x; poly <- function(...) 1; c <- list <- sum",
    "weights <- offset <- subset <- 1:3; T <- 0; data <- formula <- NULL",
]


@pytest.mark.parametrize("text", OPTIONS)
def test_a_model_does_not_depend_on_what_the_user_has_set(r, data, text) -> None:
    data = data.assign(dose=data["dose"].mask(data.index == 7))
    formula = "score ~ arm + I(dose^2) + poly(base, 2) + log(prec) + (1 | ward)"
    arguments = {"weights": "prec", "subset": "base < 2 & T"}
    expected = pm.lme4.lmer(formula, data, source="live", **arguments)
    r(text)
    before = [str(r("options()")), list(r("ls(globalenv(), all.names = TRUE)"))]
    result = pm.lme4.lmer(formula, data, source="live", **arguments)
    assert [str(r("options()")), list(r("ls(globalenv(), all.names = TRUE)"))] == before
    assert result.criterion == expected.criterion
    pd.testing.assert_series_equal(result.beta, expected.beta, check_exact=True)
    pd.testing.assert_series_equal(result.residuals, expected.residuals, check_exact=True)
    numbers = pm.lme4.lmer("score ~ factor(round(base)) + (1 | ward)", data, source="live")
    assert "factor(round(base))-1" in numbers.beta.index


def test_a_function_of_the_user_s_can_still_be_asked_for(r, data) -> None:
    r("twice <- function(x) 2 * x")
    doubled = criterion("score ~ I(2 * dose) + (1 | ward)", data)
    assert criterion("score ~ twice(dose) + (1 | ward)", data) == doubled


# --- what both sides take beside the formula

TEXTS = [
    {"weights": "1 / prec"},
    {"weights": "`two words`"},
    {"weights": "two words"},
    {"weights": "sqrt(`two words`) * prec", "offset": "base - 1"},
    {"offset": "log(prec)"},
    {"offset": "two words"},
    {"subset": "keep"},
    {"subset": "keep & dose > -1"},
]


@pytest.mark.parametrize("arguments", TEXTS, ids=str)
def test_text_means_the_same_on_both_sides(data, arguments) -> None:
    ours = pm.lmer(FORMULA, data, **arguments)
    theirs = pm.lme4.lmer(FORMULA, data, source="live", **arguments)
    assert theirs.criterion == pytest.approx(ours.criterion, abs=tol("default criterion"))
    at = pm.lme4.evaluate(FORMULA, data, ours.theta, source="live", **arguments)
    assert at.criterion == pytest.approx(ours.criterion, rel=tol("criterion"))
    for name in ("weights", "offset"):
        mine, other = getattr(ours.model, name), getattr(at.model, name)
        if mine is not None or other is not None:
            np.testing.assert_allclose(other, mine, rtol=1e-14)
    back = pm.lme4.from_r(pm.lme4.to_r(ours))
    assert pm.compare(ours, back).verdict == "same optimum"


REFUSED = [
    {"weights": "1 /"},
    {"weights": "ward"},
    {"weights": "keep"},
    {"weights": "c(1, 2)"},
    {"weights": "prec - 1"},
    {"weights": "0 * prec"},
    {"offset": "ward"},
    {"subset": "prec"},
    {"subset": "two words"},
    {"subset": "prec > 9"},
]


@pytest.mark.parametrize("arguments", REFUSED, ids=str)
def test_text_is_refused_on_both_sides(data, arguments) -> None:
    with pytest.raises(pm.PymackayError):
        pm.lmer(FORMULA, data, **arguments)
    with pytest.raises(pm.PymackayError):
        criterion(FORMULA, data, **arguments)


@pytest.mark.parametrize(
    ("name", "column"), [("weights", "prec"), ("offset", "base"), ("subset", "keep")]
)
def test_a_series_in_another_order_is_refused_by_every_question(data, name, column) -> None:
    fit = pm.lmer(FORMULA, data, **{name: column})
    shuffled = {name: data[column].sample(frac=1, random_state=1)}
    for ask in (
        lambda: criterion(FORMULA, data, **shuffled),
        lambda: pm.lme4.evaluate(FORMULA, data, fit.theta, source="live", **shuffled),
        lambda: pm.lme4.to_r(fit, data, **shuffled),
        lambda: pm.lmer(FORMULA, data, **shuffled),
    ):
        with pytest.raises(pm.ArgumentError, match=f"{name} is a Series with another index"):
            ask()


CONTRASTS = {
    "short name": "sum",
    "full name": "contr.helmert",
    "matrix": np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]),
    "named columns": pd.DataFrame({"low": [0.0, 1.0, 0.0], "middle": [0.0, 0.0, 1.0]}),
    "levels in another order": pd.DataFrame(
        {"low": [0.0, 0.0, 1.0], "middle": [1.0, 0.0, -0.5]}, index=["mid", "hi", "lo"]
    ),
}


@pytest.mark.parametrize("kind", CONTRASTS)
def test_contrasts_mean_the_same_on_both_sides(data, kind) -> None:
    given = {"arm": CONTRASTS[kind]}
    ours = pm.lmer("score ~ arm + (1 | ward)", data, contrasts=given)
    at = pm.lme4.evaluate(
        "score ~ arm + (1 | ward)", data, ours.theta, contrasts=given, source="live"
    )
    assert list(at.beta.index) == list(ours.beta.index)
    distance = abs(at.beta - ours.beta) / ours.std_error
    assert distance.max() <= tol("statistic")


def test_contrasts_of_other_levels_are_refused_on_both_sides(data) -> None:
    given = {"arm": pd.DataFrame({"a": [0.0, 1.0, 2.0]}, index=["lo", "mid", "top"])}
    for fit in (pm.lmer, pm.lme4.lmer):
        with pytest.raises(pm.ArgumentError, match="contrasts of 'arm' have the rows"):
            fit("score ~ arm + (1 | ward)", data, contrasts=given)


# --- what stays behind


def test_nothing_of_ours_stays_in_the_session(r, data) -> None:
    before = list(r("ls(globalenv(), all.names = TRUE)")), list(r("search()"))
    fit = pm.lmer(FORMULA, data, weights=data["prec"], offset=data["base"], subset=data["keep"])
    mermod = pm.lme4.to_r(fit)
    back = pm.lme4.from_r(mermod)
    back.evaluate([1.0])
    assert back.condvar["ward"].shape == back.pev["ward"].shape
    pm.lme4.lmer(FORMULA, data, tight=True, source="live").evaluate([0.5])
    assert (list(r("ls(globalenv(), all.names = TRUE)")), list(r("search()"))) == before
    # and yet the merMod's call can be evaluated again
    (beta,) = r("function(m) lme4::fixef(update(m, . ~ . - dose))")(mermod)
    smaller = pm.lmer("score ~ 1 + (1 | ward)", data, weights="prec", offset="base", subset="keep")
    assert beta == pytest.approx(smaller.beta.iloc[0], abs=1e-4 * smaller.std_error.iloc[0])
    pm.lme4.to_r(fit, name="ours")
    assert set(r("ls(globalenv(), all.names = TRUE)")) == {*before[0], "ours"}
