"""Structures of a covariance matrix: parameters, factors, names, and the chart's derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import tol

from pymackay.covariance.chart import Chart, chart_around, chart_of
from pymackay.covariance.kinds.autoregressive import Autoregressive
from pymackay.covariance.kinds.compound import CompoundSymmetry
from pymackay.covariance.kinds.diagonal import Diagonal
from pymackay.covariance.kinds.factor_analytic import FactorAnalytic
from pymackay.covariance.kinds.ou import OrnsteinUhlenbeck
from pymackay.covariance.kinds.reduced import ReducedRank
from pymackay.covariance.kinds.toeplitz import Toeplitz
from pymackay.covariance.layout import lower_factor
from pymackay.covariance.loadings import LoadingsChart
from pymackay.covariance.structure import Correlated

EVERY = [
    kind(hom)
    for kind in (Diagonal, CompoundSymmetry, Autoregressive, Toeplitz)
    for hom in (True, False)
]
STEP = 1e-5
TIMES = (0.0, 2.0, 3.5, 9.0)


def points(structure: Correlated, q: int) -> Chart:
    """Return three points of a chart, drawn at random."""
    rng = np.random.default_rng(q)
    sd = rng.uniform(0.5, 2.0, size=(3, structure.n_sd(q)))
    angle = rng.uniform(-1.0, 1.0, size=(3, structure.n_rho(q)))
    return Chart(structure, q, np.concatenate([sd, angle], axis=1))


def written_out(structure: Correlated, par: np.ndarray, q: int) -> np.ndarray:
    """Return the covariance element by element, as its definition says."""
    sd = np.full(q, par[0]) if structure.hom else par[:q]
    rho = par[-1]
    if structure.tag == "toep":
        return np.diag(sd) @ by_partial_autocorrelations(par[structure.n_sd(q) :]) @ np.diag(sd)
    unit = np.diff(TIMES[:q]).min(initial=9.0)
    R = np.eye(q)
    for i in range(q):
        for j in range(q):
            if i == j or structure.tag == "diag":
                continue
            time = abs(TIMES[i] - TIMES[j]) / unit
            powers = {"cs": 1, "ar1": abs(i - j), "ou": time}
            R[i, j] = rho ** powers[structure.tag]
    return np.diag(sd) @ R @ np.diag(sd)


def by_partial_autocorrelations(partial: np.ndarray) -> np.ndarray:
    """Return R lag by lag, from what a partial correlation is: that of regressions' residuals."""
    R = np.eye(len(partial) + 1)
    for k, p in enumerate(partial, start=1):
        inner = R[1:k, 1:k]
        first, last = R[0, 1:k], R[1:k, k]
        explained = first @ np.linalg.solve(inner, last)
        left = [1.0 - side @ np.linalg.solve(inner, side) for side in (first, last)]
        lag = explained + p * np.sqrt(left[0] * left[1])
        i = np.arange(len(R) - k)
        R[i, i + k] = R[i + k, i] = lag
    return R


@pytest.mark.parametrize("q", [1, 2, 4])
@pytest.mark.parametrize("structure", EVERY, ids=str)
def test_factor_and_parameters_belong_together(structure: Correlated, q: int) -> None:
    chart = points(structure, q)
    factor = chart.factor()
    for par, lower, x in zip(chart.par, factor, chart.x, strict=True):
        np.testing.assert_array_equal(lower, np.tril(lower))
        expected = written_out(structure, par, q)
        np.testing.assert_allclose(lower @ lower.T, expected, atol=tol("dense algebra") * q)
        np.testing.assert_allclose(structure.covariance(par, q), expected, rtol=tol("oracle"))
        np.testing.assert_allclose(Chart.of(structure, lower).x, x, rtol=tol("oracle"))
        theta = lower[structure.places(q)]
        np.testing.assert_allclose(structure.par_of_theta(theta, q), par, rtol=tol("oracle"))


