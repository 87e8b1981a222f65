"""lme4 asked live: what it says now is what was recorded, and everything in a `Fit` is R's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.reference.live import live_model
from pymackay.reference.question import Question
from pymackay.reference.r.session import session
from pymackay.reference.record import listed_questions
from pymackay.reference.recorded import RecordedStore

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore::pymackay.RWarning")]

FORMULA = "Reaction ~ Days + (Days | Subject)"
# no subject has both effects, so that nothing depends on their correlation
FLAT = "distance ~ age + (0 + Sex | Subject)"
STORE = RecordedStore()
LISTED = list(listed_questions(r_reference_path("models.toml")))
LISTED_IDS = [
    f"{name}: {question.formula} {'reml' if question.reml else 'ml'} {i}"
    for i, (name, question) in enumerate(LISTED)
]
SMALL = [(name, question) for name, question in LISTED if len(question.data) < 1000]
SMALL_IDS = [i for i, (_, q) in zip(LISTED_IDS, LISTED, strict=True) if len(q.data) < 1000]


def live(question: Question, **changes: object) -> pm.Fit:
    return pm.lme4.lmer(question.formula, question.data, **{**given(question), **changes})


def given(question: Question) -> dict[str, object]:
    names = ("reml", "weights", "offset", "subset", "contrasts")
    return {name: getattr(question, name) for name in names} | {"source": "live"}


def at(question: Question, theta: pd.Series) -> pm.Fit:
    arguments = given(question)
    del arguments["source"]
    return pm.lme4.evaluate(question.formula, question.data, theta, **arguments)


def assert_same_model(a: pm.Fit, b: pm.Fit) -> None:
    for name in ("response", "fixed", "terms", "levels", "contrasts"):
        assert getattr(a.model, name) == getattr(b.model, name), name
    assert a.model.rows.equals(b.model.rows)
    for name in ("weights", "offset"):
        np.testing.assert_array_equal(getattr(a.model, name), getattr(b.model, name))
    assert a.dropped == b.dropped


def assert_close(a: pm.Fit, b: pm.Fit, statistic: float, relative: float) -> None:
    """Compare all that two fits say: beta in standard errors, effects in conditional sds."""
    assert_same_model(a, b)
    assert (abs(a.beta - b.beta) / b.std_error).max() <= statistic
    se = np.sqrt(np.outer(np.diag(b.vcov), np.diag(b.vcov)))
    assert (abs(a.vcov - b.vcov) / se).to_numpy().max() <= relative
    assert a.sigma == pytest.approx(b.sigma, rel=relative)
    for term, covariance in b.varcorr.items():
        size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        floor = (1e-4 * b.sigma) ** 2
        assert (
            abs(a.varcorr[term] - covariance) / np.maximum(size, floor)
        ).to_numpy().max() <= relative
    for group, effects in b.ranef.items():
        sd = np.sqrt(np.diagonal(b.pev[group], axis1=1, axis2=2))
        sd = np.maximum(sd, 1e-6 * b.sigma)
        assert (abs(a.ranef[group] - effects) / sd).to_numpy().max() <= statistic, group
        for name in ("condvar", "pev"):
            mine, theirs = getattr(a, name)[group], getattr(b, name)[group]
            size = sd[:, :, None] * sd[:, None, :]
            assert (abs(mine - theirs) / size).max() <= relative, (group, name)
    if "fitted" not in b.not_offered:
        assert abs(a.fitted - b.fitted).max() <= statistic * b.sigma
        assert abs(a.residuals - b.residuals).max() <= statistic * b.sigma


@pytest.mark.parametrize(("name", "question"), LISTED, ids=LISTED_IDS)
def test_r_still_gives_the_recorded_default(name: str, question: Question) -> None:
    now, then = live(question), STORE.fit(question)
    assert_same_model(now, then)
    assert now.criterion == pytest.approx(then.criterion, abs=tol("default criterion"))
    assert now.singular == then.singular


@pytest.mark.parametrize(("name", "question"), LISTED, ids=LISTED_IDS)
@pytest.mark.parametrize("how", ["default", "tight"])
def test_r_says_the_same_at_the_recorded_theta(name: str, question: Question, how: str) -> None:
    then = STORE.fit(question, how)
    now = at(question, then.theta)
    assert now.criterion == pytest.approx(then.criterion, rel=tol("criterion"))
    assert_close(now, then, tol("statistic"), tol("statistic"))


@pytest.mark.parametrize(("name", "question"), SMALL, ids=SMALL_IDS)
def test_tightened_again_it_is_the_same_optimum(name: str, question: Question) -> None:
    now, then = live(question, tight=True), STORE.fit(question, "tight")
    assert now.criterion == pytest.approx(then.criterion, abs=tol("tight criterion"))
    if question.formula == FLAT:
        assert (abs(now.beta - then.beta) / then.std_error).max() <= tol("tight")
        assert abs(now.fitted - then.fitted).max() <= tol("tight") * then.sigma
    else:
        assert_close(now, then, tol("tight"), tol("tight"))
    assert now.convergence.converged
    assert now.singular == then.singular


# --- each part of a Fit against R's own function for it


def kept(fit: pm.Fit) -> object:
    """Return the handle of the merMod behind a live fit."""
    return live_model(fit).kept


def probe(function: str, *arguments: object) -> object:
    """Call a function of lme4_probe.R."""
    session().call("source", str(Path(__file__).parents[1] / "support" / "lme4_probe.R"))
    return session().call(function, *arguments).value


def r(function: str, fit: pm.Fit, **named: object) -> np.ndarray:
    """Call R's own function on the merMod behind a live fit."""
    return probe("probe_fit", kept(fit), function, dict(named))


