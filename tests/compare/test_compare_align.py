"""Theta between orders of terms and effects: the same covariances, singular ones too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymackay.compare.align import map_theta, match_terms
from pymackay.results import TermSummary

A = TermSummary("g", "g", ("a", "b", "c"))
B = TermSummary("h", "h", ("a",))
A_MOVED = TermSummary("g", "g", ("c", "a", "b"))
finite = st.floats(-10.0, 10.0)


def covariance(theta: np.ndarray) -> np.ndarray:
    factor = np.zeros((3, 3))
    factor[[0, 1, 2, 1, 2, 2], [0, 0, 0, 1, 1, 2]] = theta
    return factor @ factor.T


def test_moved_terms_take_their_numbers_along_unchanged():
    theta = np.array([1.0, 0.1, -0.2, 0.5, 0.3, 0.7, 9.0])
    assert map_theta(theta, (A, B), (B, A)).tolist() == [9.0, *theta[:6]]
    assert map_theta(theta, (A, B), (A, B)).tolist() == theta.tolist()


# a loaded machine is no fault of the strategy: it draws six numbers
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(finite, min_size=6, max_size=6))
def test_moved_effects_keep_their_covariances(values):
    theta = np.array(values)
    moved = map_theta(theta, (A,), (A_MOVED,))
    expected = covariance(theta)[np.ix_([2, 0, 1], [2, 0, 1])]
    assert covariance(moved) == pytest.approx(expected, abs=1e-12 * (1 + np.abs(expected).max()))
    assert (moved[[0, 3, 5]] >= 0.0).all()


def test_singular_covariances_can_be_moved():
    theta = np.array([1.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    moved = map_theta(theta, (A,), (A_MOVED,))
    assert covariance(moved) == pytest.approx(covariance(theta)[np.ix_([2, 0, 1], [2, 0, 1])])


def test_terms_match_by_group_and_effects():
    again = TermSummary("h.1", "h", ("a",))
    assert match_terms((A, B), (B, A_MOVED)) == (1, 0)
    assert match_terms((B, again), (again, B)) == (0, 1)
    assert match_terms((A, B), (B,)) == (None, 0)
    assert match_terms((A,), (TermSummary("g", "g", ("a", "b")),)) == (None,)