@pytest.mark.parametrize("q", [1, 2, 4])
@pytest.mark.parametrize("structure", EVERY, ids=str)
def test_the_chart_is_differentiated_as_differences_say(structure: Correlated, q: int) -> None:
    chart = points(structure, q)
    score = np.random.default_rng(1).normal(size=(3, q, q))
    score += score.swapaxes(1, 2)
    tangents, bending = chart.tangents(), chart.bending(score)
    for k, step in enumerate(STEP * np.eye(chart.x.shape[1])):
        up, down = (Chart(structure, q, chart.x + s) for s in (step, -step))
        slope = (structure.covariance(up.par, q) - structure.covariance(down.par, q)) / (2 * STEP)
        np.testing.assert_allclose(tangents[:, k], slope, atol=tol("difference"))
        change = (up.tangents() - down.tangents()) / (2 * STEP)
        bend = (change * score[:, None]).sum(axis=(-2, -1))
        np.testing.assert_allclose(bending[:, k], bend, atol=10 * tol("difference"))


@pytest.mark.parametrize("q", [1, 2, 4])
@pytest.mark.parametrize("hom", [True, False])
def test_a_structure_by_time_has_all_of_this_too(hom: bool, q: int) -> None:
    structure = OrnsteinUhlenbeck(hom, TIMES[:q])
    test_factor_and_parameters_belong_together(structure, q)
    test_the_chart_is_differentiated_as_differences_say(structure, q)


def test_a_factor_analytic_structure_has_all_of_this_too() -> None:
    structure = FactorAnalytic()
    test_the_chart_is_differentiated_as_differences_say(structure, 4)
    chart = points(structure, 4)
    for par, lower in zip(chart.par, chart.factor(), strict=True):
        sd, loading = par[:4], par[4:]
        expected = np.outer(sd * loading, sd * loading) + np.diag(sd**2 * (1.0 - loading**2))
        np.testing.assert_array_equal(lower, np.tril(lower))
        np.testing.assert_allclose(lower @ lower.T, expected, atol=tol("dense algebra") * 4)
        np.testing.assert_allclose(structure.covariance(par, 4), expected, rtol=tol("oracle"))
        sign = np.sign(loading[np.abs(loading).argmax()])
        again = structure.par_of(lower)
        np.testing.assert_allclose(again[:4], sd, rtol=tol("oracle"))
        np.testing.assert_allclose(again[4:], sign * loading, rtol=tol("oracle"))


@pytest.mark.parametrize("loading", [[1.0, 0.5, -0.7, 0.2], [0.6, 1.0, 1.0, 0.1], [0.5, 0, 0, 0]])
def test_loadings_at_their_bounds_or_zero_give_the_matrix_back(loading: list[float]) -> None:
    structure = FactorAnalytic()
    par = np.concatenate([[1.0, 2.0, 0.5, 3.0], loading])
    factor = structure.factor(par, 4)
    expected = structure.covariance(par, 4)
    np.testing.assert_allclose(factor @ factor.T, expected, atol=1e-14)
    again = structure.covariance(structure.par_of(factor), 4)
    np.testing.assert_allclose(again, expected, atol=1e-12)


@pytest.mark.parametrize(("q", "d"), [(1, 2), (3, 1), (4, 2), (3, 3)])
def test_a_reduced_rank_is_that_of_its_loadings(q: int, d: int) -> None:
    structure, rng = ReducedRank(rank=d), np.random.default_rng(q + d)
    loadings = rng.normal(size=(2, q, min(q, d)))
    factor = lower_factor(np.concatenate([loadings, np.zeros((2, q, q - min(q, d)))], axis=2))
    par = structure.par_of(factor)
    G = loadings @ loadings.swapaxes(1, 2)
    assert par.shape == (2, structure.n_par(q)) == (2, len(structure.names(list("abcd"[:q]))))
    np.testing.assert_allclose(structure.covariance(par, q), G, atol=tol("dense algebra") * q)
    np.testing.assert_allclose(structure.par_of_theta(-par[0], q), par[0], rtol=tol("oracle"))
    values = np.linalg.eigvalsh(G[0])
    lowest = np.sqrt(values[q - min(q, d)])
    assert structure.least_size(factor[0]) == pytest.approx(lowest, rel=tol("oracle"))


