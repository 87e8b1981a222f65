"""`Rule`: an update rule of MacKay's loop, from a round to a term's next covariance matrix.

Each term's covariance matrix is held as ``V = σ² G``, ``G = ΛΛ'``, by a root Λ of shape (q, q)
that need not be triangular: whatever a rule returns, V is positive semidefinite. With τ
(`Evaluation.traces`) and s (`Evaluation.squares`), the effective number of effects is tr(G τ), the
sum of squares of the predicted effects is B̂'B̂ = G s G, and the criterion is stationary where
(τ − s/σ²) G = 0.

A file of this folder that has a tuple `RULES` adds its rules to those that
`pymackay.solve.loop.rules.registry` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pymackay.solve.loop.terms import TermRound


@dataclass(frozen=True)
class Empirical:
    """How a rule sets V from the predicted effects alone, without their error variances.

    Attributes
    ----------
    covariance : callable
        ``covariance(effects, root, inverse)`` returns W, shape (r, r), where effects are
        standardised: b = Λ u with `root` Λ (q, r), `inverse` its pseudo-inverse (r, q), `effects`
        the predicted u, shape (J, r), and V = Λ W Λ'.
    by_effect : bool
        Whether the rule treats each of the user's effects by itself, so that V has no
        covariances. Otherwise it does not depend on the basis of the effects.
    """

    covariance: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    by_effect: bool = False


@dataclass(frozen=True)
class Rule:
    """An update rule, with all that the loop, its forecast and its report need.

    Attributes
    ----------
    name : str
    next_root : callable
        From a `TermRound` to the next root Λ, with V = σ² ΛΛ' and the round's σ².
    likelihood : bool
        Whether its fixed points are those of the likelihood. The loop then ends at the optimum and
        can be accelerated, and a variance of zero is an estimate, not a collapse.
    next_singular_root : callable or None
        The same where V is singular and the loop is accelerated, for a rule that cannot change
        the range of V; None: `next_root` is used there too.
    empirical : Empirical or None
        For a rule that ignores the error variances: its `scale` can be set and its collapse
        predicted.
    structured : callable or None
        From a `TermRound` to the next root of a term whose covariance has a structure; None for a
        rule that has no meaning there.
    """

    name: str
    next_root: Callable[[TermRound], np.ndarray]
    likelihood: bool = False
    next_singular_root: Callable[[TermRound], np.ndarray] | None = None
    empirical: Empirical | None = None
    structured: Callable[[TermRound], np.ndarray] | None = None
