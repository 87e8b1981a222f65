"""`lmer_many`: every response at the optimum that `lmer` finds, and at closed forms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from infer_tables import crossed_table
from random_designs import Design, designs, one_factor_table
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.model.design.build import build_model
from pymackay.model.sums.gram import cross_products
from pymackay.solve.many import fit_many as many
from pymackay.solve.many import together
from pymackay.solve.many.kinds import Kinds
from pymackay.solve.search.limits import Control

SIX_SIGMA = 6.0  # standard errors: no draw of a correct program goes there

CASES = [
    pytest.param("x + (x | g)", {}, id="correlated"),
    pytest.param("x + (x | g)", {"reml": False}, id="correlated ML"),
    pytest.param("x + f + (1 | g)", {}, id="scalar"),
    pytest.param("1 + (0 + x | g)", {"reml": False}, id="scalar ML"),
    pytest.param("x + (x | g)", {"weights": "w", "offset": "o"}, id="weighted"),
    pytest.param("x + (x || g)", {}, id="independent"),
    pytest.param("x + (1 | g) + (0 + x + z | g)", {"weights": "w"}, id="two terms"),
    pytest.param("x + z + (x + z | g)", {}, id="three effects"),
    pytest.param("x + z + (x + z | g)", {"reml": False}, id="three effects ML"),
    pytest.param("0 + (x | g)", {}, id="no fixed effects"),
    pytest.param("x + (x | g) + (1 | h)", {}, id="crossed"),
    pytest.param("x + (1 | g / f)", {"reml": False}, id="nested ML"),
]


def _responses(formula: str, data: pd.DataFrame, given: dict[str, Any]) -> np.ndarray:
    """Return responses with the model's effects in them, and some with none."""
    fit = pm.lmer(f"y ~ {formula}", data, **given)
    noise = np.random.default_rng(8).normal(size=(len(data), 3))
    return np.hstack([fit.simulate(5, seed=3).to_numpy(), 2.0 * noise])


@pytest.mark.parametrize(("formula", "given"), CASES)
def test_each_response_ends_where_lmer_does(formula: str, given: dict[str, Any]) -> None:
    data = crossed_table()
    Y = _responses(formula, data, given)
    if "h)" in formula or "/" in formula:  # these are fitted one by one, as by lmer
        Y = Y[:, [0, 1, 5]]
    found = pm.lmer_many(f"y ~ {formula}", data, Y, **given)
    assert found.converged.all()
    for k, y in enumerate(Y.T):
        one = pm.lmer(f"y ~ {formula}", data.assign(y=y), **given)
        assert one.convergence.converged
        assert found.criterion[k] == pytest.approx(one.criterion, abs=tol("tight criterion"))
        assert found.singular[k] == one.singular
        assert found.sigma[k] == pytest.approx(one.sigma, rel=tol("many"))
        errors = one.std_error.to_numpy()
        np.testing.assert_allclose(found.std_error[k], errors, rtol=tol("many"))
        np.testing.assert_allclose(
            (found.beta[k] - one.beta) / errors, 0.0, atol=tol("many"), err_msg=f"response {k}"
        )
        for name, V in one.varcorr.items():
            size = max(np.abs(V.to_numpy()).max(), 1e-3 * one.sigma**2)
            away = np.abs(found.varcorr[name][k] - V.to_numpy()).max() / size
            assert away < tol("many" if not one.singular else "invariance"), (k, name)
    assert found.theta_names == tuple(one.theta.index)
    assert found.fixed == tuple(one.beta.index)


DRIFTING = ["x + (x || g)", "x + (x | g)", "1 + (0 + x | g)", "1 + (x || g)", "x + (0 + x + z | g)"]


