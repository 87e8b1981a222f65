"""EM's rule: V ← (B̂'B̂ + Σ C) / J."""

from __future__ import annotations

import numpy as np

from pymackay.covariance.roots import symmetric_power
from pymackay.solve.loop.rules.gamma import gamma_root
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.rules.structured import structured_em
from pymackay.solve.loop.terms import TermRound


def _em_root(term: TermRound) -> np.ndarray:
    """Return EM's update V ← (B̂'B̂ + Σ C)/J as the next root, F K, shape (q, q).

    ``K² = 1 + (Û'Û/σ² − F'τ F)/J`` with B̂ = Û F'; K is the positive root.

    References
    ----------
    Dempster, A. P., Laird, N. M., Rubin, D. B. (1977). Maximum likelihood from incomplete data
    via the EM algorithm. J. R. Statist. Soc. B 39, section 4.4.
    """
    excess = (term.shown - term.information) / term.n_levels
    return term.root @ symmetric_power(np.eye(len(term.root)) + excess, 0.5)


# F K has the range of F: where V is singular, MacKay's update goes on, to the same end
RULES = (
    Rule(
        "em",
        _em_root,
        likelihood=True,
        next_singular_root=gamma_root,
        structured=structured_em,
    ),
)
