"""The accuracy table reads the error covariances of parity cases."""

from __future__ import annotations

import numpy as np

from benchmarks import cases_table


def test_error_covariances_are_read_by_effect_and_as_whole_blocks():
    entry = {"condvar_levels": ["a", "b"], "terms": ["x", "z"]}
    by_effect = {**entry, "condvar": {"z": [[[1.0]], [[2.0]]], "x": [[[3.0]], [[4.0]]]}}
    levels, blocks = cases_table._condvar(by_effect)
    assert levels == ["a", "b"]
    np.testing.assert_array_equal(blocks[:, [0, 1], [0, 1]], [[3.0, 1.0], [4.0, 2.0]])
    assert np.isnan(blocks[:, 0, 1]).all()
    whole = [[[1.0, 0.5], [0.5, 2.0]], [[3.0, 0.1], [0.1, 4.0]]]
    _, blocks = cases_table._condvar({**entry, "condvar": {"all": whole}})
    np.testing.assert_array_equal(blocks, whole)