@settings(max_examples=12, deadline=None)
@given(
    formula=st.sampled_from(DRIFTING),
    shape=st.tuples(st.sampled_from([2, 4, 8, 39]), st.sampled_from([4, 5, 12])),
    off_zero=st.sampled_from([0.0, 10.0, 100.0]),
    sd=st.tuples(*3 * [st.sampled_from([0.0, 0.1, 1.0, 5.0])]),
    seed=st.integers(0, 10**6),
    reml=st.booleans(),
)
@example("x + (x || g)", (39, 5), 100.0, (5.0, 1.0, 5.0), 2, True)
@example("x + (x + z || g)", (2, 12), 100.0, (0.0, 0.1, 5.0), 640659, True)  # few digits
@example("x + (x || g)", (2, 5), 100.0, (5.0, 1.0, 5.0), 44505, True)  # the same
def test_one_and_many_agree(
    formula: str,
    shape: tuple[int, int],
    off_zero: float,
    sd: tuple[float, float, float],
    seed: int,
    reml: bool,
) -> None:
    """Also where the criterion has several optima, as with x far from zero."""
    data = one_factor_table(seed, *shape, off_zero, sd)
    names = ["y0", "y1", "y2"]
    many = pm.lmer_many(f"~ {formula}", data, data[names], reml=reml)
    for k, name in enumerate(names):
        one = pm.lmer(f"{name} ~ {formula}", data, reml=reml)
        assert many.criterion[k] == pytest.approx(one.criterion, rel=tol("many"))
        assert many.converged[k] == one.convergence.converged
        assert many.singular[k] == one.singular


@settings(max_examples=10, deadline=None)
@given(designs())
def test_one_and_many_agree_on_any_design(design: Design) -> None:
    rows = design.complete
    many = pm.lmer_many(design.formula, rows, rows[["y"]], **design.arguments)
    one = design.fit()
    assert many.criterion[0] == pytest.approx(one.criterion, rel=tol("many"))
    assert many.converged[0] == one.convergence.converged


def test_some_responses_are_on_the_boundary_and_some_are_not() -> None:
    data = crossed_table()
    found = pm.lmer_many("~ x + (x | g)", data, _responses("x + (x | g)", data, {}))
    assert found.singular.any() and not found.singular.all()


def test_balanced_optima_in_closed_form() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    Y = fit.simulate(300, seed=5).to_numpy()
    found = pm.lmer_many("~ Days + (Days | Subject)", sleep, Y)
    Z = fit.problem.model.X[:10]
    y = Y.reshape(18, 10, -1)
    lines = np.einsum("in,jnb->jib", np.linalg.pinv(Z), y)
    sigma_var = ((y - np.einsum("ni,jib->jnb", Z, lines)) ** 2).sum(axis=(0, 1)) / (180 - 36)
    centred = lines - lines.mean(axis=0)
    V = np.einsum("jab,jcb->bac", centred, centred) / 17
    V -= sigma_var[:, None, None] * np.linalg.inv(Z.T @ Z)
    inside = np.linalg.eigvalsh(V)[:, 0] > 0.0
    assert 250 < inside.sum() < 300
    assert not found.singular[inside].any()
    assert found.singular[~inside].all()
    size = np.abs(V).max(axis=(1, 2), keepdims=True)
    away = np.abs(found.varcorr["Subject"] - V)[inside] / size[inside]
    assert away.max() < tol("optimum")
    np.testing.assert_allclose(found.sigma[inside] ** 2, sigma_var[inside], rtol=tol("optimum"))
    np.testing.assert_allclose(found.beta, lines.mean(axis=0).T, rtol=tol("optimum"))


def test_share_of_zero_variances_follows_the_f_distribution() -> None:
    groups, rows, ratio = 6, 5, 0.1
    data = pd.DataFrame({"g": np.repeat([f"g{k}" for k in range(groups)], rows)})
    rng = np.random.default_rng(12)
    B = 3000
    b = np.sqrt(ratio) * rng.normal(size=(groups, B))
    Y = np.repeat(b, rows, axis=0) + rng.normal(size=(groups * rows, B))
    found = pm.lmer_many("~ 1 + (1 | g)", data, Y)
    # REML's variance is zero where the mean square between is not above that within
    expected = stats.f.cdf(1.0 / (1.0 + rows * ratio), groups - 1, groups * (rows - 1))
    error = np.sqrt(expected * (1.0 - expected) / B)
    assert abs((found.theta[:, 0] == 0.0).mean() - expected) < SIX_SIGMA * error
    assert found.converged.all()
    np.testing.assert_array_equal(found.singular, found.theta[:, 0] == 0.0)


