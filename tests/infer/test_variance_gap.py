"""The variance gap: exact at an optimum, mapped to terms, safe at zero."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from oracle import dense_as_fit, dense_optimum
from small_models import crossed_model, reordered, sleepstudy_model, sleepstudy_theta
from tolerances import tol

import pymackay as pm
from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.gap.variance_gap import GAP_COLUMNS, variance_gap


@pytest.fixture(scope="module")
def sleepstudy():
    return dense_as_fit(sleepstudy_model(), sleepstudy_theta(), True)


@pytest.fixture(scope="module")
def crossed_ml():
    model = crossed_model(weighted=True)
    return model, dense_optimum(model, False)


def test_gap_closes_at_the_reml_optimum(sleepstudy):
    gap = variance_gap(sleepstudy)
    assert tuple(gap.columns) == GAP_COLUMNS
    assert gap["variance"].tolist() == pytest.approx([612.08993866, 35.0716605], rel=1e-10)
    assert (gap["residue"] / gap["variance"]).tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert gap["effect"].tolist() == ["(Intercept)", "Days"]
    assert gap["levels"].tolist() == [18, 18]


def test_parts_are_what_the_columns_say(sleepstudy):
    gap = variance_gap(sleepstudy).set_index("effect")
    days = gap.loc["Days"]
    b = sleepstudy.ranef["Subject"]["Days"]
    assert days["prediction_variance"] == pytest.approx(float(np.mean(b**2)), rel=1e-12)
    error = sleepstudy.pev["Subject"][:, 1, 1].mean()
    assert days["error_variance"] == pytest.approx(error, rel=1e-12)
    assert days["total"] == pytest.approx(days["prediction_variance"] + error, rel=1e-12)
    assert days["hidden_share"] == pytest.approx(error / 35.0716605, rel=1e-9)
    assert days["gamma"] == pytest.approx(18.0 - 18.0 * error / 35.0716605, rel=1e-9)
    # MacKay's divisor: sum of squares over gamma gives the variance back
    assert np.sum(b**2) / days["gamma"] == pytest.approx(35.0716605, rel=1e-9)


def test_reml_needs_pev_and_not_condvar(sleepstudy):
    with_condvar = sleepstudy.replace(pev_source=sleepstudy.condvar_source)
    gap = variance_gap(with_condvar)
    assert (gap["residue"] / gap["variance"]).min() > 1e-3


def test_ml_closes_with_condvar(crossed_ml):
    model, theta = crossed_ml
    gap = variance_gap(dense_as_fit(model, theta, False))
    assert gap["term"].tolist() == ["g", "g", "h"]
    # as far as a search without derivatives can see: the root of the criterion's rounding
    assert (gap["residue"] / gap["variance"]).abs().max() < 1e-6


def test_away_from_the_optimum_something_is_left_over(crossed_ml):
    model, theta = crossed_ml
    gap = variance_gap(dense_as_fit(model, 1.2 * theta, False))
    assert (gap["residue"] / gap["variance"]).min() > 0.01


def test_terms_of_one_group_are_told_apart():
    model = sleepstudy_model(double_bar=True)
    theta = np.array([0.9, 0.25])
    gap = variance_gap(dense_as_fit(model, theta, True)).set_index(["term", "effect"])
    swapped = variance_gap(dense_as_fit(reordered(model, [1, 0], [[0], [0]]), theta[::-1], True))
    swapped = swapped.set_index(["term", "effect"])
    assert list(swapped.index) == [("Subject.1", "Days"), ("Subject", "(Intercept)")]
    pd.testing.assert_frame_equal(gap, swapped.loc[gap.index])


def test_group_whose_terms_are_interleaved_with_another():
    model = crossed_model()
    first, second = model.terms
    split = dataclasses.replace(
        model,
        terms=(
            dataclasses.replace(first, effects=first.effects[:1], columns=first.columns[:, :1]),
            second,
            dataclasses.replace(
                first, name="g.1", effects=first.effects[1:], columns=first.columns[:, 1:]
            ),
        ),
    )
    fit = dense_as_fit(split, np.array([1.1, 0.5, 0.7]), True)
    gap = variance_gap(fit).set_index("term")
    assert gap.loc["g.1", "variance"] == pytest.approx(0.49 * fit.sigma**2)
    assert gap.loc["g.1", "prediction_variance"] == pytest.approx(np.mean(fit.ranef["g"]["x"] ** 2))
    assert gap.loc["h", "error_variance"] == pytest.approx(fit.pev["h"][:, 0, 0].mean())


def test_variance_of_zero_divides_nothing():
    with np.errstate(all="raise"):
        gap = variance_gap(
            dense_as_fit(crossed_model(), np.array([1.0, 0.2, 0.5, 0.0]), True, singular=True)
        ).set_index("term")
    zero = gap.loc["h"]
    assert zero["variance"] == 0.0
    assert zero["total"] == pytest.approx(0.0, abs=1e-15)
    assert zero["gamma"] == 0.0
    assert zero["hidden_share"] == 1.0


@pytest.mark.parametrize(("reml", "what"), [(True, "pev"), (False, "condvar")])
def test_fit_without_error_variances_is_refused_with_the_cure(reml, what):
    fit = dense_as_fit(sleepstudy_model(), sleepstudy_theta(), reml)
    with pytest.raises(PymackayError, match=rf"needs {what}.*Pass data="):
        variance_gap(fit.replace(**{f"{what}_source": None}))


def test_anything_but_a_fit_is_refused():
    with pytest.raises(ArgumentError, match=r"variance_gap needs a Fit.* not a dict"):
        variance_gap({})


SLEEP = "Reaction ~ Days + (Days | Subject)"


def without_errors(fit):
    """The same fit, as an engine gives it that has no error variances."""
    return fit.replace(pev_source=None, condvar_source=None)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("sleepstudy", SLEEP),
        ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
        ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
        ("Pastes", "strength ~ 1 + (1 | batch / cask)"),
        ("Dyestuff2", "Yield ~ 1 + (1 | Batch)"),
    ],
)
def test_error_variances_of_lme4_from_the_model_and_theta(name, formula, reml):
    data = pm.load_data(name)
    fit = pm.lme4.lmer(formula, data, reml=reml, source="recorded")
    own = variance_gap(fit)
    computed = variance_gap(without_errors(fit), data)
    assert computed["effect"].tolist() == own["effect"].tolist()
    unit = np.maximum(own["variance"], 1e-6)
    for column in ("error_variance", "total", "residue"):
        difference = (computed[column] - own[column]) / unit
        assert difference.abs().max() < tol("variance gap"), column


def test_what_lme4s_default_leaves_is_shown():
    data = pm.load_data("sleepstudy")
    theirs = variance_gap(without_errors(pm.lme4.lmer(SLEEP, data, source="recorded")), data)
    left = (theirs["residue"] / theirs["variance"]).abs()
    assert left.max() > 5e-6
    ours = variance_gap(pm.lmer(SLEEP, data))
    assert (ours["residue"] / ours["variance"]).abs().max() < tol("variance gap")


def test_weights_and_offset_count():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(8), 5)
    data = pd.DataFrame({"g": [f"g{k}" for k in g], "w": rng.uniform(0.5, 2.0, 40)})
    data["z"] = rng.normal(size=40)
    data["y"] = data["z"] + 2.0 * rng.normal(size=8)[g] + rng.normal(size=40)
    fit = pm.lmer("y ~ 1 + (1 | g)", data, weights="w", offset="z")
    computed = variance_gap(without_errors(fit), data, weights="w", offset="z")
    pd.testing.assert_frame_equal(computed, variance_gap(fit), rtol=1e-9, atol=1e-9)
    with pytest.raises(ArgumentError, match="was not made with these"):
        variance_gap(without_errors(fit), data, weights="w")


def test_data_of_another_fit_are_refused():
    data = pm.load_data("sleepstudy")
    fit = without_errors(pm.lmer(SLEEP, data))
    with pytest.raises(ArgumentError, match="170 rows are used, the fit had 180"):
        variance_gap(fit, data.iloc[10:])
    with pytest.raises(ArgumentError, match="was not made with these"):
        variance_gap(fit, data.assign(Reaction=data["Reaction"] + data["Days"] ** 2))
