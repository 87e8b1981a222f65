"""`make_learner`: some steps of gradient descent a round, where the loop would solve exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymackay.arguments import at_least_one
from pymackay.errors import ArgumentError
from pymackay.solve.assemble import Problem
from pymackay.solve.descent.effects import EffectsDescent
from pymackay.solve.descent.step_rules import Adam, Sgd, StepRule
from pymackay.solve.loop.rounds import Learned, State

__all__ = ["make_learner"]

_NAMED: dict[str, StepRule] = {"sgd": Sgd(), "adam": Adam()}


def make_learner(problem: Problem, steps: object, optimizer: object) -> Callable[[State], Learned]:
    """Return a function that learns on, from where it was, at a state's variances.

    Parameters
    ----------
    problem : Problem
    steps : int
        Steps of gradient descent a call.
    optimizer : {"sgd", "adam"} or a step rule

    Raises
    ------
    ArgumentError
        If `steps` is not at least 1, or `optimizer` is none of these.
    """
    epochs = at_least_one("inner_steps", steps)
    rule = _NAMED.get(optimizer) if isinstance(optimizer, str) else optimizer
    if not isinstance(rule, Sgd | Adam):
        raise ArgumentError(
            f"optimizer is {optimizer!r}; it must be 'sgd', 'adam', or a step rule of "
            f"pymackay.solve.descent.step_rules."
        )
    learner = _Learner(problem, epochs, rule)
    return learner.learn


class _Learner:
    """Effects that keep what they have learned from round to round."""

    def __init__(self, problem: Problem, epochs: int, rule: StepRule) -> None:
        self.problem, self.epochs, self.rule = problem, epochs, rule
        self.descent: EffectsDescent | None = None

    def learn(self, state: State) -> Learned:
        covariances, noise_var = self.variances(state)
        if self.descent is None:
            self.descent = EffectsDescent(self.problem.model, covariances, noise_var)
        else:
            self.descent.set_variances(covariances, noise_var)
        training = self.descent.train(self.epochs, self.rule)
        gram = self.problem.solver.bases
        effects = tuple(
            np.linalg.solve(T, b.T).T / gram.y_scale
            for T, b in zip(gram.transforms, self.descent.ranef().values(), strict=True)
        )
        return Learned(effects, self.descent.sse() / gram.y_scale**2, training.gradient_norm)

    def variances(self, state: State) -> tuple[dict[str, np.ndarray], float]:
        """Return covariance matrices and σ² in the user's units."""
        gram, terms = self.problem.solver.bases, self.problem.model.terms
        noise_var = state.noise_var * gram.y_scale**2
        found = {}
        for term, T, root in zip(terms, gram.transforms, state.roots, strict=True):
            user = T @ root
            found[term.name] = noise_var * (user @ user.T)
        return found, noise_var
