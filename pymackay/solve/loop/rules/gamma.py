"""MacKay's rule: v ← Σ b̂² / γ, and its matrix form for effects that may correlate."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.roots import metric_roots, symmetric_power
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.rules.structured import structured_gamma
from pymackay.solve.loop.terms import TermRound


def gamma_root(term: TermRound) -> np.ndarray:
    """Return MacKay's update V ← Σ b̂²/γ for a matrix: the next root, A F, shape (q, q).

    ``A = τ^(-1/2) R^(1/2) τ^(1/2)`` with ``R = τ^(-1/2) (s/σ²) τ^(-1/2)``, so that
    ``M = τ^(1/2) G τ^(1/2)`` becomes ``R^(1/2) M R^(1/2)``. For one effect this is
    ``g ← g s / (σ² τ)``, which is Σ b̂²/γ. V stays positive semidefinite whatever the numbers,
    and does not depend on the basis of the effects. A fixed point has R F = F: if
    K = R^(1/2) and K M K = M, then K F = F O with O orthogonal, F'K F = F'F O is symmetric and
    positive, so that O = 1 by the uniqueness of the polar decomposition. That is
    ``(τ − s/σ²) G = 0``, also where V is singular. (The MM update of Zhou et al. 2019,
    `majorised_root`, moves half as far, and once V is singular it cannot turn V's range.)

    References
    ----------
    MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4(3): for one variance.
    """
    root, traces, squares = term.root, term.traces, term.squares
    if term.learned:  # learned predictions determine s within the range of V only
        return _within_range(root, term.information, term.shown)
    if len(root) == 1:
        known = traces[0, 0] > 0.0
        return root * np.sqrt(squares[0, 0] / traces[0, 0]) if known else root
    half, inverse, unknown = metric_roots(traces)
    R = inverse @ squares @ inverse
    return inverse @ (symmetric_power(R, 0.5) @ (half @ root)) + unknown @ root


def _within_range(root: np.ndarray, information: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return MacKay's update from predictions alone: V ← F Γ^(-1/2) (Û'Û/σ²) Γ^(-1/2) F'."""
    _, inverse, unknown = metric_roots(information)
    return root @ (symmetric_power(inverse @ shown @ inverse, 0.5) + unknown)


RULES = (Rule("gamma", gamma_root, likelihood=True, structured=structured_gamma),)
