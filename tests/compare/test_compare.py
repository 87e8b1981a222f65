"""Every verdict, from fits built so that it must be given; and none when a digit is changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from oracle import dense_as_fit, dense_optimum
from small_models import (
    crossed_model,
    factor_of,
    reordered,
    sleepstudy_model,
    sleepstudy_theta,
    twin_factor_model,
)

import pymackay as pm
from pymackay.compare.align import map_theta
from pymackay.compare.decision import VERDICTS
from pymackay.compare.tolerances import TOLERANCES
from pymackay.results import Fit

# lme4 1.1-31's default answer to sleepstudy; its variance is 612.1002 where 612.0899 is exact
LMER_THETA = np.array([0.966741773967412343, 0.015169058896036137, 0.230909953207794533])


@pytest.fixture(scope="module")
def ours() -> Fit:
    return dense_as_fit(sleepstudy_model(), sleepstudy_theta(), True)


@pytest.fixture(scope="module")
def theirs() -> Fit:
    """A reference as lme4 gives it: its own theta, no pev, and it cannot be evaluated."""
    fit = dense_as_fit(sleepstudy_model(), LMER_THETA, True)
    return fit.replace(
        engine=pm.results.Engine("lme4", {"lme4": "1.1-31"}, "recorded"),
        pev_source=None,
        evaluate_source=None,
    )


def blind(fit: Fit) -> Fit:
    return fit.replace(evaluate_source=None)


def scaled(frame: pd.DataFrame, row: int, column: int, factor: float) -> pd.DataFrame:
    values = frame.to_numpy(copy=True)
    values[row, column] *= factor
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


# ---- same optimum


def test_lmers_default_answer_is_the_same_optimum(ours, theirs):
    result = pm.compare(ours, theirs)
    assert (result.verdict, result.ok, result.same_theta) == ("same optimum", True, "agreed")
    assert -2e-9 < result.excess < 0.0
    assert result.model_diff.empty
    table = result.table
    assert set(table["stage"]) == {"same theta", "optimum"}
    assert not (table["ok"] == False).any()  # noqa: E712  nullable: NA stays out


def test_distances_are_in_statistical_units(ours, theirs):
    table = pm.compare(ours, theirs).table
    at = table[table["stage"] == "optimum"].set_index(["quantity", "name"])
    variance = at.loc[("variance", "(Intercept)")]
    assert variance["difference"] == pytest.approx(612.08993866 - 612.100158025, abs=1e-6)
    assert variance["distance"] == pytest.approx(0.010219 / 612.1, rel=1e-3)
    sigma = at.loc[("sigma", "")]
    assert sigma["distance"] == pytest.approx(abs(sigma["difference"]) / ours.sigma, rel=1e-9)
    b = at.loc["b"].iloc[0]
    assert b["tolerance"] == pytest.approx(TOLERANCES["b"].value, rel=1e-6)
    level, effect = str(b.name).split(": ")
    k = list(ours.ranef["Subject"].index).index(level)
    i = list(ours.ranef["Subject"].columns).index(effect)
    sd = max(np.sqrt(f.condvar["Subject"][k, i, i]) for f in (ours, theirs))
    assert b["distance"] == pytest.approx(abs(b["difference"]) / sd, rel=1e-9)
    beta = at.loc["beta"]
    assert list(beta.index) == ["(Intercept)", "Days"]


def test_beta_is_measured_in_standard_errors(ours):
    moved = blind(ours).replace(beta=ours.beta + 0.5 * ours.std_error)
    table = pm.compare(blind(ours), moved).table
    beta = table[table["quantity"] == "beta"]
    assert beta["distance"].tolist() == pytest.approx([0.5, 0.5])
    assert beta["ok"].tolist() == [False, False]


def test_what_is_not_offered_is_not_agreed(ours, theirs):
    result = pm.compare(ours, theirs.replace(condvar_source=None))
    lacking = result.table[result.table["quantity"].isin(["condvar", "pev"])]
    assert lacking["ok"].isna().all()
    assert set(lacking["note"]) == {"not offered by lme4"}
    assert result.verdict == "same optimum"
    assert "var(b|y) Subject: not offered by lme4" in str(result)


def test_where_neither_can_evaluate_it_is_not_checked(ours, theirs):
    result = pm.compare(blind(ours), theirs)
    assert (result.verdict, result.same_theta) == ("same optimum", "not checked")
    assert "not checked at one theta" in result.sentence
    assert "same theta" not in set(result.table["stage"])


def test_reference_is_evaluated_where_ours_cannot_be(ours):
    reference = dense_as_fit(sleepstudy_model(), LMER_THETA, True)
    result = pm.compare(blind(ours), reference)
    assert (result.verdict, result.same_theta) == ("same optimum", "agreed")
    assert result.excess == pytest.approx(ours.criterion - reference.criterion, abs=1e-11)


# ---- a digit is changed


ALTERED = {
    "criterion": lambda f: f.replace(criterion=f.criterion * (1 + 1e-8)),
    "beta": lambda f: f.replace(beta=f.beta * [1.0, 1 + 1e-6]),
    "vcov": lambda f: f.replace(vcov=scaled(f.vcov, 0, 1, 1 + 1e-5)),
    "sigma": lambda f: f.replace(sigma=f.sigma * (1 + 1e-6)),
    "covariance": lambda f: f.replace(
        varcorr={"Subject": scaled(f.varcorr["Subject"], 1, 0, 1 + 1e-4)}
    ),
    "variance": lambda f: f.replace(
        varcorr={"Subject": scaled(f.varcorr["Subject"], 1, 1, 1 + 1e-6)}
    ),
    "b": lambda f: f.replace(ranef={"Subject": scaled(f.ranef["Subject"], 4, 1, 1 + 1e-5)}),
    "condvar": lambda f: f.replace(
        condvar_source=lambda: {"Subject": f.condvar["Subject"] * (1 + 1e-6)}
    ),
    "fitted": lambda f: f.replace(fitted=f.fitted + 1e-3, residuals=f.residuals - 1e-3),
}


@pytest.mark.parametrize("quantity", ALTERED)
def test_changed_digit_of_the_reference_is_found_and_named(ours, theirs, quantity):
    result = pm.compare(ours, ALTERED[quantity](theirs))
    assert (result.verdict, result.ok, result.same_theta) == ("different model", False, "differs")
    assert quantity in " ".join(result.model_diff["item"])
    assert result.table.loc[result.table["ok"] == False, "quantity"].tolist() == [quantity]  # noqa: E712


def test_changed_theta_of_the_reference_is_found(ours, theirs):
    result = pm.compare(ours, theirs.replace(theta=theirs.theta * (1 + 1e-4)))
    assert (result.verdict, result.ok) == ("different model", False)


@pytest.mark.parametrize(
    ("quantity", "change"),
    [
        ("criterion", lambda f: f.replace(criterion=f.criterion * (1 + 1e-7))),
        ("beta", lambda f: f.replace(beta=f.beta * [1.0, 1.01])),
        ("std_error", lambda f: f.replace(vcov=f.vcov * 1.01)),
        ("sigma", lambda f: f.replace(sigma=f.sigma * 1.001)),
        ("b", lambda f: f.replace(ranef={"Subject": scaled(f.ranef["Subject"], 4, 1, 1.2)})),
        ("fitted", lambda f: f.replace(fitted=f.fitted + 1.0, residuals=f.residuals - 1.0)),
    ],
)
def test_changed_digit_is_found_without_evaluation_too(ours, theirs, quantity, change):
    result = pm.compare(blind(ours), change(theirs))
    assert not result.ok
    found = result.table.loc[result.table["ok"] == False, "quantity"]  # noqa: E712
    if quantity == "criterion":
        assert result.verdict == "ours lower"
    else:
        assert set(found) == {quantity}


def test_nan_never_agrees(ours, theirs):
    assert not pm.compare(ours, theirs.replace(sigma=float("nan"))).ok
    assert not pm.compare(ours, theirs.replace(criterion=float("nan"))).ok
    result = pm.compare(blind(ours), theirs.replace(beta=theirs.beta * [1.0, np.nan]))
    assert not result.ok


# ---- which criterion is lower


@pytest.mark.parametrize("factor", [1.02, 1.5])
def test_reference_that_stopped_early_is_ours_lower(ours, factor):
    reference = dense_as_fit(sleepstudy_model(), LMER_THETA * factor, True)
    result = pm.compare(ours, reference)
    assert (result.verdict, result.ok) == ("ours lower", True)
    assert result.excess == pytest.approx(ours.criterion - reference.criterion, rel=1e-6)
    numbers = result.table[result.table["stage"] == "optimum"].set_index("quantity")
    assert numbers.loc["criterion", "ok"]
    assert numbers.drop("criterion")["ok"].isna().all()


def test_lower_by_less_than_the_tolerance_is_the_same_optimum(ours):
    model = sleepstudy_model()
    theta = sleepstudy_theta()
    for step, verdict in ((1e-5, "same optimum"), (1e-3, "ours lower")):
        reference = dense_as_fit(model, theta * [1.0 + step, 1.0, 1.0], True)
        result = pm.compare(ours, reference)
        assert (reference.criterion - ours.criterion > 1e-6) == (verdict == "ours lower")
        assert result.verdict == verdict


def test_lower_criterion_that_could_not_be_checked_does_not_hold(ours):
    reference = blind(dense_as_fit(sleepstudy_model(), LMER_THETA * 1.1, True))
    result = pm.compare(blind(ours), reference)
    assert (result.verdict, result.ok) == ("ours lower", False)
    assert "not checked" in result.sentence


def test_ours_that_stopped_early_is_theirs_lower(ours, theirs):
    early = dense_as_fit(sleepstudy_model(), LMER_THETA * 1.01, True)
    result = pm.compare(early, theirs)
    assert (result.verdict, result.ok) == ("theirs lower", False)
    assert "defect" in VERDICTS[result.verdict].advice


# ---- order of terms and effects


@pytest.mark.parametrize(
    ("terms", "effects"),
    [([1, 0], [[0], [0, 1]]), ([0, 1], [[1, 0], [0]]), ([1, 0], [[0], [1, 0]])],
)
@pytest.mark.parametrize("reml", [True, False])
def test_terms_and_effects_in_another_order_are_the_same_model(terms, effects, reml):
    model = crossed_model(weighted=True)
    theta = np.array([1.4, 0.3, 0.6, 0.8])
    other = reordered(model, terms, effects)
    fit = dense_as_fit(model, theta, reml)
    moved = dense_as_fit(other, map_theta(theta, model.summary().terms,
                         other.summary().terms), reml)  # fmt: skip
    for result in (pm.compare(fit, moved), pm.compare(moved, fit), pm.compare(blind(fit), moved)):
        assert (result.verdict, result.ok, result.same_theta) == ("same optimum", True, "agreed")
        assert np.nanmax(result.table["distance"]) < 1e-10


def test_columns_and_rows_in_another_order_are_the_same_model():
    model = crossed_model(weighted=True)
    theta = np.array([1.4, 0.3, 0.6, 0.8])
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(90), [2, 0, 1]
    other = dataclasses.replace(
        model,
        y=model.y[rows],
        X=model.X[np.ix_(rows, columns)],
        fixed=tuple(model.fixed[c] for c in columns),
        terms=tuple(dataclasses.replace(t, columns=t.columns[rows]) for t in model.terms),
        factors={
            name: dataclasses.replace(f, codes=f.codes[rows]) for name, f in model.factors.items()
        },
        rows=model.rows[rows],
        weights=model.weights[rows],
        offset=model.offset[rows],
    )
    result = pm.compare(dense_as_fit(model, theta, True), dense_as_fit(other, theta, True))
    assert (result.verdict, result.ok) == ("same optimum", True)
    assert np.nanmax(result.table["distance"]) < 1e-10


def test_terms_are_not_matched_by_position():
    model = crossed_model()
    other = reordered(model, [1, 0], [[0], [0, 1]])
    fit = dense_as_fit(model, [1.4, 0.3, 0.6, 0.8], True)
    wrong = dense_as_fit(other, [1.4, 0.3, 0.6, 0.8], True)  # another model's numbers
    assert pm.compare(fit, wrong).verdict in ("ours lower", "theirs lower")


# ---- flat ridge and boundary


def twin(share: float, total: float = 1.5) -> Fit:
    theta = np.sqrt([share * total, (1.0 - share) * total])
    return dense_as_fit(twin_factor_model(), theta, True, singular=share in (0.0, 1.0))


def test_variances_that_only_their_sum_determines_are_a_flat_ridge():
    result = pm.compare(twin(0.5), twin(0.9))
    assert (result.verdict, result.ok) == ("flat ridge", True)
    table = result.table[result.table["stage"] == "optimum"].set_index("quantity")
    assert table.loc["variance", "ok"].isna().all()
    assert table.loc[["beta", "fitted"], "ok"].all()


def test_flat_ridge_does_not_excuse_another_beta():
    other = blind(twin(0.9))
    result = pm.compare(blind(twin(0.5)), other.replace(beta=other.beta * 1.01))
    assert (result.verdict, result.ok) == ("flat ridge", False)


def test_same_sum_is_needed_for_a_flat_ridge():
    assert pm.compare(twin(0.5), twin(0.9, total=2.5)).verdict in ("ours lower", "theirs lower")


@pytest.fixture(scope="module")
def no_group_effect():
    """Groups that are more alike than chance allows: the best variance is zero."""
    model = twin_factor_model()
    g = model.factors["first"].codes
    y = np.random.default_rng(3).normal(size=60)
    y -= 0.9 * pd.Series(y).groupby(g).transform("mean").to_numpy()
    model = dataclasses.replace(
        model, y=y, terms=model.terms[:1], factors={"first": model.factors["first"]}
    )
    assert dense_optimum(model, True) == pytest.approx([0.0], abs=1e-6)
    return model


@pytest.mark.parametrize("theta", [0.0, 1e-5])
def test_variance_of_zero_is_a_boundary(no_group_effect, theta):
    ours = dense_as_fit(no_group_effect, [0.0], True, singular=True)
    theirs = dense_as_fit(no_group_effect, [theta], True, singular=theta == 0.0)
    for result in (pm.compare(ours, theirs), pm.compare(theirs, ours)):
        assert (result.verdict, result.ok) == ("boundary", True)
        assert np.isfinite(result.table["distance"]).all()


def test_boundary_that_the_reference_missed_is_ours_lower(no_group_effect):
    ours = dense_as_fit(no_group_effect, [0.0], True, singular=True)
    theirs = dense_as_fit(no_group_effect, [0.2], True)
    assert pm.compare(ours, theirs).verdict == "ours lower"
    assert pm.compare(theirs, ours).verdict == "theirs lower"


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.replace(sigma=f.sigma * 1.001),
        lambda f: f.replace(beta=f.beta + 0.01 * f.std_error),
        lambda f: f.replace(varcorr={"first": f.varcorr["first"] + 0.01 * f.sigma**2}),
    ],
)
def test_boundary_does_not_excuse_other_numbers(no_group_effect, change):
    ours = dense_as_fit(no_group_effect, [0.0], True, singular=True)
    result = pm.compare(blind(ours), change(blind(ours)))
    assert (result.verdict, result.ok) == ("boundary", False)


def test_numbers_that_contradict_equal_variances_are_two_functions(ours):
    other = blind(ours).replace(beta=ours.beta * 1.1)
    result = pm.compare(blind(ours), other)
    assert (result.verdict, result.ok) == ("different model", False)
    assert "beta" in result.model_diff.loc[0, "item"]


# ---- different data behind the same names


def test_column_with_other_values_under_the_same_name_is_a_different_model(ours):
    model = sleepstudy_model()
    scaled_days = dataclasses.replace(model, X=model.X * [1.0, 2.0])
    result = pm.compare(ours, dense_as_fit(scaled_days, LMER_THETA, True))
    assert (result.verdict, result.same_theta) == ("different model", "differs")


def test_rows_assigned_to_other_levels_are_a_different_model(ours):
    model = sleepstudy_model()
    labels = np.array(model.factors["Subject"].levels)[model.factors["Subject"].codes]
    labels[[0, 179]] = labels[[179, 0]]
    other = dataclasses.replace(model, factors={"Subject": factor_of("Subject", labels)})
    assert pm.compare(ours, dense_as_fit(other, LMER_THETA, True)).verdict == "different model"


# ---- the rest


def test_gap_of_both_is_there_and_shows_how_far_lmer_stopped_short(ours, theirs):
    gap = pm.compare(ours, theirs).variance_gap
    relative = (gap["residue"].abs() / gap["variance"]).groupby(gap["fit"]).max()
    assert relative["ours"] < 1e-9
    assert 1e-6 < relative["theirs"] < 1e-4


def test_gap_is_empty_where_nobody_offers_error_variances(ours, theirs):
    bare = blind(ours).replace(pev_source=None)
    result = pm.compare(bare, theirs)
    assert result.variance_gap.empty
    assert "variance gap" not in str(result)


@pytest.mark.parametrize("name", ["fit", "reference"])
def test_anything_but_a_fit_is_refused(ours, name):
    arguments = {"fit": ours, "reference": ours, name: "lme4"}
    with pytest.raises(pm.ArgumentError, match=rf"{name}: compare needs a Fit.* not a str"):
        pm.compare(**arguments)


def test_every_verdict_says_what_it_means_and_what_to_do():
    assert list(VERDICTS) == [
        "different model",
        "same optimum",
        "ours lower",
        "theirs lower",
        "flat ridge",
        "boundary",
        "no optimum",
        "not a likelihood",
        "another mode",
    ]
    assert all(meaning.means and meaning.advice for meaning in VERDICTS.values())


def test_every_tolerance_has_a_unit_and_a_reason_and_cannot_be_changed():
    assert all(t.unit and len(t.reason) > 20 for t in TOLERANCES.values())
    with pytest.raises(TypeError):
        TOLERANCES["beta"] = TOLERANCES["b"]  # type: ignore[index]


# ---- a response that is large beside its spread


def lifted(by: float, digits_lost: float = 0.0) -> Fit:
    """Sleepstudy with a constant added; its numbers off by so many standard errors."""
    model = sleepstudy_model()
    fit = dense_as_fit(model, sleepstudy_theta(), True)
    beta = fit.beta + [by, 0.0] + digits_lost * fit.std_error
    return blind(fit).replace(beta=beta, fitted=fit.fitted + by)


@pytest.mark.parametrize(
    ("by", "digits_lost", "verdict"),
    [
        (0.0, 1.1e-3, "different model"),
        (1e9, 1.1e-3, "same optimum"),  # 10 eps 180^1.5 1e9 / 25.6 = 2e-4 more are allowed
        (1e9, 1.3e-3, "different model"),
    ],
)
def test_large_response_allows_what_rounding_costs(by, digits_lost, verdict):
    result = pm.compare(lifted(by), lifted(by, digits_lost))
    assert result.verdict == verdict


def test_response_that_rounding_drowns_cannot_be_checked():
    ours = lifted(1e13)
    early = dense_as_fit(sleepstudy_model(), LMER_THETA * 1.1, True)
    early = early.replace(fitted=early.fitted + 1e13, beta=early.beta + np.array([1e13, 0.0]))
    ours = ours.replace(evaluate_source=lambda theta: early)
    result = pm.compare(ours, early)
    assert (result.verdict, result.ok, result.same_theta) == ("ours lower", False, "not checked")
    assert "which does not centre it" in " ".join(str(result).split())


# ---- a model that rounding blurs


@pytest.fixture(scope="module")
def blurred():
    """Nearly collinear effects, of a covariate far off zero, that dwarf the residuals."""
    rng = np.random.default_rng(8)
    g, x = np.repeat(np.arange(6), 5), 10.0 + rng.normal(size=30)
    b = rng.normal(size=(6, 2))
    y = b[g, 0] + b[g, 1] * x + 1e-4 * rng.normal(size=30)
    data = pd.DataFrame({"y": y, "x": x, "g": g.astype(str)})
    return pm.evaluate("y ~ x + (x || g)", data, [1e3, 1e2])


def moved(fit, by):
    """The same fit, every prediction moved by so many conditional standard deviations."""
    unit = {g: np.sqrt(np.diagonal(v, axis1=1, axis2=2)) for g, v in fit.condvar.items()}
    return fit.replace(ranef={g: table + by * unit[g] for g, table in fit.ranef.items()})


def test_rounding_of_an_ill_conditioned_model_is_no_other_model(blurred):
    result = pm.compare(blurred, moved(blurred, 1e-5))
    assert (result.verdict, result.ok, result.same_theta) == ("same optimum", True, "agreed")
    said = " ".join(str(result).split())
    assert "the model is ill-conditioned, rounding may move them by" in said
    well = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    assert pm.compare(well, moved(well, 1e-5)).verdict == "different model"


def test_an_ill_conditioned_model_does_not_hide_another_one(blurred):
    other = blurred.replace(beta=blurred.beta + 0.1 * blurred.std_error)
    result = pm.compare(blurred, other)
    assert (result.verdict, result.same_theta) == ("different model", "differs")
    assert result.model_diff["item"].str.contains("beta").all()


def test_a_search_that_stops_a_little_early_is_said_to_do_so(ours):
    """Criteria equal to 1e-6, beta more than its tolerance apart, and one function: theta alone."""
    early = dense_as_fit(sleepstudy_model(), ours.theta * (1 + 3e-5), True)
    strict = pm.compare(ours, early, tolerances={"sigma": 1e-9, "std_error": 1e-9})
    assert 0.0 < -strict.excess < TOLERANCES["criterion"].value
    assert (strict.verdict, strict.ok, strict.same_theta) == ("ours lower", True, "agreed")
    assert pm.compare(ours, early).verdict == "same optimum"
