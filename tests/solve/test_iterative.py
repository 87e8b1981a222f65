"""The iterative solver against the exact one; its error bars; hard designs; its choice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.model.design.build import build_model
from pymackay.model.sums.gram import cross_products
from pymackay.model.sums.sparse_gram import sparse_cross_products
from pymackay.solve import choose as choice
from pymackay.solve.iterative.conjugate import conjugate_gradients
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.equations import Equations, separate_parts
from pymackay.solve.iterative.logdet import estimate_logdet
from pymackay.solve.iterative.probes import Probes, draw_signs
from pymackay.solve.iterative.solver import Iterative
from pymackay.solve.iterative.traces import estimate_traces
from pymackay.solve.search.limits import Control

UNIT_VECTORS = IterativeControl(probes=256)  # more than there are effects: exact traces
FORMULAS = {
    "two": ("y ~ x + (1 | g) + (1 | h)", None),
    "slopes, weights": ("y ~ x + (x | g) + (x | h)", "w"),
    "three, nested": ("y ~ f + (1 | g) + (1 | h) + (1 | h:k)", None),
    "double bar": ("y ~ x + (x || g) + (1 | h)", "w"),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return 900 rows: 40 × 25 levels, long tails, 4 levels of k within each of h."""
    rng = np.random.default_rng(7)
    n = 900
    g, h = (40 * rng.random(n) ** 1.5).astype(int), (25 * rng.random(n) ** 1.5).astype(int)
    k, x = rng.integers(0, 4, n), rng.integers(0, 3, n) - 1.0
    y = 2.0 + 0.4 * x + rng.normal(size=40)[g] + 0.5 * rng.normal(size=40)[g] * x
    y += 0.8 * rng.normal(size=25)[h] + 0.5 * rng.normal(size=25)[h] * x
    y += 0.6 * rng.normal(size=(25, 4))[h, k] + rng.normal(size=n)
    f = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    return pd.DataFrame(
        {"y": y, "x": x, "f": f, "g": g, "h": h, "k": k, "w": rng.uniform(0.5, 2.0, n)}
    )


