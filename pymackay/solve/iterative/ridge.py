"""`flat_directions`: covariances that the data do not determine, from sparse cross-products alone.

A direction D of the covariances is flat where it does not change V = I + ZGZ', or, for REML, what
X leaves of it: ``P Z D Z' P = 0`` with P the projection that removes X (the identity for ML). The
criterion is then the same all along D, at every point, so that no evaluation is needed. The
products ``P Z D Z' P Z w`` with random w are zero for such D only, with probability one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pymackay.model.sums.sparse_gram import SparseGram
from pymackay.solve.iterative.equations import block_times
from pymackay.solve.search import limits

_VECTORS = 2  # random w; one would do but for rounding
_SEED = 17

Effects = list[np.ndarray]


def flat_directions(gram: SparseGram, *, reml: bool) -> list[np.ndarray]:
    """Return a basis of the flat directions: elements of G in theta's order, each (m,).

    The squared lengths of ``P Z D Z' P Z w`` are a quadratic form in D's elements, whose null
    vectors are returned.
    """
    rng = np.random.default_rng(_SEED)
    w = [rng.normal(size=(block.size, _VECTORS)) for block in gram.blocks]
    seen = _products(gram, w, reml=reml)
    moved = list(_moved(gram, seen))
    products = [_products(gram, v, reml=reml) for v in moved]
    K = np.array([[_dot(v, product) for product in products] for v in moved])
    typical = sum(float(np.einsum("jaa->", A)) for A in gram.diagonals)
    typical /= sum(block.size for block in gram.blocks)
    lengths = np.sqrt(np.array([_dot(v, v) for v in moved]) * typical)
    unit = 1.0 / np.where(lengths > 0.0, lengths, 1.0)
    values, vectors = np.linalg.eigh(K * np.outer(unit, unit))
    return [unit * vectors[:, k] for k in np.flatnonzero(values < limits.RIDGE_CURVATURE)]


def _products(gram: SparseGram, x: Effects, *, reml: bool) -> Effects:
    """Return ``Z'P Z x`` for effects x, block by block (J q, k)."""
    products = [block_times(A, part) for A, part in zip(gram.diagonals, x, strict=True)]
    for (k, m), pairs in gram.pairs.items():
        C = pairs.matrix()
        products[k] = products[k] + C @ x[m]
        products[m] = products[m] + C.T @ x[k]
    if reml and gram.p:
        columns = [dense[:, :-1] for dense in gram.dense]
        along = sum(Q.T @ part for Q, part in zip(columns, x, strict=True))
        products = [v - Q @ along for v, Q in zip(products, columns, strict=True)]
    return products


def _moved(gram: SparseGram, x: Effects) -> Iterator[Effects]:
    """Yield ``D x``, block by block (J q, k), for a unit in each element of G."""
    for index, block in enumerate(gram.blocks):
        for term, columns in gram.block_slices(block):
            layout = gram.layouts[term]
            for row, column in zip(layout.rows, layout.columns, strict=True):
                D = np.zeros((block.q, block.q))
                within = D[columns, columns]
                within[row, column] = within[column, row] = 1.0
                moved = [np.zeros_like(part) for part in x]
                levels = x[index].reshape(block.n_levels, block.q, -1)
                moved[index] = np.matmul(D, levels).reshape(x[index].shape)
                yield moved


def _dot(x: Effects, y: Effects) -> float:
    return sum(float(np.vdot(a, b)) for a, b in zip(x, y, strict=True))
