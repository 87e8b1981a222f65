"""`make_settings`: the arguments of MacKay's loop, checked, with each rule's defaults."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pymackay.arguments import at_least_one, positive_number
from pymackay.errors import ArgumentError
from pymackay.model.model import Model
from pymackay.solve.assemble import Problem
from pymackay.solve.loop.learned import make_learner
from pymackay.solve.loop.rules.rule import Rule, find_rule
from pymackay.solve.loop.run import Callback, Settings

__all__ = ["make_settings"]

_LITERAL_ROUNDS = 100  # the article's
_LIKELIHOOD_ROUNDS = 1000
_TOLERANCE = {"exact": 1e-9, "gradient": 1e-7}


def make_settings(
    problem: Problem,
    *,
    update: object = "gamma",
    scale: object = 1.0,
    iterations: object = None,
    tolerance: object = None,
    inner: object = "exact",
    inner_steps: object = 100,
    optimizer: object = "sgd",
    acceleration: object = None,
    on_collapse: object = "raise",
    callback: Callback | None = None,
    progress: bool | None = None,
) -> Settings:
    """Check the arguments of `pymackay.mackay` and fill in what depends on the rule.

    Raises
    ------
    ArgumentError
        If one of them has a value that it cannot have, or two of them exclude each other.
    """
    rule = find_rule(update)
    inner = _one_of("inner", inner, ("exact", "gradient"))
    on_collapse = _one_of("on_collapse", on_collapse, ("raise", "return", "continue"))
    if callback is not None and not callable(callback):
        raise ArgumentError(f"callback is {callback!r}; it must be a function of a trace row.")
    rounds = _LIKELIHOOD_ROUNDS if rule.likelihood else _LITERAL_ROUNDS
    return Settings(
        rule=rule,
        iterations=rounds if iterations is None else at_least_one("iterations", iterations),
        tolerance=_tolerance(rule, tolerance, max(_TOLERANCE[inner], problem.solver.precision)),
        scale=_scale(rule, scale, problem.model),
        accelerate=_acceleration(rule, acceleration, inner),
        stop_dead=on_collapse != "continue",
        learner=make_learner(problem, inner_steps, optimizer) if inner == "gradient" else None,
        callback=callback,
        progress=progress,
    )


def _one_of(name: str, value: object, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise ArgumentError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, known))}.")


def _tolerance(rule: Rule, tolerance: object, default: float) -> float | None:
    if tolerance is not None:
        return positive_number("tolerance", tolerance)
    return default if rule.likelihood else None


def _scale(rule: Rule, scale: object, model: Model) -> tuple[float, ...]:
    names = [term.name for term in model.terms]
    if not isinstance(scale, Mapping):
        scale = dict.fromkeys(names, scale)
    unknown = sorted(set(scale) - set(names))
    if unknown:
        raise ArgumentError(f"scale names {unknown}, but the model's terms are {names}.")
    factors = tuple(positive_number("scale", scale.get(name, 1.0)) for name in names)
    if rule.name not in ("raw", "diagonal") and not np.all(np.array(factors) == 1.0):
        raise ArgumentError(
            f"scale is {scale!r}, which enlarges the empirical variances of update='raw' and "
            f"'diagonal'; {rule.name!r} has its own divisor. Leave scale out, or give a function "
            f"as update."
        )
    return factors


def _acceleration(rule: Rule, acceleration: object, inner: str) -> bool:
    possible = rule.likelihood and inner == "exact"
    if acceleration is None:
        return possible
    if not isinstance(acceleration, bool | np.bool_):
        raise ArgumentError(f"acceleration is {acceleration!r}; it must be True, False or None.")
    if acceleration and not possible:
        raise ArgumentError(
            "acceleration=True needs update='gamma' or 'em' and inner='exact': there each step can "
            "be checked against the criterion. The other loops are run as they are written."
        )
    return bool(acceleration)