def largest(a, b) -> float:
    """Return the largest difference relative to the largest value."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-300))


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("name", FORMULAS)
def test_with_unit_vectors_the_answer_is_the_exact_one(table, name, reml):
    formula, weights = FORMULAS[name]
    exact = pm.lmer(formula, table, weights=weights, reml=reml)
    found = pm.lmer(formula, table, weights=weights, reml=reml, control=UNIT_VECTORS)
    assert found.convergence.converged
    assert abs(found.criterion - exact.criterion) < tol("iterative criterion")
    assert np.abs((found.beta - exact.beta) / exact.std_error).max() < tol("iterative")
    assert largest(exact.std_error, found.std_error) < tol("iterative")
    assert list(found.beta.index) == list(exact.beta.index)
    assert list(found.theta.index) == list(exact.theta.index)
    for term, V in exact.varcorr.items():
        assert largest(V, found.varcorr[term]) < tol("iterative")
    for group in exact.ranef:
        assert largest(exact.ranef[group], found.ranef[group]) < tol("iterative")
        assert largest(exact.condvar[group], found.condvar[group]) < tol("iterative")
        assert largest(exact.pev[group], found.pev[group]) < tol("iterative")
    assert largest(exact.residuals, found.residuals) < tol("iterative")
    assert max(found.convergence.monte_carlo_error.values()) == 0.0


def test_cross_products_are_those_of_the_dense_form_in_any_number_of_chunks(table, monkeypatch):
    model = build_model("y ~ x + (x | g) + (x | h) + (1 | k)", table, weights="w")
    dense = cross_products(model)
    expected = dense.C.toarray() if not isinstance(dense.C, np.ndarray) else dense.C
    expected = expected.reshape(-1, expected.shape[-1])
    for chunk in (10_000, 128):
        monkeypatch.setattr("pymackay.model.sums.sparse_gram._CHUNK", chunk)
        sparse = sparse_cross_products(model)
        parts = [sparse.pairs[0, 1].matrix().toarray(), sparse.pairs[0, 2].matrix().toarray()]
        assert largest(expected, np.hstack([*parts, sparse.dense[0]])) < tol("design")
        size = sparse.blocks[1].size
        between = dense.D[:size, size : size + sparse.blocks[2].size]
        assert largest(between, sparse.pairs[1, 2].matrix().toarray()) < tol("design")
        assert largest(dense.A, sparse.diagonals[0]) < tol("design")
        assert largest(dense.D[-3:, -3:], sparse.dense_gram) < tol("design")


def test_pairs_that_cancel_in_one_component_keep_their_place():
    """A slope column that is zero in a chunk must not shift the other components."""
    n = 400
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": rng.integers(0, 9, n), "h": rng.integers(0, 7, n)})
    data["x"] = np.where(np.arange(n) < 200, 0.0, rng.normal(size=n))
    data["y"] = rng.normal(size=n)
    model = build_model("y ~ x + (x | g) + (x | h)", data)
    whole = sparse_cross_products(model).pairs[0, 1].matrix().toarray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pymackay.model.sums.sparse_gram._CHUNK", 50)
        pieces = sparse_cross_products(model).pairs[0, 1].matrix().toarray()
    assert largest(whole, pieces) < tol("design")


def ratings(**more) -> pd.DataFrame:
    arguments = {"n": 4000, "users": 600, "items": 300, "seed": 3} | more
    return pm.datasets.simulate_crossed(**arguments)


FORMULA = "rating ~ 1 + (1 | user) + (1 | item)"


SLOPES = "rating ~ x + (x | user) + (x | item)"
CALIBRATED = {
    "long tail": (FORMULA, {"n": 1000, "users": 150, "items": 80}),
    "slopes": (
        SLOPES,
        {"n": 1500, "users": 150, "items": 60, "user_slope_sd": 0.3, "item_slope_sd": 0.3},
    ),
}


@pytest.mark.parametrize("name", CALIBRATED)
def test_the_error_bars_are_as_long_as_they_say(name):
    """Of the deviations from the exact fit, half and 90 % lie within Student's quantiles.

    Over 50 seeds, 100 or 200 deviations, of which those of one seed go together: the limits are
    two and a half binomial standard errors of 80 independent ones.
    """
    formula, sizes = CALIBRATED[name]
    data = ratings(**{"seed": 0, **sizes})
    exact = pm.lmer(formula, data, solver="exact")
    scores = []
    for seed in range(50):
        control = IterativeControl(probes=8, max_probes=8, seed=seed, criterion_probes=0)
        found = pm.lmer(formula, data, control=control)
        for group, V in exact.varcorr.items():
            for effect in V.columns:
                error = found.convergence.monte_carlo_error[f"{group}.{effect}"]
                away = found.varcorr[group].loc[effect, effect] - V.loc[effect, effect]
                scores.append(abs(away) / error)
    half, most = stats.t(7).ppf([0.75, 0.95])
    assert abs(np.mean(np.array(scores) < half) - 0.5) < 0.14
    assert abs(np.mean(np.array(scores) < most) - 0.9) < 0.084


def test_no_single_direction_is_left_to_the_probes():
    """One that is makes a probe's estimate the square of one number: skewness ±2.8."""
    equations = equations_of(ratings(n=2000, users=300, items=100), 0.6)
    size = equations.couplings.size
    random = Probes(np.arange(0), draw_signs(size, 1000, 5))
    units = Probes(np.arange(size), np.zeros((size, 0), dtype=np.float32))
    found = estimate_traces(equations, random, None, 1e-6, 500)
    exact = estimate_traces(equations, units, None, 1e-6, 500)
    for samples, truth in zip(found.samples, exact.samples, strict=True):
        values = samples[:, 0, 0]
        assert abs(stats.skew(values)) < 1.0
        assert abs(values.mean() - truth[0, 0, 0]) < 4.0 * values.std() / np.sqrt(len(values))