WEIGHTED = pytest.param(
    "angle ~ recipe * temp + (temp | replicate)", "cake", {"weights": "temp"}, id="weights"
)
MODELS = [
    pytest.param(FORMULA, "sleepstudy", {}, id="vector"),
    pytest.param("Reaction ~ Days + (Days || Subject)", "sleepstudy", {"reml": False}, id="||"),
    pytest.param("Reaction ~ 1 + (Days | Subject)", "sleepstudy", {"offset": "Days"}, id="offset"),
    WEIGHTED,
    pytest.param("strength ~ cask + (1 | batch / cask)", "Pastes", {}, id="nested"),
    pytest.param("score ~ Machine + (Machine | Worker)", "Machines", {}, id="factor"),
]


@pytest.mark.parametrize(("formula", "name", "arguments"), MODELS)
def test_numbers_are_those_of_r_s_own_functions(formula: str, name: str, arguments: dict) -> None:
    fit = pm.lme4.lmer(formula, pm.load_data(name), source="live", **arguments)
    assert fit.criterion == -2 * r("logLik", fit)[0]
    assert fit.loglik == r("logLik", fit)[0]
    assert fit.aic == pytest.approx(r("AIC", fit)[0], rel=1e-14)
    assert fit.bic == pytest.approx(r("BIC", fit)[0], rel=1e-14)
    assert fit.sigma == r("sigma", fit)[0]
    np.testing.assert_array_equal(fit.beta, r("fixef", fit))
    np.testing.assert_array_equal(fit.fitted, r("fitted", fit))
    np.testing.assert_array_equal(fit.residuals, r("residuals", fit))
    np.testing.assert_array_equal(fit.theta, r("getME", fit, name="theta"))
    assert fit.n_obs == r("nobs", fit)[0]
    if not fit.reml:
        assert fit.criterion == r("deviance", fit)[0]
    criterion = r("REMLcrit", fit)[0] if fit.reml else r("deviance", fit)[0]
    assert fit.criterion == criterion


@pytest.mark.parametrize(("formula", "name", "arguments"), MODELS)
def test_condvar_is_r_s_own(formula: str, name: str, arguments: dict) -> None:
    fit = pm.lme4.lmer(formula, pm.load_data(name), source="live", **arguments)
    for group, parts in probe("probe_condvar", kept(fit)).items():
        first = 0
        for part in parts:  # one array for each term: lme4 does not join them
            q = part.shape[0]
            mine = fit.condvar[group][:, first : first + q, first : first + q]
            np.testing.assert_allclose(
                mine, np.moveaxis(part, 2, 0), rtol=0, atol=tol("statistic") * abs(part).max()
            )
            first += q
        assert first == fit.ranef[group].shape[1]


