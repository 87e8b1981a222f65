"""Sums over the rows of each level, against sums that are written out level by level."""

from __future__ import annotations

import numpy as np
from tolerances import tol

from pymackay.model.model import level_gram, level_products


def test_sums_of_levels_are_those_of_their_rows():
    rng = np.random.default_rng(0)
    Z, R = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    codes = rng.choice([0, 1, 3, 4], 60).astype(np.int8)  # no row has level 2, the last is 5
    rows = [np.flatnonzero(codes == j) for j in range(6)]
    gram, products = level_gram(codes, Z, 6), level_products(codes, Z, R, 6)
    np.testing.assert_array_equal(gram, gram.swapaxes(1, 2))
    for j, own in enumerate(rows):
        np.testing.assert_allclose(gram[j], Z[own].T @ Z[own], atol=tol("dense algebra"))
        np.testing.assert_allclose(products[j], Z[own].T @ R[own], atol=tol("dense algebra"))
