"""What must stay when a model is said differently, on random designs; what an optimum must be."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import dense_criterion, dense_optimum
from random_designs import Design, assert_same_fit, designs
from tolerances import tol

import pymackay as pm
from pymackay.model.design.build import build_model

pytestmark = pytest.mark.filterwarnings("ignore:.*is singular.*")


def few(examples: int) -> settings:
    slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]
    examples *= int(os.environ.get("PYMACKAY_EXAMPLES", "1"))
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow_is_fine)


# ---- the same model, said differently


@few(10)
@given(designs(), st.integers(0, 10**6))
def test_order_of_rows_does_not_matter(design: Design, seed: int) -> None:
    shuffled = replace(design, data=design.data.sample(frac=1, random_state=seed))
    assert_same_fit(design.fit(), shuffled.fit())


@few(10)
@given(designs(), st.booleans())
def test_names_of_levels_do_not_matter(design: Design, keep_order: bool) -> None:
    def renamed(level: str) -> str:
        number = int(level[1:])
        return f"{level[0]}-{number if keep_order else 9 - number}"

    def all_renamed(group: str, level: str) -> str:
        return ":".join(renamed(part) for part in level.split(":"))

    groups = {name: design.data[name].map(renamed) for name in ("g", "h", "k")}
    assert_same_fit(design.fit(), design.with_data(**groups).fit(), levels=all_renamed)


@few(10)
@given(designs(), st.sampled_from([1e-6, 0.037, -2.5, 1e8]))
def test_unit_of_the_response(design: Design, unit: float) -> None:
    fit = design.fit()
    scaled = design.with_data(y=unit * design.data["y"], o=unit * design.data["o"]).fit()
    residual = fit.n_obs - len(fit.beta) * design.arguments["reml"]
    size = abs(unit)
    if unit < 0.0:
        scaled = _mirrored(scaled)
    assert_same_fit(fit, scaled, response=size, criterion=2.0 * residual * np.log(size))


def _mirrored(fit: pm.Fit) -> pm.Fit:
    """Turn the signs of what is linear in the response."""
    effects = {group: -table for group, table in fit.ranef.items()}
    return fit.replace(beta=-fit.beta, ranef=effects, fitted=-fit.fitted)


@few(10)
@given(designs(), st.sampled_from([1e-6, 0.037, 40.0, 1e6]))
def test_unit_of_a_covariate(design: Design, unit: float) -> None:
    scaled = design.with_data(x=unit * design.data["x"]).fit()
    shift = 2.0 * np.log(unit) * design.arguments["reml"]
    assert_same_fit(design.fit(), scaled, columns={"x": unit}, criterion=shift)


@few(8)
@given(designs(), st.sampled_from([-3.0, 1e3, 1e7]))
def test_constant_added_to_the_response(design: Design, constant: float) -> None:
    moved = design.with_data(y=constant + design.data["y"])
    assert_same_fit(design.fit(), moved.fit(), moved=constant)


@few(8)
@given(designs())
def test_an_offset_is_a_part_of_the_response(design: Design) -> None:
    part = 0.3 * design.data["x"] - 2.0
    before = replace(design, arguments={"reml": design.arguments["reml"]})
    after = before.with_data(y=design.data["y"] + part, part=part)
    fit, with_offset = before.fit(), after.fit(offset="part")
    fitted = with_offset.fitted - part[with_offset.fitted.index]
    assert_same_fit(fit, with_offset.replace(fitted=fitted))


@few(8)
@given(designs(), st.sampled_from([1e-3, 0.5, 7.0]))
def test_a_common_factor_of_the_weights_goes_into_sigma(design: Design, factor: float) -> None:
    heavier = design.with_data(w=factor * design.data["w"])
    arguments = {"weights": "w"}
    first, second = design.fit(**arguments), heavier.fit(**arguments)
    # sigma carries the factor, and nothing else does
    assert second.sigma / first.sigma == pytest.approx(np.sqrt(factor), rel=tol("invariance"))
    assert_same_fit(first, second, sigma=np.sqrt(factor))


@few(8)
@given(designs())
def test_rows_with_missing_values_are_as_if_they_were_not_there(design: Design) -> None:
    kept = replace(design, data=design.complete)
    assert_same_fit(kept.fit(), design.fit())


@few(6)
@given(designs())
def test_arrays_serve_as_columns_do(design: Design) -> None:
    arrays = {
        name: design.data[column].to_numpy()
        for name, column in (("weights", "w"), ("offset", "o"))
        if name in design.arguments
    }
    mask = (design.data["h"] != "h0").to_numpy()
    chosen = replace(design, data=design.data[mask])
    assert_same_fit(chosen.fit(), design.fit(**arrays, subset=mask))


EQUIVALENT = [
    ("y ~ x + (x | g)", "y ~ 1 + x + (1 + x | g)"),
    ("y ~ x + (x || g)", "y ~ x + (1 | g) + (0 + x | g)"),
    ("y ~ x + (0 + x | g)", "y ~ x + (x - 1 | g)"),
    ("y ~ x + f + (1 | g) + (1 | h)", "y ~ x + f + (1 | h) + (1 | g)"),
    ("y ~ x * f + (1 | g)", "y ~ x + f + x:f + (1 | g)"),
    ("y ~ x + I(x^2) + (1 | g)", "y ~ 1 + I(x^2) + x + (1 | g)"),
]


@pytest.mark.parametrize(("formula", "other"), EQUIVALENT)
@few(3)
@given(design=designs(formulas=("scalar",)))
def test_formulas_of_one_model(formula: str, other: str, design: Design) -> None:
    first, second = design.fit(formula), design.fit(other)
    order = list(first.beta.index)
    second = second.replace(beta=second.beta[order], vcov=second.vcov.loc[order, order])
    terms = {name: second.varcorr[name] for name in first.varcorr}
    assert_same_fit(first, second.replace(varcorr=terms))


@few(4)
@given(designs(formulas=("nested",)))
def test_nesting_is_an_interaction_of_factors(design: Design) -> None:
    slash, written = design.fit("y ~ x + (1 | g / k)"), design.fit("y ~ x + (1 | g) + (1 | g:k)")
    inner, outer = "k:g", "g"
    turned = slash.ranef[inner].rename(index=lambda level: ":".join(level.split(":")[::-1]))
    assert_same_fit(
        slash.replace(
            varcorr={"g:k": slash.varcorr[inner], outer: slash.varcorr[outer]},
            ranef={"g:k": turned, outer: slash.ranef[outer]},
        ),
        written,
    )


@few(8)
@given(designs(formulas=("slope", "crossed slope")), st.sampled_from([-4.0, 250.0]))
def test_a_correlated_slope_does_not_mind_where_zero_lies(design: Design, center: float) -> None:
    fit, moved = design.fit(), design.with_data(x=design.data["x"] - center).fit()
    shear = np.array([[1.0, center], [0.0, 1.0]])  # intercepts at the new zero
    expected = shear @ fit.varcorr["g"].to_numpy() @ shear.T
    size = np.sqrt(np.diag(expected) + fit.sigma**2)
    off = (moved.varcorr["g"] - expected) / np.outer(size, size)
    assert off.abs().max(axis=None) < tol("invariance")
    assert abs(moved.criterion - fit.criterion) < tol("rounding of a criterion")
    assert (moved.fitted - fit.fitted).abs().max() / fit.sigma < tol("invariance")
    assert moved.singular == fit.singular


# ---- what is known at one theta


def _some_theta(design: Design, seed: int) -> np.ndarray:
    names = design.fit().theta.index
    rng = np.random.default_rng(seed)
    diagonal = [name.count(".") == 1 for name in names]
    return np.where(diagonal, rng.uniform(0.1, 2.0, len(names)), rng.normal(size=len(names)))


@few(8)
@given(designs(), st.integers(0, 10**6))
def test_reml_is_ml_with_the_uncertainty_of_beta(design: Design, seed: int) -> None:
    theta = _some_theta(design, seed)
    ml, reml = design.at(theta, reml=False), design.at(theta, reml=True)
    n, p = ml.n_obs, len(ml.beta)
    np.testing.assert_allclose(reml.beta, ml.beta, rtol=tol("oracle"), atol=tol("oracle"))
    assert ml.sigma**2 * n == pytest.approx(reml.sigma**2 * (n - p), rel=tol("oracle"))
    logdet_x = -np.linalg.slogdet(reml.vcov / reml.sigma**2)[1]
    profiled = (n - p) * (1.0 + np.log(2.0 * np.pi * reml.sigma**2))
    profiled -= n * (1.0 + np.log(2.0 * np.pi * ml.sigma**2))
    assert abs(reml.criterion - ml.criterion - logdet_x - profiled) < tol("rounding of a criterion")


@few(8)
@given(designs(), st.integers(0, 10**6), st.sampled_from([0.0, 0.8]))
def test_a_row_split_into_lighter_rows(design: Design, seed: int, apart: float) -> None:
    """Two rows of weights u and v with y ± d have the information of one, and u v / (u + v) (2d)².

    lme4's weights are precisions: the parts of a row tell of sigma by what they differ.
    """
    arguments = {**design.arguments, "weights": "w"}
    whole = replace(design, data=design.complete, arguments=arguments)
    theta = _some_theta(whole, seed)
    light = whole.data.assign(w=0.25 * whole.data["w"], y=whole.data["y"] - 3.0 * apart)
    heavy = whole.data.assign(w=0.75 * whole.data["w"], y=whole.data["y"] + apart)
    split = replace(whole, data=pd.concat([light, heavy], ignore_index=True))
    one, two = whole.at(theta), split.at(theta)
    nu, grown = _residual_df(one), _residual_df(two)
    within = float((0.25 * 0.75 * whole.data["w"] * (4.0 * apart) ** 2).sum())
    np.testing.assert_allclose(two.beta, one.beta, rtol=tol("oracle"), atol=tol("oracle"))
    for group, table in one.ranef.items():
        np.testing.assert_allclose(two.ranef[group], table, rtol=1e-8, atol=tol("oracle"))
    assert two.sigma**2 * grown == pytest.approx(one.sigma**2 * nu + within, rel=tol("oracle"))
    determinant_one = one.criterion - nu * (1.0 + np.log(2.0 * np.pi * one.sigma**2))
    determinant_two = two.criterion - grown * (1.0 + np.log(2.0 * np.pi * two.sigma**2))
    weights = np.log(light["w"]).sum() + np.log(heavy["w"]).sum() - np.log(whole.data["w"]).sum()
    off = determinant_two + weights - determinant_one
    assert abs(off) < tol("rounding of a criterion")


def _residual_df(fit: pm.Fit) -> int:
    return fit.n_obs - len(fit.beta) * fit.reml


# ---- what an optimum must be


@few(20)
@given(designs())
def test_an_optimum_is_certified_and_closes_the_variance_gap(design: Design) -> None:
    fit = design.fit()
    assert fit.convergence.converged, fit.convergence.message
    assert fit.convergence.gradient < tol("gradient")
    gap = pm.variance_gap(fit)
    size = np.where(gap["variance"] > 0.0, gap["variance"], 1.0)
    assert (gap["residue"] / size).abs().max() < tol("variance gap")


@few(12)
@given(designs(), st.integers(0, 10**6))
def test_no_theta_is_below_the_optimum(design: Design, seed: int) -> None:
    """By the dense formula, near the optimum and far from it."""
    fit = design.fit()
    model = build_model(
        design.formula,
        design.data,
        weights=design.arguments.get("weights"),
        offset=design.arguments.get("offset"),
    )
    reml = design.arguments["reml"]
    best = dense_criterion(model, fit.theta.to_numpy(), reml)
    assert abs(best - fit.criterion) < tol("rounding of a criterion")
    rng = np.random.default_rng(seed)
    for size in (1e-4, 1e-3, 1e-2, 0.1, 0.5, 2.0):
        for _ in range(4):
            theta = fit.theta.to_numpy() + size * rng.normal(size=len(fit.theta))
            assert dense_criterion(model, theta, reml) > best - tol("rounding of a criterion")


@few(4)
@given(designs(formulas=("scalar", "slope", "crossed"), rows=48))
def test_a_search_by_the_dense_formula_finds_nothing_lower(design: Design) -> None:
    reml = design.arguments["reml"]
    kept = replace(design, data=design.complete, arguments={"reml": reml})
    model = build_model(kept.formula, kept.data)
    result = dense_criterion(model, dense_optimum(model, reml), reml)
    assert kept.fit().criterion < result + tol("rounding of a criterion")
