"""What every solver answers: all kinds are asked the same, and compared with fits from scratch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from oracle import dense_as_fit, dense_fit
from small_models import crossed_model, sleepstudy_model
from tolerances import tol

import pymackay as pm
from pymackay.model.model import Model
from pymackay.model.sums.gram import cross_products
from pymackay.model.sums.sparse_gram import sparse_cross_products
from pymackay.solve.assemble import Problem, evaluate_at, factors_from_theta, fit_problem
from pymackay.solve.choose import Choice, fit_model, make_problem, remake_solver
from pymackay.solve.exact.solver import Exact
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.fit import IterativeSolver
from pymackay.solve.search.limits import Control
from pymackay.solve.solver import Solver

UNIT_VECTORS = IterativeControl(probes=256)  # more than there are effects: exact traces
KINDS: dict[str, tuple[Callable[[], Model], Choice]] = {
    "one factor": (sleepstudy_model, Choice(False)),
    "one factor, two terms": (lambda: sleepstudy_model(double_bar=True), Choice(False)),
    "crossed": (crossed_model, Choice(False)),
    "crossed, weighted": (lambda: crossed_model(weighted=True), Choice(False)),
    "iterative": (crossed_model, Choice(True, control=UNIT_VECTORS)),
    "iterative, weighted": (
        lambda: crossed_model(weighted=True),
        Choice(True, control=UNIT_VECTORS),
    ),
}


def theta_of(model: Model) -> np.ndarray:
    """Return a theta that is no optimum: 0.8 on the diagonal of every factor, 0.1 below it."""
    parts = []
    for term in model.terms:
        q = len(term.effects)
        block = 0.8 * np.eye(q) + 0.1 * np.tril(np.ones((q, q)), -1)
        parts.append(block.T[np.triu_indices(q)])
    return np.concatenate(parts)


def drawn(model: Model, seed: int = 3) -> np.ndarray:
    """Return another response: random, with effects of the levels of the first factor."""
    rng = np.random.default_rng(seed)
    codes = next(iter(model.factors.values())).codes
    return 50.0 + 3.0 * rng.normal(size=codes.max() + 1)[codes] + rng.normal(size=len(codes))


def check_solver(solver: Solver, model: Model, what: str) -> None:
    """Compare a solver, at one theta, with the dense answer for `model`."""
    theta = theta_of(model)
    fit = evaluate_at(Problem(model, solver), theta)
    dense = dense_fit(model, theta, solver.reml)
    as_fit = dense_as_fit(model, theta, solver.reml)
    close = {"rtol": tol("oracle"), "atol": tol("oracle"), "err_msg": what}
    assert fit.criterion == pytest.approx(dense.criterion, rel=tol("criterion"))
    np.testing.assert_allclose(fit.beta, dense.beta, **close)
    np.testing.assert_allclose(fit.vcov, dense.vcov, **close)
    np.testing.assert_allclose(fit.sigma, dense.sigma, **close)
    for group in model.factors:
        np.testing.assert_allclose(fit.ranef[group], as_fit.ranef[group], **close)
        np.testing.assert_allclose(fit.condvar[group], as_fit.condvar[group], **close)
        np.testing.assert_allclose(fit.pev[group], as_fit.pev[group], **close)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_response_gives_the_sums_of_a_fit_from_scratch(kind: str, reml: bool) -> None:
    make, choice = KINDS[kind]
    model = make()
    y = drawn(model)
    solver = make_problem(model, choice, reml=reml).solver.with_response(y)
    check_solver(solver, dataclasses.replace(model, y=y), kind)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_weights_take_the_place_of_those_there_were(kind: str, reml: bool) -> None:
    make, choice = KINDS[kind]
    model = make()
    y = drawn(model)
    weights = np.random.default_rng(5).uniform(0.2, 3.0, len(y))
    solver = make_problem(model, choice, reml=reml).solver.reweighted(weights, y)
    check_solver(solver, dataclasses.replace(model, y=y, weights=weights), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_optimum_on_other_rows_is_that_of_a_fit_from_scratch(kind: str) -> None:
    make, choice = KINDS[kind]
    model = make()
    y = drawn(model)
    weights = np.random.default_rng(5).uniform(0.2, 3.0, len(y))
    first = make_problem(model, choice, reml=True).solver
    for solver, other in (
        (first.with_response(y), dataclasses.replace(model, y=y)),
        (first.reweighted(weights, y), dataclasses.replace(model, y=y, weights=weights)),
    ):
        again = fit_problem(Problem(other, solver))
        scratch = fit_model(other, choice, reml=True)
        near = tol("iterative") if choice.iterative else tol("invariance")
        assert again.criterion == pytest.approx(scratch.criterion, abs=tol("iterative criterion"))
        moved = (again.beta - scratch.beta) / scratch.std_error
        np.testing.assert_allclose(moved, 0.0, atol=near)
        np.testing.assert_allclose((again.fitted - scratch.fitted) / scratch.sigma, 0.0, atol=near)
        for name, covariance in scratch.varcorr.items():
            unit = np.diag(covariance).max() or 1.0
            np.testing.assert_allclose(again.varcorr[name] / unit, covariance / unit, atol=near)


@pytest.mark.parametrize("kind", KINDS)
def test_every_question_is_answered_by_every_kind(kind: str) -> None:
    make, choice = KINDS[kind]
    model = make()
    solver: Solver = make_problem(model, choice, reml=True).solver
    bases = solver.bases
    assert solver.reml and solver.precision >= 0.0
    assert bases.model is model and (bases.n, bases.p) == model.X.shape
    assert bases.n_theta == len(theta_of(model))
    for k, block in enumerate(bases.blocks):
        A, C = bases.level_moments(k)
        assert A.shape == (block.n_levels, block.q, block.q)
        assert C.shape == (block.n_levels, block.q, bases.p + 1)
    factors = factors_from_theta(bases, theta_of(model))
    evaluation = solver.evaluate(factors)
    for with_beta in (False, True):
        variance = solver.error_variance(factors, with_beta=with_beta)
        for block, values, errors in zip(
            bases.blocks, variance.values, variance.errors, strict=True
        ):
            assert values.shape == (block.n_levels, block.q, block.q)
            np.testing.assert_array_equal(errors, np.zeros((block.n_levels, block.q)))
    optimum = solver.find_optimum()
    assert optimum.convergence.converged
    near = solver.find_optimum(optimum.factors, start_only=True)
    assert near.evaluation.criterion == pytest.approx(
        optimum.evaluation.criterion, abs=tol("iterative criterion")
    )
    again = remake_solver(model, solver.recipe(), reml=True)
    assert type(again) is type(solver)
    assert again.evaluate(factors).criterion == evaluation.criterion
    exact = solver.exact(1000)
    assert exact is not None
    for other in (exact, exact.with_sums(exact.sums)):
        assert other.evaluate(factors).criterion == pytest.approx(
            evaluation.criterion, abs=tol("iterative criterion")
        )
    by_ml = exact.by(reml=False)
    assert not by_ml.reml
    dense = dense_fit(model, theta_of(model), False)
    assert by_ml.evaluate(factors).criterion == pytest.approx(dense.criterion, rel=1e-9)


def test_the_exact_solver_of_an_iterative_one_is_made_only_where_it_is_small() -> None:
    iterative = IterativeSolver(sparse_cross_products(crossed_model()), True)
    exact = Exact(cross_products(crossed_model()), True)
    rows = 6 + 3  # levels of h, and columns of X
    assert iterative.exact(rows - 1) is None
    made = iterative.exact(rows)
    assert made is not None
    np.testing.assert_allclose(made.sums.D, exact.sums.D, atol=tol("design"))
    assert exact.exact(0) is exact


def test_a_control_of_the_other_kind_is_refused() -> None:
    exact = Exact(cross_products(crossed_model()), True)
    iterative = IterativeSolver(sparse_cross_products(crossed_model()), True)
    with pytest.raises(pm.ArgumentError, match="takes a Control; leave it out"):
        exact.find_optimum(control=IterativeControl())
    with pytest.raises(pm.ArgumentError, match="takes an IterativeControl; leave it out"):
        iterative.find_optimum(control=Control())


@pytest.mark.parametrize("kind", ["one factor", "crossed", "iterative"])
def test_what_cannot_be_a_response_or_weights_is_refused(kind: str) -> None:
    make, choice = KINDS[kind]
    model = make()
    n = len(model.y)
    solver = make_problem(model, choice, reml=True).solver
    with pytest.raises(pm.ArgumentError, match=f"response must be {n} finite numbers"):
        solver.with_response(np.ones(n - 1))
    with pytest.raises(pm.ArgumentError, match="1 that are not finite"):
        solver.with_response(np.where(np.arange(n) == 5, np.nan, 1.0))
    with pytest.raises(pm.ArgumentError, match="weights must all be positive"):
        solver.reweighted(np.zeros(n), model.y)
    with pytest.raises(pm.DataError, match="exact linear function of the fixed effects"):
        solver.with_response(model.X @ np.arange(1.0, model.X.shape[1] + 1.0))
    rowless = dataclasses.replace(solver.bases, model=dataclasses.replace(model, y=np.zeros(0)))
    with pytest.raises(pm.PymackayError, match="read part by part and not kept"):
        rowless.with_response(model.y)