@pytest.mark.parametrize(("formula", "name", "arguments"), MODELS)
def test_joint_blocks_are_those_of_the_mixed_model_equations(
    formula: str, name: str, arguments: dict
) -> None:
    """Condvar and pev, joined over terms, from the dense inverse of all equations together."""
    fit = pm.lme4.lmer(formula, pm.load_data(name), source="live", **arguments)
    X = r("getME", fit, name="X")
    Z = probe("probe_dense", kept(fit), "Z")
    factor = probe("probe_dense", kept(fit), "Lambda")
    weights = np.ones(len(X)) if fit.model.weights is None else fit.model.weights
    q, p = Z.shape[1], X.shape[1]
    G = fit.sigma**2 * factor @ factor.T
    V = Z @ G @ Z.T + np.diag(fit.sigma**2 / weights)
    solved = np.linalg.solve(V, np.hstack([X, Z @ G]))
    conditional = G - (Z @ G).T @ solved[:, p:]
    K = solved[:, p:].T @ X
    pev = conditional + K @ np.linalg.solve(X.T @ solved[:, :p], K.T)
    position = 0
    places: dict[str, list[np.ndarray]] = {group: [] for group in fit.ranef}
    for term in fit.model.terms:
        n, width = len(fit.model.levels[term.group]), len(term.effects)
        places[term.group].append(position + np.arange(n * width).reshape(n, width))
        position += n * width
    assert position == q
    for group, parts in places.items():
        index = np.hstack(parts)
        for got, dense in ((fit.condvar, conditional), (fit.pev, pev)):
            expected = dense[index[:, :, None], index[:, None, :]]
            atol = tol("oracle") * abs(expected).max()
            np.testing.assert_allclose(got[group], expected, rtol=0, atol=atol)


def test_names_are_those_of_the_theta_r_has() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lme4.evaluate(FORMULA, sleep, [1.0, 0.1, 0.2])
    assert list(fit.theta.index) == [
        "Subject.(Intercept)",
        "Subject.Days.(Intercept)",
        "Subject.Days",
    ]
    np.testing.assert_array_equal(fit.theta, [1.0, 0.1, 0.2])


# --- evaluate


def test_evaluate_takes_a_series_by_name_and_an_array_by_place() -> None:
    pastes = pm.load_data("Pastes")
    formula = "strength ~ 1 + (1 | batch) + (1 | sample)"
    theta = pd.Series({"batch.(Intercept)": 0.5, "sample.(Intercept)": 3.0})
    by_name = pm.lme4.evaluate(formula, pastes, theta)
    assert by_name.theta["batch.(Intercept)"] == 0.5
    assert list(by_name.theta.index) == ["sample.(Intercept)", "batch.(Intercept)"]
    by_place = pm.lme4.evaluate(formula, pastes, [3.0, 0.5])
    assert by_place.criterion == by_name.criterion


def test_evaluating_one_theta_leaves_the_others_alone() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lme4.lmer(FORMULA, sleep, source="live")
    before = r("logLik", fit)[0], r("fixef", fit)
    other = fit.evaluate([3.0, 0.0, 3.0])
    third = other.evaluate([0.0, 0.0, 0.0])
    assert other.criterion == pm.lme4.evaluate(FORMULA, sleep, [3.0, 0.0, 3.0]).criterion
    assert third.criterion > other.criterion > fit.criterion
    assert r("logLik", fit)[0] == before[0]
    np.testing.assert_array_equal(r("fixef", fit), before[1])
    assert abs(other.condvar["Subject"]).max() != abs(fit.condvar["Subject"]).max()
    assert fit.evaluate(fit.theta).criterion == fit.criterion
    assert abs(third.condvar["Subject"]).max() == 0.0


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([1.0], "3 values are expected, Subject.*; 1 came"),
        ([-1.0, 0.0, 1.0], r"Subject.\(Intercept\) cannot be below 0"),
        ([1.0, np.nan, 1.0], "finite"),
        (["a"] * 3, "numbers are expected"),
    ],
)
def test_a_wrong_theta_is_an_error_of_the_argument(theta: list, message: str) -> None:
    with pytest.raises(pm.ArgumentError, match=message):
        pm.lme4.evaluate(FORMULA, pm.load_data("sleepstudy"), theta)


# --- arguments


