"""`make_learner`: effects by some steps of gradient descent in each round of the loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymackay.arguments import whole_number
from pymackay.errors import ArgumentError
from pymackay.solve.assemble import Problem
from pymackay.solve.descent.effects import EffectsDescent
from pymackay.solve.descent.step_rules import Adam, Sgd, StepRule
from pymackay.solve.loop.rounds import Learned, State

_NAMED: dict[str, StepRule] = {"sgd": Sgd(), "adam": Adam()}


def make_learner(problem: Problem, steps: object, optimizer: object) -> Callable[[State], Learned]:
    """Return a function that continues gradient descent on the effects, at a state's variances.

    Parameters
    ----------
    problem : Problem
    steps : int
        Steps of gradient descent in each call.
    optimizer : {"sgd", "adam"} or a step rule

    Raises
    ------
    ArgumentError
        If `steps` is less than 1, or `optimizer` is not one of these.
    """
    epochs = whole_number("inner_steps", steps)
    rule = _NAMED.get(optimizer) if isinstance(optimizer, str) else optimizer
    if not isinstance(rule, Sgd | Adam):
        raise ArgumentError(
            f"optimizer is {optimizer!r}; it must be 'sgd', 'adam', or a step rule of "
            f"pymackay.solve.descent.step_rules."
        )
    gram, model = problem.solver.bases, problem.model
    descent: EffectsDescent | None = None  # keeps its effects from round to round

    def learn(state: State) -> Learned:
        nonlocal descent
        noise_var = state.noise_var * gram.y_scale**2
        roots = [U @ root for U, root in zip(gram.transforms, state.roots, strict=True)]
        covariances = {
            term.name: noise_var * (root @ root.T)
            for term, root in zip(model.terms, roots, strict=True)
        }
        if descent is None:
            descent = EffectsDescent(model, covariances, noise_var)
        else:
            descent.set_variances(covariances, noise_var)
        training = descent.train(epochs, rule)
        effects = tuple(
            np.linalg.solve(U, b.T).T / gram.y_scale
            for U, b in zip(gram.transforms, descent.ranef().values(), strict=True)
        )
        return Learned(effects, descent.sse() / gram.y_scale**2, training.gradient_norm)

    return learn
