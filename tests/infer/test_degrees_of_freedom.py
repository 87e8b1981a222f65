"""Degrees of freedom: against lmerTest and pbkrtest at their theta, and where they are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from inference_references import cases, fit_at_theirs, load, mixing, read_table
from small_models import crossed_model, sleepstudy_model
from tolerances import tol

import pymackay as pm
from pymackay.infer.intervals.deviance import Deviance
from pymackay.infer.significance.chain import bend, jacobian
from pymackay.infer.significance.contrast import f_columns
from pymackay.infer.significance.ddf import fixed_effects
from pymackay.model.model import Model
from pymackay.model.sums.gram import Gram, cross_products
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.exact.derivatives import differentiate
from pymackay.solve.exact.solver import Exact

METHODS = {"Satterthwaite": "numerical derivatives", "Kenward-Roger": "Kenward-Roger"}


def assert_tables_agree(mine: pd.DataFrame, theirs: pd.DataFrame, rtol: float) -> None:
    assert list(mine.columns) == list(theirs.columns)
    for column in mine.columns:
        atol = rtol if column.startswith("Pr(") else 0.0
        np.testing.assert_allclose(
            mine[column].to_numpy(float), theirs[column], rtol=rtol, atol=atol, err_msg=column
        )


def answers(data: str, name: str, criterion: str) -> list[tuple[str, dict, float]]:
    """Return method, R's answers and tolerance of one case."""
    result = load(data)["tests"][name][criterion]["tests"]
    return [(method, result[method], tol(METHODS[method])) for method in result]


@pytest.mark.parametrize(("data", "name", "criterion"), cases())
def test_coefficients_are_those_of_lmerTest(data: str, name: str, criterion: str) -> None:
    fit = fit_at_theirs(data, name, criterion)
    for method, theirs, rtol in answers(data, name, criterion):
        expected = read_table(theirs["coefficients"])
        assert list(expected.index) == list(fit.beta.index)
        assert_tables_agree(pm.coefficients(fit, method), expected, rtol)


@pytest.mark.parametrize(("data", "name", "criterion"), cases())
def test_contrasts_are_those_of_lmerTest(data: str, name: str, criterion: str) -> None:
    fit = fit_at_theirs(data, name, criterion)
    L = mixing(len(fit.beta))
    for method, theirs, rtol in answers(data, name, criterion):
        one = pm.contrast(fit, L[0], rhs=1.5, ddf=method)
        assert_tables_agree(one, read_table(theirs["contest_rhs"]), rtol)
        if len(L) > 1:  # contest takes the rows as they are, as the tables of terms do
            both = pd.DataFrame(f_columns(fixed_effects(fit, method), L))
            assert_tables_agree(both, read_table(theirs["contest"]), rtol)