def test_arguments_reach_lmer() -> None:
    sleep = pm.load_data("sleepstudy")
    plain = pm.lme4.lmer(FORMULA, sleep, source="live")
    bobyqa = pm.lme4.lmer(FORMULA, sleep, control={"optimizer": "bobyqa"}, source="live")
    assert bobyqa.convergence.message.startswith("bobyqa")
    assert bobyqa.criterion == pytest.approx(plain.criterion, abs=tol("default criterion"))
    stopped = pm.lme4.lmer(
        FORMULA,
        sleep,
        start=[1.0, 0.0, 1.0],
        control={"optimizer": "nloptwrap", "optCtrl": {"maxeval": 3}, "calc.derivs": False},
        source="live",
    )
    assert stopped.criterion > plain.criterion + 0.1
    keep = (sleep.Days > 1).to_numpy()
    by_array = pm.lme4.lmer(FORMULA, sleep, subset=keep, source="live")
    by_expression = pm.lme4.lmer(FORMULA, sleep, subset="Days > 1", source="live")
    assert by_array.criterion == by_expression.criterion
    assert by_array.n_obs == keep.sum()


@pytest.mark.parametrize("name", ["weights", "offset"])
def test_a_column_or_an_array_is_the_same(name: str) -> None:
    sleep = pm.load_data("sleepstudy").assign(w=lambda d: d.Days + 1.5)
    by_name = pm.lme4.lmer(FORMULA, sleep, source="live", **{name: "w"})
    by_array = pm.lme4.lmer(FORMULA, sleep, source="live", **{name: sleep.w})
    assert by_name.criterion == by_array.criterion
    np.testing.assert_array_equal(getattr(by_name.model, name), sleep.w)
    np.testing.assert_array_equal(getattr(by_array.model, name), sleep.w)


def test_weights_are_in_the_criterion() -> None:
    """Doubling all weights doubles sigma squared, and leaves the criterion alone."""
    sleep = pm.load_data("sleepstudy")
    w = np.linspace(0.5, 2.0, len(sleep))
    theta = [1.0, 0.0, 0.2]
    one = pm.lme4.evaluate(FORMULA, sleep, theta, weights=w)
    two = pm.lme4.evaluate(FORMULA, sleep, np.array(theta) / np.sqrt(2), weights=2 * w)
    assert two.sigma**2 == pytest.approx(2 * one.sigma**2, rel=1e-10)
    assert two.criterion == pytest.approx(one.criterion, rel=tol("criterion"))


def test_contrasts_by_name_and_by_matrix() -> None:
    machines = pm.load_data("Machines")
    formula = "score ~ Machine + (1 | Worker)"
    named = pm.lme4.lmer(formula, machines, contrasts={"Machine": "contr.sum"}, source="live")
    matrix = [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]
    by_hand = pm.lme4.lmer(formula, machines, contrasts={"Machine": matrix}, source="live")
    assert named.model.contrasts == {"Machine": "contr.sum"}
    assert by_hand.model.contrasts == {"Machine": "matrix"}
    np.testing.assert_allclose(named.beta.to_numpy(), by_hand.beta.to_numpy(), rtol=1e-10)


# --- what R says on the way


def test_warnings_of_r_are_warnings_at_the_callers_line() -> None:
    sleep = pm.load_data("sleepstudy")
    control = {"optCtrl": {"maxeval": 5}}
    with pytest.warns(pm.RWarning, match="failed to converge") as caught:
        fit = pm.lme4.lmer(FORMULA, sleep, control=control, source="live")
    assert caught[0].filename == __file__
    assert any("converge" in message for message in fit.messages)
    assert not fit.convergence.converged


def test_messages_of_r_are_kept() -> None:
    sleep = pm.load_data("sleepstudy").assign(twice=lambda d: 2 * d.Days)
    fit = pm.lme4.lmer("Reaction ~ Days + twice + (1 | Subject)", sleep, source="live")
    assert fit.dropped == ("twice",)
    assert any("rank deficient" in message for message in fit.messages)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Reaction ~ Dayz + (1 | Subject)", "'Dayz' not found.*columns of data are Reaction, Days"),
        ("Reaction ~ Days", "[Nn]o random effects"),
        ("Reaction ~ Days + (1 | Subject", "does not parse"),
        ("Reaction", "a formula with a ~"),
        ("Reaction ~ Days + (1 | Days2) + (1 | Subject) ; system('true')", "does not parse"),
        ("Subject ~ Days + (1 | Subject)", "Subject|response|numeric"),
        ("Reaction ~ Days + (Days + I(Days^2) + factor(Days) | Subject)", "number of obs"),
    ],
)
def test_errors_of_r_are_ours_with_r_s_words(formula: str, message: str) -> None:
    with pytest.raises(pm.RError, match=message):
        pm.lme4.lmer(formula, pm.load_data("sleepstudy"), source="live")


