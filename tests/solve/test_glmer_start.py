"""Where the search of a generalised model begins, and the sums of crossed designs, part by part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from tolerances import tol

import pymackay as pm
from pymackay.solve.linalg import partners
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.mode import find_mode
from pymackay.solve.pirls.starts.first import start_of


@pytest.fixture(scope="module")
def laplace() -> Laplace:
    random = np.random.default_rng(3)
    n, g, h = 400, random.integers(0, 30, 400), random.integers(0, 9, 400)
    x = random.normal(size=n)
    b, c = random.normal(size=(2, 30)), random.normal(size=9)
    eta = 0.3 + x * (0.5 + b[1, g]) + b[0, g] + 0.7 * c[h]
    y = (random.uniform(size=n) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    data = pd.DataFrame({"y": y, "x": x, "g": g.astype(str), "h": h.astype(str)})
    made: Laplace = pm.glmer("y ~ x + (x | g) + (1 | h)", data, "binomial").problem.laplace
    return made


@pytest.mark.parametrize("part", [1, 7, 10_000])
def test_products_of_entries_of_one_row_are_those_of_the_dense_matrix(part, monkeypatch):
    monkeypatch.setattr(partners, "_PART", part)
    random = np.random.default_rng(1)
    dense = np.where(random.uniform(size=(20, 6)) < 0.4, random.normal(size=(20, 6)), 0.0)
    dense[[0, 7, 8, 19]] = 0.0  # levels that meet no other, at the ends too
    V, M = sp.csr_matrix(dense), random.normal(size=(6, 6))
    M = M + M.T
    pairs = partners.Partners.of(V.indices, V.indptr, 6)
    np.testing.assert_allclose(pairs.squared(V.data, 6), dense.T @ dense, atol=tol("oracle"))
    theirs = (dense @ M)[dense != 0.0]
    np.testing.assert_allclose(pairs.times(V.data, M), theirs, atol=tol("oracle"))


def test_effects_are_multiplied_and_divided_by_the_factors(laplace):
    u = np.random.default_rng(0).normal(size=laplace.rows.n_effects)
    given = laplace.given(np.array([0.1, 0.2, 0.9, 0.3, 0.5, 0.7]))
    np.testing.assert_allclose(given.unscaled(given.scaled(u)), u, atol=tol("oracle"))


def test_along_axes_without_variance_effects_begin_at_zero(laplace):
    given = laplace.given(np.array([0.1, 0.2, 0.9, 0.3, 0.0, 0.0]))
    made = given.unscaled(np.ones(laplace.rows.n_effects))
    assert np.isfinite(made).all()
    assert not made[laplace.rows.spans[1]].any()
    one_axis = given.scaled(made)[laplace.rows.spans[0]].reshape(2, -1)
    np.testing.assert_allclose(one_axis[1], one_axis[0] / 3.0, atol=tol("oracle"))


def test_first_effects_lead_to_the_mode_in_fewer_steps(laplace):
    plain = replace(laplace, effects=None)
    start = start_of(plain)
    zero = plain.at(start.psi)
    near = replace(plain, effects=start.effects).at(start.psi)
    np.testing.assert_allclose(near.mode.u, zero.mode.u, atol=tol("oracle"))
    np.testing.assert_allclose(near.criterion, zero.criterion, rtol=tol("oracle"))
    assert near.mode.rounds < zero.mode.rounds


def test_a_mode_that_need_not_be_exact_takes_fewer_steps(laplace):
    given, zero = laplace.given(start_of(laplace).psi), np.zeros(laplace.rows.n_effects)
    exact, rough = find_mode(given, zero), find_mode(given, zero, 1e-3)
    assert rough.rounds < exact.rounds
    gap = np.linalg.norm(rough.u - exact.u) / np.linalg.norm(exact.u)
    assert 1e-9 < gap < 0.1