def test_kenward_roger_refits_an_ml_fit_and_says_so() -> None:
    sleep = pm.load_data("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    table = pm.lmer(formula, sleep, reml=False).coefficients("Kenward-Roger")
    expected = pm.lmer(formula, sleep).coefficients("Kenward-Roger")
    assert_tables_agree(table, expected, tol("optimum"))
    assert any("refitted by REML" in message for message in table.messages)
    assert "refitted by REML" in repr(table)
    assert expected.messages == ()


@pytest.mark.parametrize("method", METHODS)
def test_a_balanced_split_plot_has_its_anova_integers(method: str) -> None:
    fit = pm.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", pm.load_data("cake"))
    result = pm.anova(fit, ddf=method)
    np.testing.assert_allclose(result["DenDF"], [42.0, 210.0, 210.0], rtol=tol("optimum"))
    cake = pm.load_data("cake")
    plots = cake.groupby(["recipe", "replicate"], observed=True)["angle"].mean().unstack()
    between = 15 * plots.mean(axis=1).var(ddof=1)
    within = plots.var(axis=1, ddof=1).mean()
    np.testing.assert_allclose(result.loc["recipe", "F value"], between / within, rtol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_balanced_random_slopes_have_one_df_less_than_subjects(method: str) -> None:
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    np.testing.assert_allclose(fit.coefficients(method)["df"], 17.0, rtol=tol("optimum"))


def test_satterthwaite_of_balanced_ml_has_as_many_df_as_subjects() -> None:
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"), reml=False)
    np.testing.assert_allclose(fit.coefficients()["df"], 18.0, rtol=tol("optimum"))


def test_hotelling_of_balanced_random_slopes() -> None:
    # two coefficients, 18 subjects: T² has 2 and 16 degrees of freedom, F = T² (18 − 2) / (2 · 17)
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    result = pm.contrast(fit, np.eye(2), ddf="Kenward-Roger")
    lines = np.array(
        [np.polyfit(g["Days"], g["Reaction"], 1)[::-1] for _, g in sleep.groupby("Subject")]
    )
    mean, S = lines.mean(axis=0), np.cov(lines.T)
    t2 = 18 * mean @ np.linalg.solve(S, mean)
    np.testing.assert_allclose(result["DenDF"], 16.0, rtol=tol("optimum"))
    np.testing.assert_allclose(result["F value"], t2 * 16 / (2 * 17), rtol=tol("optimum"))


def test_units_do_not_matter() -> None:
    data = pm.load_data("sleepstudy").query("Reaction < 400")
    plain = pm.lmer("Reaction ~ Days + (Days | Subject)", data)
    scaled = data.assign(Reaction=data["Reaction"] * 1e7, Days=data["Days"] * 1e-5)
    other = pm.lmer("Reaction ~ Days + (Days | Subject)", scaled)
    for method in METHODS:
        np.testing.assert_allclose(
            other.coefficients(method)["df"], plain.coefficients(method)["df"], rtol=1e-6
        )


@pytest.mark.parametrize("method", [*METHODS, "normal"])
def test_an_f_test_does_not_depend_on_how_its_hypothesis_is_written(method: str) -> None:
    fit = fit_at_theirs("Machines", "unbalanced", "reml")
    rows = np.eye(len(fit.beta))[1:]
    expected = pm.contrast(fit, rows, ddf=method, rhs=[1.0, 2.0])
    for A in ([[100.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-1.0, 1.0]], [[2.0, 3.0], [1e-4, 5.0]]):
        other = pm.contrast(fit, A @ rows, ddf=method, rhs=A @ np.array([1.0, 2.0]))
        np.testing.assert_allclose(other, expected, rtol=tol("oracle"))
    thrice = np.vstack([rows, rows.sum(axis=0)])
    other = pm.contrast(fit, thrice, ddf=method, rhs=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(other, expected, rtol=tol("oracle"))
    as_they_are = pd.DataFrame(
        f_columns(fixed_effects(fit, method), rows)
    )  # lmerTest's: orthonormal here
    plain = pm.contrast(fit, rows, ddf=method)
    np.testing.assert_allclose(plain, as_they_are, rtol=tol("oracle"))


def test_one_weight_for_all_rows_changes_nothing() -> None:
    data = pm.load_data("sleepstudy").assign(w=2.0)
    plain = pm.lmer("Reaction ~ Days + (Days | Subject)", data)
    weighted = pm.lmer("Reaction ~ Days + (Days | Subject)", data, weights="w")
    for method in METHODS:
        np.testing.assert_allclose(
            weighted.coefficients(method), plain.coefficients(method), rtol=1e-7, atol=1e-12
        )


def test_a_variance_of_zero_leaves_the_residual_df() -> None:
    fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"))
    assert fit.singular
    np.testing.assert_allclose(fit.coefficients()["df"], 29.0, rtol=tol("optimum"))


def test_without_degrees_of_freedom() -> None:
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    normal, bare = fit.coefficients("normal"), fit.coefficients("NONE")
    assert np.isinf(normal["df"]).all()
    assert list(bare.columns) == ["Estimate", "Std. Error", "t value"]
    by_hand = pm.contrast(fit, np.eye(2), ddf="normal")
    beta = fit.beta.to_numpy()
    wald = beta @ np.linalg.solve(fit.vcov.to_numpy(), beta) / 2
    np.testing.assert_allclose(by_hand["F value"], wald, rtol=tol("statistic"))
    without_problem = fit.replace(problem=None)
    np.testing.assert_array_equal(without_problem.coefficients("normal"), normal)
    with pytest.raises(pm.PymackayError, match=r"with pymackay\.lmer"):
        without_problem.coefficients()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"L": [1.0]}, "2 coefficients"),
        ({"L": {"Day": 1}}, r"names Day, but the coefficients are \(Intercept\), Days"),
        ({"L": "Days"}, "must hold numbers"),
        ({"L": [0.0, 0.0]}, "row 1 is zero"),
        ({"L": [np.nan, 0.0]}, "must be finite"),
        ({"L": [{"Days": 1}, 3]}, "must all be mappings"),
        ({"L": np.zeros((0, 2))}, "2 coefficients"),
        ({"L": np.eye(2), "rhs": [1.0, 2.0, 3.0]}, "L has 2 row"),
        ({"L": np.ones((2, 2)), "rhs": [1.0, 2.0]}, "contradicts itself"),
        ({"L": {"Days": 1}, "ddf": "KR"}, "ddf must be one of 'Satterthwaite'"),
        ({"L": {"Days": 1}, "level": 95}, "between 0 and 1"),
    ],
)
def test_contrasts_that_cannot_be(arguments: dict, says: str) -> None:
    fit = fit_at_theirs("sleepstudy", "slopes", "reml")
    with pytest.raises(pm.ArgumentError, match=says):
        pm.contrast(fit, **arguments)


