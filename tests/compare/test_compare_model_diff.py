"""What makes two models different: each aspect is found, named and shown; nothing else is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from oracle import dense_as_fit
from small_models import crossed_model, sleepstudy_model, sleepstudy_theta

import pymackay as pm
from pymackay.compare.model_diff import model_diff
from pymackay.results import Fit, TermSummary

THETA = np.array([1.4, 0.3, 0.6, 0.8])


@pytest.fixture(scope="module")
def fit() -> Fit:
    return dense_as_fit(crossed_model(weighted=True), THETA, True)


def changed(fit: Fit, **changes: object) -> Fit:
    return fit.replace(model=dataclasses.replace(fit.model, **changes))


def the_difference(fit: Fit, other: Fit):
    differences = model_diff(fit, other)
    assert len(differences) == 1, differences
    result = pm.compare(fit, other)
    assert (result.verdict, result.ok) == ("different model", False)
    assert result.table.empty  # no number is compared
    assert result.same_theta == "not checked"
    assert differences[0].aspect in result.sentence
    assert differences[0].aspect in str(result)
    return differences[0]


def test_same_model_has_no_differences(fit):
    assert model_diff(fit, fit) == []


def test_reml_against_ml(fit):
    result = the_difference(fit, dense_as_fit(crossed_model(weighted=True), THETA, False))
    assert (result.aspect, result.ours, result.theirs) == ("criterion", "REML", "ML")


def test_renamed_column(fit):
    result = the_difference(fit, changed(fit, fixed=("(Intercept)", "x", "z2")))
    assert (result.aspect, result.ours, result.theirs) == ("fixed effects", "z", "z2")


def test_dropped_column(fit):
    result = the_difference(fit, fit.replace(dropped=("w",)))
    assert (result.aspect, result.ours, result.theirs) == ("dropped columns", "nothing more", "w")


def test_columns_dropped_by_an_engine_that_does_not_say_so(fit):
    silent = fit.replace(not_offered={"dropped": "the engine does not give it"})
    other = fit.replace(dropped=("w",))
    assert model_diff(silent, other) == model_diff(other, silent) == []


def test_contrasts(fit):
    ours = changed(fit, contrasts={"recipe": "contr.treatment"})
    result = the_difference(ours, changed(fit, contrasts={"recipe": "contr.sum"}))
    assert dataclasses.astuple(result) == ("contrasts", "recipe", "contr.treatment", "contr.sum")
    # an engine that says nothing about contrasts is judged by the columns' names
    assert model_diff(ours, fit) == []


def test_double_bar_expansion_is_shown_as_terms():
    joined = dense_as_fit(sleepstudy_model(), sleepstudy_theta(), True)
    split = dense_as_fit(sleepstudy_model(double_bar=True), [0.9, 0.2], True)
    result = the_difference(joined, split)
    assert (result.aspect, result.item) == ("random effects", "Subject")
    assert result.ours == "((Intercept), Days | Subject)"
    assert result.theirs == "((Intercept) | Subject) + (Days | Subject)"


def test_term_that_one_side_lacks(fit):
    result = the_difference(fit, changed(fit, terms=fit.model.terms[:1]))
    assert (result.item, result.ours, result.theirs) == ("h", "((Intercept) | h)", "none")


def test_order_of_terms_and_effects_is_no_difference(fit):
    g, h = fit.model.terms
    assert model_diff(fit, changed(fit, terms=(h, TermSummary("g", "g", g.effects[::-1])))) == []


def test_renamed_level(fit):
    levels = {**fit.model.levels, "h": ("h0", "h1", "h2", "h3", "h4", "H5")}
    result = the_difference(fit, changed(fit, levels=levels))
    assert (result.aspect, result.item, result.ours, result.theirs) == ("levels", "h", "h5", "H5")


def test_levels_in_another_order(fit):
    levels = {**fit.model.levels, "h": ("h0", "h1", "h3", "h2", "h4", "h5")}
    result = the_difference(fit, changed(fit, levels=levels))
    assert (result.aspect, result.item) == ("order of levels", "h")
    assert (result.ours, result.theirs) == ("... h2, h3, h4 ...", "... h3, h2, h4 ...")


def test_many_levels_are_shown_as_a_few(fit):
    levels = {**fit.model.levels, "g": tuple(f"k{i}" for i in range(9))}
    result = the_difference(fit, changed(fit, levels=levels))
    assert result.ours == "g0, g1, g2, g3, g4 and 4 more"


def test_dropped_row(fit):
    model = crossed_model(weighted=True)
    keep = np.arange(90) != 41
    shorter = dataclasses.replace(
        model,
        y=model.y[keep],
        X=model.X[keep],
        rows=model.rows[keep],
        terms=tuple(dataclasses.replace(t, columns=t.columns[keep]) for t in model.terms),
        factors={k: dataclasses.replace(f, codes=f.codes[keep]) for k, f in model.factors.items()},
        weights=model.weights[keep],
        offset=model.offset[keep],
    )
    differences = model_diff(fit, dense_as_fit(shorter, THETA, True))
    assert [(d.item, d.ours, d.theirs) for d in differences] == [
        ("number", "90", "89"),
        ("labels", "41", "nothing more"),
    ]


def test_row_labels_are_compared_as_text(fit):
    relabelled = changed(fit, rows=pd.Index([str(i) for i in range(90)]))
    assert model_diff(fit, relabelled) == []
    shifted = changed(fit, rows=pd.Index([str(i + 1) for i in range(90)]))
    assert [d.aspect for d in model_diff(fit, shifted)] == ["rows", "rows"]


def test_rows_whose_labels_repeat_are_compared_as_they_stand(fit):
    repeated = changed(fit, rows=pd.Index([0] * 90))
    assert model_diff(repeated, repeated) == []


def test_another_response(fit):
    fitted = fit.fitted.copy()
    fitted.iloc[7] += 1e-6
    result = the_difference(fit, fit.replace(fitted=fitted))
    assert (result.aspect, result.item) == ("response", "1 of 90 rows, first 7")


@pytest.mark.parametrize("what", ["weights", "offset"])
def test_another_weight_or_offset(fit, what):
    values = getattr(fit.model, what).copy()
    values[3] *= 1.0 + 1e-9
    result = the_difference(fit, changed(fit, **{what: values}))
    assert (result.aspect, result.item) == (what, "1 of 90 rows, first 3")


@pytest.mark.parametrize(("what", "value"), [("weights", 1.0), ("offset", 0.0)])
def test_weights_of_one_and_an_offset_of_zero_are_none(fit, what, value):
    plain = changed(fit, weights=None, offset=None)
    assert model_diff(plain, changed(plain, **{what: np.full(90, value)})) == []
    assert the_difference(plain, changed(plain, **{what: np.full(90, 2.0)})).aspect == what


def test_every_difference_is_shown(fit):
    other = changed(fit.replace(reml=False), fixed=("(Intercept)", "x", "q"), weights=None)
    result = pm.compare(fit, other)
    assert result.model_diff["aspect"].tolist() == ["criterion", "fixed effects", "weights"]
    assert list(result.model_diff.columns) == ["aspect", "item", "ours", "theirs"]


def test_a_response_that_its_offset_dwarfs_is_the_same_but_for_rounding():
    model = crossed_model(weighted=True)
    tiny = dataclasses.replace(model, y=1e-8 * model.y, offset=np.linspace(1.0, 2.0, len(model.y)))
    fit = dense_as_fit(tiny, THETA, True)
    rounded = fit.replace(fitted=fit.fitted + 2e-16, residuals=fit.residuals + 2e-16)
    assert model_diff(fit, rounded) == []
    moved = fit.replace(fitted=fit.fitted + 1e-10)
    assert [result.aspect for result in model_diff(fit, moved)] == ["response"]
