"""EM's rule: V ← (B̂'B̂ + Σ C) / J."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.roots import symmetric_power
from pymackay.solve.loop.rules.gamma import gamma_root
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.rules.structured import structured_em
from pymackay.solve.loop.terms import TermRound


def _em_root(term: TermRound) -> np.ndarray:
    """Return EM's update V ← (B̂'B̂ + Σ C)/J as the next root, Λ W^(1/2), shape (q, q).

    ``W = I + (Û'Û/σ² − Λ'τΛ)/J`` with B̂ = Û Λ'.

    References
    ----------
    Dempster, A. P., Laird, N. M., Rubin, D. B. (1977). Maximum likelihood from incomplete data
    via the EM algorithm. J. R. Statist. Soc. B 39, section 4.4.
    """
    excess = (term.shown - term.information) / term.n_levels
    return term.root @ symmetric_power(np.eye(len(term.root)) + excess, 0.5)


# Λ W^(1/2) has the range of Λ: where V is singular, MacKay's update, which has the same fixed
# points, takes its place
RULES = (
    Rule(
        "em",
        _em_root,
        likelihood=True,
        next_singular_root=gamma_root,
        structured=structured_em,
    ),
)