def test_contrasts_by_name_and_by_position_are_one() -> None:
    fit = fit_at_theirs("cake", "numeric", "reml")
    L = np.zeros((2, len(fit.beta)))
    L[0, 1], L[1, 1], L[1, 2] = 2.0, 1.0, -1.0
    names = list(fit.beta.index)
    expected = pm.contrast(fit, L, rhs=[0.5, 0.1])
    rows = [{names[1]: 2.0}, pd.Series({names[1]: 1.0, names[2]: -1.0})]
    frame = pd.DataFrame(L, columns=names, index=["one", "two"])
    for given in (rows, frame, frame[[names[2], names[1]]]):
        np.testing.assert_array_equal(pm.contrast(fit, given, rhs=[0.5, 0.1]), expected)
    single = pm.contrast(fit, frame, rhs=[0.5, 0.1], joint=False)
    assert list(single.index) == ["one", "two"]
    alone = pm.contrast(fit, L[1], rhs=0.1)
    assert list(alone.index) == [f"{names[1]} - {names[2]}"]
    np.testing.assert_array_equal(single.iloc[1], alone.iloc[0])


def test_dependent_rows_count_once() -> None:
    fit = fit_at_theirs("cake", "numeric", "reml")
    L = np.zeros((3, len(fit.beta)))
    L[0, 1], L[1, 2], L[2, 1], L[2, 2] = 1.0, 1.0, 1.0, 1.0
    for method in METHODS:
        result = pm.contrast(fit, L, ddf=method)
        assert result["NumDF"].iloc[0] == 2
        np.testing.assert_allclose(
            result["F value"], pm.contrast(fit, L[:2], ddf=method)["F value"], rtol=1e-9
        )


# ---- the derivatives themselves ------------------------------------------------------------------


