"""MacKay's rule: v ← Σ b̂² / γ, and its matrix form for effects that may correlate."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.roots import metric_roots, symmetric_power
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.rules.structured import structured_gamma
from pymackay.solve.loop.terms import TermRound


def gamma_root(term: TermRound) -> np.ndarray:
    """Return MacKay's update V ← Σ b̂²/γ for a matrix: the next root, shape (q, q).

    In the metric of τ, with ``Λ̃ = τ^(1/2) Λ`` and ``s̃ = τ^(-1/2) (s/σ²) τ^(-1/2)``, the update is
    ``Λ̃ ← s̃^(1/2) Λ̃``. For one effect this is ``G ← G s / (σ² τ)``, which is Σ b̂²/γ. V stays
    positive semidefinite, and the update does not depend on the basis of the effects.

    A fixed point has s̃ Λ̃ = Λ̃, which is ``(τ − s/σ²) G = 0``, also where V is singular. Proof: if
    the update leaves Λ̃Λ̃' as it is, then s̃^(1/2) Λ̃ = Λ̃ O with O orthogonal. Λ̃' s̃^(1/2) Λ̃ = Λ̃'Λ̃ O
    is symmetric and positive semidefinite, so that O = I on the range by the uniqueness of the
    polar decomposition. (The MM update of Zhou et al. 2019, `majorised_root`, takes steps half as
    long, and cannot change the range of a singular V.)

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
    scaled = inverse @ squares @ inverse
    return inverse @ (symmetric_power(scaled, 0.5) @ (half @ root)) + unknown @ root


def _within_range(root: np.ndarray, information: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return MacKay's update from predictions alone: V ← Λ Γ^(-1/2) (Û'Û/σ²) Γ^(-1/2) Λ'.

    Γ = Λ'τΛ is `information`, Û'Û/σ² is `shown`; each (q, q).
    """
    _, inverse, unknown = metric_roots(information)
    return root @ (symmetric_power(inverse @ shown @ inverse, 0.5) + unknown)


RULES = (Rule("gamma", gamma_root, likelihood=True, structured=structured_gamma),)
