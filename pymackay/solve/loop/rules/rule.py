"""`Rule`: an update rule of MacKay's loop, from what a round shows to a term's next covariance.

Every term's covariance matrix is held as ``V = σ² F F'`` with F of shape (q, q), any root: no
rule can leave the covariance matrices. τ and s stand for `Evaluation.traces` and
`Evaluation.squares`: with G = F F', the effective number of effects is tr(G τ), the
predictions' sum of squares B̂'B̂ = G s G, and the criterion is stationary where
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
        standardised: b = R u with `root` R (q, r), `inverse` its pseudo-inverse (r, q), `effects`
        the predicted u, shape (levels, r), and V = R W R'.
    by_effect : bool
        Whether the rule treats each of the user's effects by itself, so that V has no
        covariances. Otherwise it does not depend on the basis of the effects.
    """

    covariance: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    by_effect: bool = False


@dataclass(frozen=True)
class Rule:
    """An update rule: all that the loop, its forecast and its report have to know of it.

    Attributes
    ----------
    name : str
    next_root : callable
        `TermRound` to F, the next V being σ² F F' with the round's σ².
    likelihood : bool
        Whether its fixed points are those of the likelihood: it then ends at the optimum, may be
        accelerated, and a direction that it sets to zero is an estimate, not a collapse.
    next_singular_root : callable or None
        `TermRound` to F where V is singular and the loop is accelerated, for a rule that cannot
        turn the range of V; None: `next_root` serves there too.
    empirical : Empirical or None
        For a rule that leaves the error variances out: its `scale` can be set, its collapse be
        forecast.
    structured : callable or None
        `TermRound` to F for a term whose covariance has a structure; None for a rule that has no
        meaning there.
    """

    name: str
    next_root: Callable[[TermRound], np.ndarray]
    likelihood: bool = False
    next_singular_root: Callable[[TermRound], np.ndarray] | None = None
    empirical: Empirical | None = None
    structured: Callable[[TermRound], np.ndarray] | None = None
