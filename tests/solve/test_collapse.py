"""Tests of the collapse: the map of the literal loop, who survives it, and what the error says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway
from tolerances import tol

import pymackay as pm
from pymackay.model.model import GroupingFactor, Model, RandomTerm
from pymackay.solve.descent.effects import EffectsDescent
from pymackay.solve.loop.collapse import (
    SURVIVAL,
    explain_collapse,
    reliabilities,
    signal_ratios,
)


def slopes_model(data: pd.DataFrame) -> Model:
    """Build Reaction ~ Days + (Days | Subject)."""
    columns = np.column_stack([np.ones(len(data)), data["Days"]])
    codes = data["Subject"].cat.codes.to_numpy().astype(np.int32)
    return Model(
        formula="Reaction ~ Days + (Days | Subject)",
        response="Reaction",
        y=data["Reaction"].to_numpy(),
        X=columns,
        fixed=("(Intercept)", "Days"),
        terms=(RandomTerm("Subject", "Subject", ("(Intercept)", "Days"), columns),),
        factors={
            "Subject": GroupingFactor("Subject", tuple(data["Subject"].cat.categories), codes)
        },
        rows=data.index,
    )


def one_way_model(y: np.ndarray, codes: np.ndarray) -> Model:
    """Build y ~ 1 + (1 | g)."""
    ones = np.ones((len(y), 1))
    levels = tuple(map(str, range(codes.max() + 1)))
    return Model(
        formula="y ~ 1 + (1 | g)",
        response="y",
        y=y,
        X=ones,
        fixed=("(Intercept)",),
        terms=(RandomTerm("g", "g", ("(Intercept)",), ones),),
        factors={"g": GroupingFactor("g", levels, codes.astype(np.int32))},
        rows=pd.RangeIndex(len(y)),
    )


def one_way_data(seed: int, sd: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(8), 5)
    return 10.0 + rng.normal(size=8)[codes] * sd + rng.normal(size=40), codes


def test_sleepstudy_has_one_direction_on_each_side_of_survival() -> None:
    ratios = signal_ratios(slopes_model(pm.load_data("sleepstudy")))
    np.testing.assert_allclose(ratios, [2.697, 25.230], atol=tol("printed 3"), rtol=0)
    assert ratios[0] < SURVIVAL < ratios[1]


def test_signal_ratio_of_a_one_way_layout_is_the_f_statistic() -> None:
    y, codes = one_way_data(3, 1.5)
    expected = f_oneway(*(y[codes == j] for j in range(8))).statistic
    assert signal_ratios(one_way_model(y, codes)) == pytest.approx([expected], rel=tol("oracle"))


def test_signal_ratios_do_not_depend_on_units() -> None:
    model = slopes_model(pm.load_data("sleepstudy"))
    units = np.array([1e3, 1e-6])
    term = dataclasses.replace(model.terms[0], columns=model.terms[0].columns * units)
    scaled = dataclasses.replace(model, X=model.X * units, terms=(term,), y=model.y * 7.0)
    np.testing.assert_allclose(signal_ratios(scaled), signal_ratios(model), rtol=tol("oracle"))


def test_signal_ratios_need_balance() -> None:
    model = slopes_model(pm.load_data("sleepstudy").iloc[1:])
    assert signal_ratios(model) is None


def test_signal_ratios_need_one_term() -> None:
    model = slopes_model(pm.load_data("sleepstudy"))
    assert signal_ratios(dataclasses.replace(model, terms=model.terms * 2)) is None


def test_signal_ratios_need_rows_within_levels() -> None:
    y, codes = one_way_data(3, 1.5)
    assert signal_ratios(one_way_model(y[:8], np.arange(8))) is None
    assert signal_ratios(slopes_model(pm.load_data("sleepstudy").query("Days < 2"))) is None
    assert signal_ratios(slopes_model(pm.load_data("sleepstudy").query("Days < 1"))) is None
    assert signal_ratios(one_way_model(np.array([1.0, 1.0, 2.0, 2.0]), codes[3:7] // 1)) is None


@pytest.mark.parametrize(("seed", "sd"), [(3, 3.0), (4, 0.4)])
def test_literal_loop_follows_its_map(seed: int, sd: float) -> None:
    y, codes = one_way_data(seed, sd)
    model = one_way_model(y, codes)
    noise_var = float(np.mean([np.var(y[codes == j], ddof=1) for j in range(8)]))
    (s,) = signal_ratios(model)
    descent = EffectsDescent(model, {"g": [[1.0]]}, noise_var)
    var = 1.0
    for _ in range(6):
        (t,) = reliabilities(model, 0, np.array([[var]]), noise_var)
        assert t == pytest.approx(var * 5 / noise_var, rel=tol("oracle"))
        descent.set_variances({"g": [[var]]}, noise_var)
        descent.train()
        var = float(np.var(descent.ranef()["g"], ddof=1))
        assert var * 5 / noise_var == pytest.approx((t / (1 + t)) ** 2 * s, rel=tol("oracle"))


@pytest.mark.parametrize("s", [1.0, 2.697, 3.99, 4.01, 25.23])
def test_map_has_a_fixed_point_from_four_on(s: float) -> None:
    t = 1e3
    for _ in range(20_000):
        t = (t / (1 + t)) ** 2 * s
    if s < SURVIVAL:
        assert t < np.finfo(float).tiny
    else:
        expected = ((s - 2) + np.sqrt(s * (s - 4))) / 2
        assert t == pytest.approx(expected, rel=tol("oracle"))


def test_reliabilities_see_a_dead_direction_in_any_units() -> None:
    model = slopes_model(pm.load_data("sleepstudy"))
    sd = np.array([24.0, 6.0])
    dead = reliabilities(model, 0, np.outer(sd, sd), 650.0)
    assert abs(dead[0]) < 1e-14 * dead[1]
    alive = reliabilities(model, 0, np.diag(sd**2), 650.0)
    units = np.array([1e3, 1e-6])
    term = dataclasses.replace(model.terms[0], columns=model.terms[0].columns * units)
    scaled = dataclasses.replace(model, terms=(term,))
    again = reliabilities(scaled, 0, np.diag((sd / units) ** 2), 650.0)
    np.testing.assert_allclose(again, alive, rtol=tol("oracle"))
    assert alive.sum() == pytest.approx((10 * 24.0**2 + 285 * 6.0**2) / 650.0, rel=1e-13)


def test_error_says_where_and_why() -> None:
    model = slopes_model(pm.load_data("sleepstudy"))
    error = explain_collapse(model, 0, 3, [0.4876, 0.99384, 0.9999999999999998], 2e-17)
    assert (error.term, error.iteration) == ("Subject", 3)
    assert error.correlation == 0.9999999999999998
    text = str(error)
    assert "in iteration 3" in text
    assert "went 0.49, 0.994, 1." in text
    assert "s = (2.697, 25.230), so the direction with s = 2.697 dies" in text
    assert 'update="gamma"' in text


def test_error_without_correlation_or_balance() -> None:
    y, codes = one_way_data(4, 0.0)
    error = explain_collapse(one_way_model(y[1:], codes[1:]), 0, 9, [], 1e-20)
    assert np.isnan(error.correlation)
    assert "correlation went" not in str(error)
    assert "unbalanced" in str(error)