def test_versions_for_the_doctor() -> None:
    result = pm.lme4.versions()
    assert pm.lme4.available()
    assert {"R", "lme4", "Matrix", "BLAS", "nloptr", "minqa"} <= set(result)
    assert "blas" in result["BLAS"].lower()


# --- R's own objects, both ways


def probe_object(function: str, *arguments: object) -> object:
    """Call a function of lme4_probe.R that returns R's own object."""
    return probe(function, *arguments)


@pytest.mark.parametrize(("formula", "name", "arguments"), MODELS)
def test_a_round_trip_keeps_everything(formula: str, name: str, arguments: dict) -> None:
    data = pm.load_data(name)
    fit = pm.lme4.lmer(formula, data, source="live", **arguments)
    back = pm.lme4.from_r(pm.lme4.to_r(fit))
    assert back.criterion == pytest.approx(fit.criterion, rel=tol("criterion"))
    assert back.reml == fit.reml
    assert_close(back, fit, tol("statistic"), tol("statistic"))
    again = back.evaluate(1.1 * fit.theta)
    assert again.criterion == pytest.approx(fit.evaluate(1.1 * fit.theta).criterion, rel=1e-12)


def test_a_fit_of_ours_becomes_a_mermod_at_our_theta() -> None:
    sleep = pm.load_data("sleepstudy")
    ours = pm.lmer(FORMULA, sleep)
    with pytest.raises(pm.ArgumentError, match="data: this fit does not hold"):
        pm.lme4.to_r(ours.replace(problem=None))
    back = pm.lme4.from_r(pm.lme4.to_r(ours, sleep))
    np.testing.assert_array_equal(back.theta, ours.theta)
    assert back.criterion == pytest.approx(ours.criterion, rel=tol("criterion"))


def test_other_data_than_the_fit_s_are_noticed() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer(FORMULA, sleep)
    with pytest.raises(pm.ArgumentError, match="Pass the data, weights"):
        pm.lme4.to_r(fit, sleep.assign(Reaction=sleep.Reaction + 1.0 * (sleep.Days == 3)))


def test_r_s_functions_work_on_what_we_hand_over() -> None:
    sleep = pm.load_data("sleepstudy")
    handed = pm.lme4.to_r(pm.lmer(FORMULA, sleep), sleep)
    native = pm.lme4.lmer(FORMULA, sleep, tight=True, source="live")
    session().call("source", str(Path(__file__).parents[1] / "support" / "lme4_probe.R"))
    result = session().call("probe_everything", handed).value
    assert result["class"] == ["lmerMod"]
    np.testing.assert_allclose(result["predict"], native.fitted, rtol=1e-7)
    np.testing.assert_allclose(result["new level"], [251.405104848485], rtol=1e-9)
    assert result["simulated"].shape == (180, 2)
    assert result["summary"].shape == (2, 3)
    assert result["updated"] == ["Reaction ~ (Days | Subject)"]
    assert 0 < result["anova p"][0] < 1e-4
    assert result["bootstrap"].shape == (2, 2)
    assert result["profiled"][0] > 0


@pytest.mark.parametrize(
    ("frame", "labels"),
    [
        ("sleepstudy", list(range(180))),
        ("sleepstudy[-(1:2), ]", list(range(2, 180))),
        ("`rownames<-`(sleepstudy, paste0('r', 1:180))", [f"r{i}" for i in range(1, 181)]),
    ],
)
def test_what_r_has_fitted_comes_over(frame: str, labels: list) -> None:
    mermod = probe_object("probe_lmer", frame)
    fit = pm.lme4.from_r(mermod)
    assert fit.formula == FORMULA
    assert list(fit.fitted.index) == labels
    assert fit.model.levels["Subject"][0] == "308"
    assert fit.evaluate(fit.theta).criterion == pytest.approx(fit.criterion, rel=1e-12)
    assert fit.pev["Subject"].shape == (18, 2, 2)
    assert pm.lme4.from_r(pm.lme4.to_r(fit)).criterion == fit.criterion


def test_what_is_no_lmer_fit_is_refused() -> None:
    with pytest.raises(pm.ArgumentError, match=r"a fit by lmer.* is expected, not .* class lm"):
        pm.lme4.from_r(probe_object("probe_lm"))
    with pytest.raises(
        pm.ArgumentError,
        match=r"mermod: an rpy2 object or .* is expected, not int",
    ):
        pm.lme4.from_r(3)