@pytest.mark.parametrize("local", [True, False])
def test_a_chart_of_loadings_is_differentiated_as_differences_say(local: bool) -> None:
    structure, rng = ReducedRank(rank=2), np.random.default_rng(3)
    factor = structure.factor(rng.normal(size=(3, 7)), 4)
    chart = (chart_around if local else chart_of)(structure, factor)
    assert isinstance(chart, LoadingsChart)
    G = factor @ factor.swapaxes(1, 2)
    np.testing.assert_allclose(chart.covariance(), G, atol=tol("dense algebra") * 4)
    score = rng.normal(size=(3, 4, 4))
    score += score.swapaxes(1, 2)
    for k, step in enumerate(STEP * np.eye(7)):
        up, down = chart.moved(step), chart.moved(-step)
        slope = (up.covariance() - down.covariance()) / (2 * STEP)
        np.testing.assert_allclose(chart.tangents()[:, k], slope, atol=tol("difference"))
        change = (up.tangents() - down.tangents()) / (2 * STEP)
        bend = (change * score[:, None]).sum(axis=(-2, -1))
        np.testing.assert_allclose(chart.bending(score)[:, k], bend, atol=10 * tol("difference"))
    moved = chart.moved(STEP * np.ones(7))
    lower = moved.factor()
    np.testing.assert_allclose(lower @ lower.swapaxes(1, 2), moved.covariance(), atol=1e-13)


@pytest.mark.parametrize(
    "structure",
    [CompoundSymmetry(True), Autoregressive(True), OrnsteinUhlenbeck(True, TIMES)],
    ids=str,
)
@pytest.mark.parametrize("end", [0, 1])
def test_at_a_bound_of_the_correlation_nothing_is_divided_by_zero(
    structure: Correlated, end: int
) -> None:
    """lme4 2.1's factor of cs is 0/0 at rho = 1."""
    rho = float(structure.bounds(4)[end][0])
    factor = structure.factor(np.array([2.0, rho]), 4)
    np.testing.assert_allclose(
        factor @ factor.T, structure.covariance(np.array([2.0, rho]), 4), atol=1e-14
    )
    chart = Chart.of(structure, factor)
    np.testing.assert_array_equal(chart.tangents()[1], np.zeros((4, 4)))
    assert chart.par[1] == rho


def test_a_correlation_is_known_where_neighbours_do_not_vary() -> None:
    structure = Autoregressive(False)
    par = np.array([1.5, 0.0, 2.0, 0.6])
    read = structure.par_of(structure.factor(par, 3))
    np.testing.assert_allclose(read, par, rtol=tol("oracle"))


def test_a_start_is_inside_the_bounds() -> None:
    matrix = np.array([[1.0, 2.0, 2.0], [2.0, -1.0, 2.0], [2.0, 2.0, 4.0]])
    for structure in EVERY:
        par = structure.start(matrix, 0.1, 1e6)
        sd, rho = structure.split(par, 3)
        low, high = structure.bounds(3)
        assert (sd > 0.3).all() and (rho > low).all() and (rho < high).all()


def test_theta_of_another_structure_is_refused() -> None:
    with pytest.raises(ValueError):
        CompoundSymmetry(False).par_of_theta(np.array([1.0, 0.5, 0.1, 1.0, 0.9, 1.0]), 3)


def test_names_are_those_of_lme4() -> None:
    """Read from lme4 2.1-0: ``getME(m, "par")`` and ``getME(m, "theta")`` of fits with q = 3."""
    effects = ["fa", "fb", "fc"]
    assert Diagonal(True).theta_names(effects) == ["*"]
    assert CompoundSymmetry(True).names(effects) == ["*", "rho"]
    assert CompoundSymmetry(False).names(effects) == ["fa", "fb", "fc", "rho"]
    assert CompoundSymmetry(True).theta_names(effects) == ["fa", "*.fa", "fb", "*.fb", "fc"]
    assert Autoregressive(True).theta_names(effects) == ["fa", "fb.fa", "fc.fa", "fb", "fc.fb"]
    triangle = ["fa", "fb.fa", "fc.fa", "fb", "fc.fb", "fc"]
    assert Autoregressive(False).theta_names(effects) == triangle