def test_common_moves_are_orthonormal_also_where_effects_do_not_vary():
    data = ratings(n=2000, users=300, items=100, user_slope_sd=0.3, item_slope_sd=0.2)
    gram = sparse_cross_products(build_model(SLOPES, data))
    equations = Iterative(gram, True).estimate([0.5 * np.eye(2), np.diag([0.5, 0.0])]).equations
    W = equations.common_moves(np.arange(0))
    assert W.shape == (200, 2)
    assert largest(np.eye(2), W.T @ W) < 1e-6
    assert equations.common_moves(np.arange(200)).shape == (200, 0)


def test_probes_are_added_until_the_error_is_what_was_asked_for():
    data = ratings()
    few = pm.lmer(FORMULA, data, control=IterativeControl(tolerance=0.5, probes=4))
    more = pm.lmer(FORMULA, data, control=IterativeControl(tolerance=5e-5, probes=4))
    assert few.convergence.probes == 4
    assert more.convergence.probes > 4
    for group in ("user", "item"):
        error = more.convergence.monte_carlo_error[f"{group}.(Intercept)"]
        assert error < 5e-5 * more.varcorr[group].iloc[0, 0]
    short = pm.lmer(FORMULA, data, control=IterativeControl(tolerance=1e-6, probes=4, max_probes=8))
    assert any("max_probes = 8" in message for message in short.messages)


def test_the_same_seed_gives_the_same_answer():
    data = ratings()
    first, second = (
        pm.lmer(FORMULA, data, control=IterativeControl(seed=5, tolerance=0.1)) for _ in range(2)
    )
    assert first.theta.equals(second.theta)
    assert first.criterion == second.criterion


def test_the_criterion_is_within_its_error_of_the_exact_one():
    data = ratings(users=1500, items=700)
    found = pm.lmer(FORMULA, data, control=IterativeControl(probes=16, criterion_probes=48))
    exact = pm.evaluate(FORMULA, data, found.theta)
    error = found.convergence.monte_carlo_error["criterion"]
    assert 0.0 < error < 5.0
    assert abs(found.criterion - exact.criterion) < 4.0 * error


def test_a_criterion_that_was_left_out_says_so():
    found = pm.lmer(FORMULA, ratings(), control=IterativeControl(criterion_probes=0))
    assert np.isnan(found.criterion)
    assert "criterion_probes" in found.not_offered["criterion"]
    again = found.evaluate(found.theta)
    np.testing.assert_allclose(again.beta, found.beta, rtol=tol("iterative"))


@pytest.mark.parametrize("slopes", [False, True], ids=["intercepts", "slopes"])
def test_estimated_error_variances_are_as_near_as_they_say(monkeypatch, slopes):
    """Three seeds: of all levels' deviations, 68 % within one standard error, 95 % in two."""
    more = {"user_slope_sd": 0.3, "item_slope_sd": 0.2} if slopes else {}
    formula = SLOPES if slopes else FORMULA
    data = ratings(n=1500, users=300, items=100, **more)
    monkeypatch.setattr("pymackay.solve.iterative.variances.EXACT_SIZE", 10)
    exact, scores = None, []
    for seed in range(3):
        control = IterativeControl(probes=64, tolerance=0.5, seed=seed, criterion_probes=2)
        found = pm.lmer(formula, data, control=control)
        exact = exact or pm.evaluate(formula, data, found.theta)
        there = found.evaluate(exact.theta)
        for group, error in there.condvar_error().items():
            for name in ("condvar", "pev"):
                ours, truth = (
                    np.einsum("jaa->ja", getattr(fit, name)[group]) for fit in (there, exact)
                )
                assert np.abs(ours / truth - 1.0).mean() < tol("probed variance")
            scores.append(((ours - truth) / error).ravel())
    scores = np.abs(np.concatenate(scores))
    assert abs(np.mean(scores < 1.0) - 0.68) < 0.05
    assert abs(np.mean(scores < 2.0) - 0.95) < 0.03


