"""The MM step, which the accelerated loop takes where a rule's own step raises the criterion."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.roots import metric_roots, symmetric_power
from pymackay.solve.loop.terms import TermRound


def majorised_root(term: TermRound) -> np.ndarray:
    """Return the next root of the MM update, (q, q), which never raises the criterion.

    The next G solves ``G⁺ τ G⁺ = G (s/σ²) G``. In the metric of τ, with ``G̃ = τ^(1/2) G τ^(1/2)``
    and s̃ as in `gamma_root`, it is ``G̃⁺ = (G̃ s̃ G̃)^(1/2)``. With the singular value decomposition
    ``Λ̃ = P D Q'`` of the root's columns that are not zero, the next root is ``P H^(1/2) Q'``, where
    ``H = (D² P' s̃ P D²)^(1/2)``: a fixed point returns its own root, and columns of zero stay.

    References
    ----------
    Zhou, H., Hu, L., Zhou, J., Lange, K. (2019). MM algorithms for variance components models.
    J. Comput. Graph. Stat. 28(2).
    """
    root, traces, squares = term.root, term.traces, term.squares
    if len(root) == 1:
        known = traces[0, 0] > 0.0
        return root * (squares[0, 0] / traces[0, 0]) ** 0.25 if known else root
    half, inverse, unknown = metric_roots(traces)
    live = np.abs(root).sum(axis=0) > 0.0
    axes, sds, turn = np.linalg.svd(half @ root[:, live], full_matrices=False)
    shown = symmetric_power(inverse @ squares @ inverse, 0.5)
    # not from G̃ s̃ G̃ itself, whose small eigenvalues are lost beside the large ones
    ends, variances, _ = np.linalg.svd((sds * sds)[:, None] * (axes.T @ shown))
    following = np.zeros_like(root)
    following[:, live] = axes @ (ends * np.sqrt(variances)[: len(ends)]) @ ends.T @ turn
    return inverse @ following + unknown @ root
