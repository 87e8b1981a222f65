"""Random probes of generalised models: what they leave to chance, and its stated size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from crossed_models import crossed, laplace_of
from tolerances import tol

import pymackay as pm
from pymackay.solve.linalg.partners import by_row
from pymackay.solve.pirls.fit import GeneralControl
from pymackay.solve.pirls.large.common import common_moves, separate_parts
from pymackay.solve.pirls.large.system import Probing

_SEEDS, _PROBES = 16, 12


def in_parts(count: int) -> pd.DataFrame:
    """Return rows of a design whose parts share no level."""
    random = np.random.default_rng(4)
    part = np.repeat(np.arange(count), 120)
    a, b = (
        10 * part + random.integers(0, 10, len(part)),
        4 * part + random.integers(0, 4, len(part)),
    )
    yes = random.integers(0, 2, len(part))
    return pd.DataFrame({"yes": yes, "x": random.normal(size=len(part)), "a": a, "b": b})


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 3), (20, 1)])
def test_parts_that_never_meet_are_found_unless_they_are_too_many(count, expected):
    data = in_parts(count)
    rows = laplace_of("yes ~ x + (1 | a) + (1 | b)", data, pm.Binomial()).rows
    (labels,) = separate_parts(rows)
    assert len(np.unique(labels)) == expected
    if expected > 1:
        levels = np.asarray(rows.model.factors["b"].levels).astype(int) // 4
        assert len(set(zip(levels, labels, strict=True))) == expected


def test_common_moves_are_orthonormal_and_span_moves_of_all_levels_of_a_part():
    random = np.random.default_rng(0)
    roots = [0.3 * random.normal(size=(q, q, J)) for q, J in ((2, 5), (1, 4))]
    inverses = [np.einsum("baj,bcj->acj", root, root) for root in roots]
    labels = np.array([0, 1, 0, 1, 1]), np.array([0, 0, 1, 1])
    moves = common_moves(labels, inverses)
    assert moves.shape == (14, 6)
    np.testing.assert_allclose(moves.T @ moves, np.eye(6), atol=tol("oracle"))
    expected = []
    for q, J, label, inverse, start in (
        (2, 5, labels[0], inverses[0], 0),
        (1, 4, labels[1], inverses[1], 10),
    ):
        for part in range(2):
            for c in range(q):
                move = np.zeros(14)
                for a in range(q):
                    weight = 1.001 * (a == c) - inverse[a, c]
                    move[start + a * J : start + (a + 1) * J] = np.where(label == part, weight, 0.0)
                expected.append(move)
    both = np.column_stack([moves, np.stack(expected, axis=1)])
    assert np.linalg.matrix_rank(both, tol=1e-8) == 6


def test_along_common_moves_the_inverse_is_exact():
    """One probe leaves no chance to them: its estimate of w'S⁻¹w is the exact one."""
    laplace = laplace_of("count ~ x + (1 + x | a) + (1 | b)", crossed(1), pm.Poisson())
    large = laplace.rows.with_probing(Probing.of(laplace.rows, 2))
    point = laplace.at(np.full(laplace.size, 0.4))
    system = large.probing.system(large, large.products(point.mode.at.d2), point.given.factors)
    m = laplace.rows.n_effects - laplace.rows.lead
    S = system.schur(np.eye(m))
    S0 = scipy.linalg.block_diag(*_diagonal_blocks(S, laplace.rows))
    order = _by_level(laplace.rows)
    beyond = np.linalg.inv(S) - np.linalg.inv(S0)[np.ix_(order, order)]
    W = system._common
    estimate = sum(np.outer(x, y) for x, y in zip(system._columns.T, system._solved.T, strict=True))
    np.testing.assert_allclose(W.T @ estimate @ W, W.T @ beyond @ W, atol=1e-6)


def _places(rows) -> list[np.ndarray]:
    """Return the places of each level's effects among those of the other blocks."""
    made, start = [], 0
    for block in rows.blocks[1:]:
        index = start + np.arange(block.size).reshape(block.q, -1)
        made.extend(index.T)
        start += block.size
    return made


def _diagonal_blocks(S: np.ndarray, rows) -> list[np.ndarray]:
    return [S[np.ix_(each, each)] for each in _places(rows)]


def _by_level(rows) -> np.ndarray:
    """Return where effects stand when they are sorted by level."""
    return np.argsort(np.concatenate(_places(rows)))


def test_entries_are_sorted_by_row_then_column():
    random = np.random.default_rng(2)
    key = random.permutation(35)[:20]
    order, indices, indptr = by_row(key // 5, key % 5, (7, 5))
    np.testing.assert_array_equal(key[order], np.sort(key))
    np.testing.assert_array_equal(indices, np.sort(key) % 5)
    np.testing.assert_array_equal(np.diff(indptr), np.bincount(key // 5, minlength=7))


def test_deviations_from_the_exact_solver_have_the_stated_size():
    """Few levels that meet often: where all levels move together, S⁻¹ is large."""
    formula, scores = "yes ~ x + (1 | a) + (1 | b)", []
    for seed in range(_SEEDS):
        data = crossed(seed, n=2000, levels=(45, 30, 2))
        control = GeneralControl(probes=_PROBES, max_probes=_PROBES, seed=seed)
        exact = pm.glmer(formula, data, "binomial")
        fit = pm.glmer(formula, data, "binomial", solver="iterative", control=control)
        for term, V in fit.varcorr.items():
            error = fit.convergence.monte_carlo_error[f"{term}.(Intercept)"]
            assert error < 1e-2 * V.iloc[0, 0]
            scores.append(float(V.iloc[0, 0] - exact.varcorr[term].iloc[0, 0]) / error)
    rms = float(np.sqrt(np.mean(np.square(scores))))
    assert 0.7 < rms < 1.5  # Student's t with 11 degrees of freedom has 1.11
