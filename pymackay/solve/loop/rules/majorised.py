"""The MM step, which the accelerated loop takes where a rule's own step raises the criterion."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.roots import metric_roots, symmetric_power
from pymackay.solve.loop.terms import TermRound


def majorised_root(term: TermRound) -> np.ndarray:
    """Return the next root of the MM update, (q, q), which never raises the criterion.

    The next G solves ``G⁺ τ G⁺ = G (s/σ²) G``. In the metric of τ, with ``G̃ = τ^(1/2) G τ^(1/2)``
    and s̃ as in `gamma_root`, it is ``G̃⁺ = (G̃ s̃ G̃)^(1/2)``.

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
    scaled = half @ root @ root.T @ half
    product = scaled @ inverse @ squares @ inverse @ scaled
    return inverse @ symmetric_power(product, 0.25) + unknown @ root
