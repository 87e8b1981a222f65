"""A user's own rule: a function of `TermMoments` that returns the next V."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymackay.arguments import covariance_matrix
from pymackay.covariance.roots import root_of
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.terms import TermMoments, TermRound


def own_rule(function: Callable[[TermMoments], object]) -> Rule:
    """Return the rule that calls a user's function, and checks the matrices that it returns."""

    def next_root(term: TermRound) -> np.ndarray:
        moments = term.moments()
        value = np.asarray(function(moments), dtype=np.float64)
        value = value.reshape(1, 1) if value.size == 1 else value
        name = f"update's matrix for the term '{moments.name}'"
        covariance = covariance_matrix(name, value, moments.effects)
        return np.linalg.solve(term.transform, root_of(covariance)) / np.sqrt(moments.noise_var)

    return Rule(getattr(function, "__name__", "custom"), next_root)