def test_error_variances_that_are_exact_say_so(table):
    formula = "y ~ x + (x | g) + (1 | h)"
    for fit in (pm.lmer(formula, table), pm.lmer(formula, table, control=UNIT_VECTORS)):
        errors = fit.condvar_error()
        assert {group: error.shape for group, error in errors.items()} == {
            "g": (40, 2),
            "h": (25, 1),
        }
        assert not any(error.any() for error in errors.values())
    with pytest.raises(pm.ArgumentError, match="needs a Fit"):
        pm.Fit.condvar_error(formula)


HARD = {
    "assortative": {"assortativity": 1.0, "neighbourhood": 0.02},
    "strong effects": {"assortativity": 1.0, "user_sd": 4.0, "item_sd": 4.0},
    "tiny effects": {"user_sd": 0.01, "item_sd": 0.2},
    "slopes": {"user_slope_sd": 0.3, "item_slope_sd": 0.2, "assortativity": 0.5},
}


@pytest.mark.parametrize("name", HARD)
def test_hard_designs_end_where_the_exact_engine_does(name):
    data = ratings(n=2400, users=200, items=60, **HARD[name])
    formula = FORMULA
    if "x" in data:
        formula = "rating ~ x + (x | user) + (x | item)"
    exact = pm.lmer(formula, data, solver="exact")
    found = pm.lmer(formula, data, control=UNIT_VECTORS)
    assert found.convergence.converged
    for term, V in exact.varcorr.items():
        assert largest(V, found.varcorr[term]) < tol("iterative")
    some = pm.lmer(formula, data, control=IterativeControl(probes=16, max_probes=16))
    for term, V in exact.varcorr.items():
        for effect in V.columns:
            error = some.convergence.monte_carlo_error[f"{term}.{effect}"]
            away = some.varcorr[term].loc[effect, effect] - V.loc[effect, effect]
            assert abs(away) <= 5.0 * error + tol("iterative") * V.loc[effect, effect]