def dense_derivatives(
    gram: Gram, model: Model, factors: list[np.ndarray], reml: bool
) -> dict[str, np.ndarray]:
    """Compute the same from V itself, n × n, in the computed bases."""
    root = np.ones(gram.n) if model.weights is None else np.sqrt(model.weights)
    V, slopes = np.eye(gram.n), []
    for term, layout, T, factor in zip(
        model.terms, gram.layouts, gram.transforms, factors, strict=True
    ):
        codes = model.factors[term.group].codes
        columns, same = (term.columns * root[:, None]) @ T, codes[:, None] == codes
        V += same * (columns @ factor @ factor.T @ columns.T)
        for row, column in zip(layout.rows, layout.columns, strict=True):
            E = np.zeros((layout.q, layout.q))
            E[row, column] = E[column, row] = 1.0
            slopes.append(same * (columns @ E @ columns.T))
    inverse, Q, y = np.linalg.inv(V), gram.basis.Q, gram.response.residual
    spread = np.linalg.inv(Q.T @ inverse @ Q)
    P = inverse - inverse @ Q @ spread @ Q.T @ inverse
    t, traced = np.vstack([spread @ Q.T @ inverse, y @ P]), P if reml else inverse
    return {
        "precision_inverse": spread,
        "beta": spread @ Q.T @ inverse @ y,
        "r2": y @ P @ y,
        "logdet": np.linalg.slogdet(V)[1],
        "traces": np.array([np.trace(traced @ D) for D in slopes]),
        "trace_products": np.array(
            [[np.sum((traced @ A) * (traced @ B).T) for B in slopes] for A in slopes]
        ),
        "slopes": np.array([t @ D @ t.T for D in slopes]),
        "products": np.array([[t @ A @ P @ B @ t.T for B in slopes] for A in slopes]),
    }


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize(
    "model",
    [sleepstudy_model(), sleepstudy_model(double_bar=True), crossed_model(weighted=True)],
    ids=["correlated", "double bar", "crossed"],
)
def test_derivatives_are_those_of_the_dense_covariance(
    model: Model, zero: bool, reml: bool
) -> None:
    gram = cross_products(model)
    theta = np.random.default_rng(3).uniform(0.2, 1.0, gram.n_theta)
    theta[-1] *= not zero
    factors = factors_from_theta(gram, theta)
    result = differentiate(gram, factors, reml=reml)
    for name, expected in dense_derivatives(gram, model, factors, reml).items():
        # the response has length 1; beta of a balanced design, on its residual, is 0
        size = max(float(np.abs(expected).max()), 1e-3)
        np.testing.assert_allclose(
            np.asarray(getattr(result, name)) / size,
            expected / size,
            atol=tol("oracle"),
            err_msg=name,
        )


def test_deviance_has_the_derivatives_it_says() -> None:
    gram = cross_products(crossed_model(weighted=True))
    row = np.array([0.3, -1.0, 0.5])
    deviance = Deviance(gram, row)
    at = np.random.default_rng(4).uniform(0.3, 1.0, gram.n_theta + 2)
    at[-2] = -2.0

    def local(point: np.ndarray):
        factors = []
        for layout in gram.layouts:
            G = np.zeros((layout.q, layout.q))
            G[layout.rows, layout.columns] = point[layout.start : layout.stop]
            G[layout.columns, layout.rows] = point[layout.start : layout.stop]
            factors.append(np.linalg.cholesky(G + np.eye(layout.q)))
        return deviance.at(factors, point[-2], point[-1])

    here, steps = local(at), 1e-5 * np.eye(len(at))
    slopes = [(local(at + s).value - local(at - s).value) / 2e-5 for s in steps]
    bends = [(local(at + s).gradient - local(at - s).gradient) / 2e-5 for s in steps]
    np.testing.assert_allclose(here.gradient, slopes, rtol=tol("difference"), atol=1e-5)
    np.testing.assert_allclose(here.hessian, bends, rtol=tol("difference"), atol=1e-4)
    solver = Exact(gram, False)
    factors = factors_from_theta(gram, np.array([1.0, 0.2, 0.5, 0.7]))
    optimum = solver.evaluate(factors)
    free = Deviance(gram).at(factors, 0.5 * np.log(optimum.sigma2))
    np.testing.assert_allclose(free.value, optimum.criterion, rtol=tol("criterion"))
    np.testing.assert_allclose(free.gradient[gram.n_theta], 0.0, atol=1e-9)


def test_chain_rule_through_a_factor() -> None:
    layout = cross_products(sleepstudy_model()).layouts[0]
    rng = np.random.default_rng(5)
    inverse, at, weights = rng.normal(size=(2, 2)), rng.normal(size=3), rng.normal(size=3)

    def elements(theta: np.ndarray) -> np.ndarray:
        half = inverse @ layout.factor(theta)
        return layout.elements(half @ half.T)

    steps = 1e-4 * np.eye(3)
    slopes = np.array([(elements(at + s) - elements(at - s)) / 2e-4 for s in steps]).T
    np.testing.assert_allclose(jacobian(inverse, layout.factor(at), layout), slopes, atol=1e-9)
    second = [
        [
            weights @ (elements(at + s + r) - elements(at + s) - elements(at + r) + elements(at))
            for s in steps
        ]
        for r in steps
    ]
    np.testing.assert_allclose(bend(inverse, weights, layout), np.array(second) / 1e-8, atol=1e-6)
