"""Parts of a design whose levels never meet, found by spreading from level to level."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from pymackay.model.sums.sparse_gram import SparseGram

__all__ = ["separate_parts"]

_MOST = 8  # parts: where there are more, none of them stands out
_ROUNDS = 64  # from level to level; a design that hangs together by longer chains counts as one


def separate_parts(gram: SparseGram) -> list[np.ndarray]:
    """Number the parts of a design that share no rows.

    Returns
    -------
    list of numpy.ndarray of int, each (J,)
        Block by block, the leading one left out, each level's part; all zero where parts are too
        many, or too long drawn out, to be told apart.
    """
    patterns = {
        key: pairs.component(np.ones(len(pairs.indices), dtype=bool))
        for key, pairs in gram.pairs.items()
    }
    partners = np.diff(gram.pairs[0, 1].indptr)
    parts = [np.full(block.n_levels, -1) for block in gram.blocks]
    for part in range(_MOST):
        first = int(np.argmax(np.where(parts[0] < 0, partners, -1)))
        reached = [np.zeros(len(p), dtype=bool) for p in parts]
        reached[0][first] = True
        if not _spread(patterns, reached):
            break
        for own, there in zip(parts, reached, strict=True):
            own[there] = part
        if parts[0].min() >= 0:
            return parts[1:]
    return [np.zeros_like(p) for p in parts[1:]]


def _spread(patterns: dict[tuple[int, int], sp.csr_matrix], reached: list[np.ndarray]) -> bool:
    """Mark all levels that are reached, in place; say whether that came to an end."""
    known = 0
    for _ in range(_ROUNDS):
        for (k, m), pattern in patterns.items():
            reached[m] |= pattern.T @ reached[k]
            reached[k] |= pattern @ reached[m]
        count = sum(int(r.sum()) for r in reached)
        if count == known:
            return True
        known = count
    return False