def test_blocks_that_never_meet_are_fitted_like_any_others():
    rng = np.random.default_rng(2)
    n, blocks = 2000, 8
    user = rng.integers(0, 160, n)
    item = (user * blocks // 160) * 10 + rng.integers(0, 10, n)
    rating = rng.normal(size=160)[user] + 0.5 * rng.normal(size=80)[item] + rng.normal(size=n)
    data = pd.DataFrame({"rating": rating, "user": user, "item": item})
    exact = pm.lmer(FORMULA, data, solver="exact")
    found = pm.lmer(FORMULA, data, control=UNIT_VECTORS)
    for term, V in exact.varcorr.items():
        assert largest(V, found.varcorr[term]) < tol("iterative")


@pytest.mark.parametrize("count", [1, 2, 8, 9])
def test_parts_that_never_meet_are_told_apart_while_they_are_few(count):
    rng = np.random.default_rng(4)
    user = rng.integers(0, 720, 6000)
    part = user * count // 720
    item = part * 30 + rng.integers(0, 30, 6000)
    site = part * 5 + rng.integers(0, 5, 6000)
    data = pd.DataFrame({"rating": rng.normal(size=6000), "user": user, "item": item})
    data["site"] = site
    gram = sparse_cross_products(build_model(FORMULA + " + (1 | site)", data))
    items, sites = separate_parts(gram)
    told = count if count <= 8 else 1
    assert len(np.unique(items)) == len(np.unique(sites)) == told
    if told == count:  # a part's levels stand side by side, and the numbers agree between blocks
        assert np.array_equal(items.reshape(count, 30)[:, 0], sites.reshape(count, 5)[:, 0])
        assert (items.reshape(count, 30) == items.reshape(count, 30)[:, :1]).all()


def test_a_variance_that_is_zero_is_exactly_zero():
    rng = np.random.default_rng(1)
    n = 3000
    data = pd.DataFrame({"user": rng.integers(0, 300, n), "item": rng.integers(0, 100, n)})
    noise = rng.normal(size=n)
    means = pd.Series(noise).groupby(data["item"]).transform("mean")
    data["rating"] = rng.normal(size=300)[data["user"]] + noise - means
    found = pm.lmer(FORMULA, data, solver="iterative")
    assert found.varcorr["item"].iloc[0, 0] == 0.0
    assert found.singular
    assert (found.ranef["item"] == 0.0).all(axis=None)


def equations_of(data: pd.DataFrame, sd: float, **more) -> Equations:
    model = build_model(FORMULA, data)
    gram = sparse_cross_products(model)
    found = Iterative(gram, True, IterativeControl(**more))
    return found.estimate([sd * np.eye(1)] * 2).equations


def test_conjugate_gradients_solve_every_column():
    equations = equations_of(ratings(), 0.6)
    S = equations.dense_schur()
    right = np.random.default_rng(0).normal(size=(len(S), 3))
    right[:, 1] = 0.0
    found = conjugate_gradients(
        equations.schur, equations.precondition, right, start=None, tolerance=1e-12, most=500
    )
    assert largest(np.linalg.solve(S, right), found.x) < tol("iterative")
    assert found.residual < 1e-12


def test_the_coarse_space_holds_the_iterations_down():
    data = ratings(n=12_000, users=2400, items=1200, assortativity=1.0, neighbourhood=0.01)
    model = build_model(FORMULA, data)
    search = Iterative(sparse_cross_products(model), True, IterativeControl(probes=4))
    factors = [4.0 * np.eye(1)] * 2
    z = draw_signs(1200, 4, 1)
    counts = []
    for _ in range(2):
        equations = search.estimate(factors).equations
        solved = conjugate_gradients(
            equations.schur, equations.precondition, z, start=None, tolerance=1e-4, most=500
        )
        counts.append(solved.iterations)
    assert counts[1] < 0.8 * counts[0]


def test_the_log_determinant_by_quadrature(monkeypatch):
    equations = equations_of(ratings(users=1000, items=400), 1.0)
    exact = np.linalg.slogdet(equations.dense_schur())[1]
    assert abs(estimate_logdet(equations, draw_signs(400, 2, 0)).value - exact) < 1e-8
    monkeypatch.setattr("pymackay.solve.iterative.logdet._SMALL", 10)
    found = estimate_logdet(equations, draw_signs(400, 64, 0))
    assert 0.0 < found.error < 0.02 * exact
    assert abs(found.value - exact) < 4.0 * found.error


def test_a_start_is_used_and_leads_to_the_same_place():
    data = ratings()
    control = IterativeControl(tolerance=0.1)
    cold = pm.lmer(FORMULA, data, control=control)
    warm = pm.lmer(FORMULA, data, control=control, start=cold.theta)
    assert warm.convergence.evaluations <= cold.convergence.evaluations
    assert largest(cold.theta, warm.theta) < tol("two iterative searches")
    edge = pm.lmer(FORMULA, data, control=control, start=[0.0, 0.0])
    assert largest(cold.theta, edge.theta) < tol("two iterative searches")


def test_an_interrupted_search_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    data = ratings(user_sd=2.0)
    path = tmp_path / "fit.npz"
    control = IterativeControl(tolerance=0.1, checkpoint=path)
    whole = pm.lmer(FORMULA, data, control=IterativeControl(tolerance=0.1))
    estimate, left = Iterative.estimate, [3]

    def interrupted(self, factors, **more):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return estimate(self, factors, **more)

    monkeypatch.setattr(Iterative, "estimate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pm.lmer(FORMULA, data, control=control)
    assert path.exists()
    with pytest.raises(pm.ArgumentError, match="another model or other data"):
        pm.lmer(FORMULA, data.iloc[1:], control=control)
    left[0] = 1000
    resumed = pm.lmer(FORMULA, data, control=control)
    assert resumed.convergence.evaluations < whole.convergence.evaluations
    assert largest(whole.theta, resumed.theta) < tol("two iterative searches")
    assert not path.exists()
    path.write_text("no checkpoint")
    with pytest.raises(pm.ArgumentError, match="cannot be read"):
        pm.lmer(FORMULA, data, control=control)


def test_evaluate_serves_the_methods_of_a_fit():
    data = ratings()
    found = pm.lmer(FORMULA, data, solver="iterative")
    exact = pm.evaluate(FORMULA, data, [0.5, 0.4])
    there = found.evaluate([0.5, 0.4])
    assert abs(there.criterion - exact.criterion) < tol("iterative criterion")
    assert largest(exact.ranef["item"], there.ranef["item"]) < tol("iterative")


def test_auto_takes_the_exact_solver_while_it_is_affordable(monkeypatch):
    data = ratings()
    model = build_model(FORMULA, data)
    assert not choice.choose(model, "auto").iterative
    monkeypatch.setattr(choice, "_LITTLE", 0.0)  # memory is always looked at
    monkeypatch.setattr(choice, "free_memory", lambda: 1e6)
    chosen = choice.choose(model, "auto")
    assert chosen.iterative
    assert "GiB" in chosen.message
    assert any("solver='exact' insists" in m for m in pm.lmer(FORMULA, data).messages)
    assert not choice.choose(model, "exact").iterative
    monkeypatch.undo()
    monkeypatch.setattr(choice, "_PATIENCE", 0.0)
    assert " s for a dense" in choice.choose(model, "auto").message
    sleep = build_model("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    assert not choice.choose(sleep, "auto").iterative


def test_wrong_arguments_are_told_with_the_cure():
    sleep = pm.load_data("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    with pytest.raises(
        pm.ArgumentError, match="solver must be one of 'auto', 'exact', 'iterative'"
    ):
        pm.lmer(formula, sleep, solver="fast")
    with pytest.raises(pm.ArgumentError, match="use solver='exact'"):
        pm.lmer(formula, sleep, solver="iterative")
    with pytest.raises(pm.ArgumentError, match="leave one of the two out"):
        pm.lmer(formula, sleep, solver="iterative", control=Control())
    with pytest.raises(pm.ArgumentError, match="leave one of the two out"):
        pm.lmer(formula, sleep, solver="exact", control=IterativeControl())
    for wrong in ({"tolerance": 0.0}, {"probes": 1}, {"seed": -1}, {"max_probes": 2.5}):
        with pytest.raises(pm.ArgumentError, match=next(iter(wrong))):
            IterativeControl(**wrong)
    with pytest.raises(pm.ArgumentError, match="raise the latter"):
        IterativeControl(probes=64, max_probes=32)


def test_an_iterative_fit_is_evaluated_far_from_its_optimum():
    data, formula = pm.load_data("Penicillin"), "diameter ~ 1 + (1 | plate) + (1 | sample)"
    exact, found = pm.lmer(formula, data), pm.lmer(formula, data, solver="iterative")
    for theta in ([1e3, 1e3], [1e-3, 1e3]):
        far = found.evaluate(theta)
        assert abs(far.criterion - exact.evaluate(theta).criterion) < tol("iterative criterion")


@pytest.mark.parametrize("update", ["gamma", "em"])
def test_the_loop_ends_where_the_search_does(table, update):
    formula = "y ~ x + (x | g) + (1 | h)"
    search = pm.lmer(formula, table)
    loop = pm.mackay(formula, table, update=update, solver="iterative")
    assert loop.convergence.converged
    for name, covariance in search.varcorr.items():
        assert largest(loop.varcorr[name], covariance) < tol("iterative")


def test_learning_by_gradient_needs_the_exact_solver(table):
    with pytest.raises(pm.ArgumentError, match="inner='exact', or solver='exact'"):
        pm.mackay("y ~ x + (1 | g) + (1 | h)", table, solver="iterative", inner="gradient")


def test_terms_of_one_group_may_hold_the_same_column(table):
    formula = "y ~ x + (x || g) + (0 + x | g) + (1 | h)"
    exact, found = pm.lmer(formula, table), pm.lmer(formula, table, solver="iterative")
    assert abs(found.criterion - exact.criterion) < tol("iterative criterion")