def _kinds(formula: str, data: pd.DataFrame) -> Kinds:
    return Kinds(cross_products(build_model(formula, data)), reml=True)


def test_levels_alike_are_counted() -> None:
    sleep = pm.load_data("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    assert _kinds(formula, sleep).counts.tolist() == [18]
    assert sorted(_kinds(formula, sleep.iloc[:-1]).counts.tolist()) == [1, 17]
    assert len(_kinds("y ~ x + (x | g)", crossed_table()).counts) == 9


def test_large_offsets_and_units_lose_no_digits() -> None:
    data = crossed_table()
    Y = _responses("x + (x | g)", data, {})
    found = pm.lmer_many("~ x + (x | g)", data, Y)
    moved = pm.lmer_many("~ x + (x | g)", data, 1e-4 * Y + 1e5)
    np.testing.assert_allclose(moved.theta, found.theta, atol=1e-5)  # Y is rounded to 1e-7 of sigma
    np.testing.assert_array_equal(moved.singular, found.singular)


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = crossed_table()
    Y = _responses("x + (x | g)", data, {})
    whole = pm.lmer_many("~ x + (x | g)", data, Y)
    monkeypatch.setattr(many, "_LEVEL_CELLS", 110)
    parts = pm.lmer_many("~ x + (x | g)", data, Y, progress=True)
    np.testing.assert_allclose(parts.criterion, whole.criterion, rtol=1e-12)
    np.testing.assert_allclose(parts.theta, whole.theta, atol=tol("invariance"))


def test_what_the_batch_cannot_certify_is_fitted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = crossed_table()
    Y = _responses("x + (x | g)", data, {})
    whole = pm.lmer_many("~ x + (x | g)", data, Y)
    monkeypatch.setattr(together, "_CONTROL", Control(max_iterations=2))
    alone = pm.lmer_many("~ x + (x | g)", data, Y)
    assert alone.converged.all()
    np.testing.assert_allclose(alone.criterion, whole.criterion, atol=tol("tight criterion"))


def test_the_start_does_not_matter() -> None:
    data = crossed_table()
    Y = _responses("x + (x | g)", data, {})
    found = pm.lmer_many("~ x + (x | g)", data, Y)
    for start in ([0.0, 0.0, 0.0], [30.0, 1.0, 20.0], [1e200, 0.0, 1e200]):
        other = pm.lmer_many("~ x + (x | g)", data, Y, start=start)
        assert other.converged.all()
        np.testing.assert_allclose(other.criterion, found.criterion, atol=tol("tight criterion"))


def test_rows_are_those_the_design_uses() -> None:
    data = crossed_table()
    data.loc[data.index[[3, 40]], "x"] = np.nan
    Y = pd.DataFrame({"a": data["y"], "b": -2.0 * data["y"] + data["o"]}, index=data.index)
    Y.loc[data.index[3], "a"] = np.nan  # a row that is dropped anyway
    found = pm.lmer_many("y ~ x + (1 | g)", data, Y.sample(frac=1.0, random_state=1), subset="z>.3")
    assert found.responses.tolist() == ["a", "b"]
    for k, name in enumerate(Y):
        one = pm.lmer("y ~ x + (1 | g)", data.assign(y=Y[name]), subset="z > .3")
        assert found.criterion[k] == pytest.approx(one.criterion, abs=tol("tight criterion"))
        assert found.n_obs == one.n_obs


@pytest.mark.parametrize(
    "formula", ["~ x + z + (1 | g)", "log(y) ~ x + z + (1 | g)", "y ~ . + (1 | g)"]
)
def test_the_left_side_is_replaced(formula: str) -> None:
    data = crossed_table()[["y", "x", "z", "g"]]
    if "." in formula:
        formula = "y ~ . - g + (1 | g)"
    found = pm.lmer_many(formula, data, data[["y"]].to_numpy())
    one = pm.lmer("y ~ x + z + (1 | g)", data)
    assert found.fixed == ("(Intercept)", "x", "z")
    assert found.criterion[0] == pytest.approx(one.criterion, abs=tol("tight criterion"))
    assert found.formula == formula


def test_mappings_and_labels_that_come_twice() -> None:
    data = crossed_table()
    Y = data[["y"]].to_numpy()
    one = pm.lmer("y ~ x + (1 | g)", data)
    for same in (data.to_dict("list"), data.set_axis(np.arange(120) // 2)):
        found = pm.lmer_many("~ x + (1 | g)", same, Y)
        assert found.criterion[0] == pytest.approx(one.criterion, abs=tol("tight criterion"))


def test_table_of_all_fits() -> None:
    data = crossed_table()
    Y = pd.DataFrame(_responses("x + (x | g)", data, {}), index=data.index).add_prefix("y")
    found = pm.lmer_many("~ x + (x | g)", data, Y)
    table = found.to_frame()
    assert table.columns.tolist() == [
        "sd_(Intercept)|g",
        "cor_x.(Intercept)|g",
        "sd_x|g",
        "sigma",
        "(Intercept)",
        "x",
        "criterion",
        "converged",
        "singular",
    ]
    assert table.index.tolist() == Y.columns.tolist()
    one = pm.lmer("y ~ x + (x | g)", data.assign(y=Y["y1"]))
    profile_names = one.confint("wald", long_names=True).index.tolist()
    assert table.columns[:6].tolist() == profile_names
    V = one.varcorr["g"].to_numpy()
    sd = np.sqrt(np.diag(V))
    expected = [sd[0], V[1, 0] / (sd[0] * sd[1]), sd[1], one.sigma, *one.beta, one.criterion]
    np.testing.assert_allclose(table.loc["y1"].iloc[:7].astype(float), expected, rtol=1e-7)
    assert "8 linear mixed models fit by REML: ~ x + (x | g)" in repr(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.sigma = found.sigma  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda Y: Y[:, 0], pm.ArgumentError, r"a single response y as y\[:, None\]"),
        (lambda Y: Y.T, pm.ArgumentError, r"responses in rows as Y.T"),
        (lambda Y: Y[:, :0], pm.ArgumentError, "one column for each response"),
        (lambda Y: Y.astype(str) + "x", pm.ArgumentError, "Y must be numbers"),
        (lambda Y: np.where(Y[4, 2] == Y, np.nan, Y), pm.DataError, r"responses \(2\)"),
        (lambda Y: np.where(Y[4, 2] == Y, np.inf, Y), pm.DataError, "missing or infinite in 1 of"),
        (lambda Y: np.ones_like(Y), pm.DataError, "5 of 5 responses are exact linear functions"),
        (lambda Y: Y * [1, 0, 0, 1, 1], pm.DataError, r"2 of 5 responses are exact .* \(1, 2\)"),
        (lambda Y: pd.DataFrame(Y), pm.ArgumentError, "does not hold each of the 120 rows"),
    ],
)
def test_responses_that_do_not_fit(change: Any, error: type, message: str) -> None:
    data = crossed_table()
    Y = np.random.default_rng(1).normal(size=(120, 5))
    with pytest.raises(error, match=message):
        pm.lmer_many("~ x + (1 | g)", data, change(Y))


def test_arguments_that_do_not_fit() -> None:
    data = crossed_table()
    Y = np.random.default_rng(1).normal(size=(120, 2))
    with pytest.raises(pm.ArgumentError, match="reml must be True or False"):
        pm.lmer_many("~ x + (1 | g)", data, Y, reml=1)  # type: ignore[arg-type]
    with pytest.raises(pm.ArgumentError, match="1 numbers in the order"):
        pm.lmer_many("~ x + (1 | g)", data, Y, start=[1.0, 2.0])
    with pytest.raises(pm.FormulaError):
        pm.lmer_many("x + (1 | g)", data, Y)
    with pytest.raises(pm.FormulaError, match="no random term"):
        pm.lmer_many("~ x", data, Y)
    with pytest.raises(pm.ArgumentError, match="formula must be text"):
        pm.lmer_many(None, data, Y)  # type: ignore[arg-type]
