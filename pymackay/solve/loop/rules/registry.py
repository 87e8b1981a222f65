"""`find_rule`: the rule for an argument; every file of this folder can add rules."""

from __future__ import annotations

import importlib
import pkgutil

from pymackay.errors import ArgumentError
from pymackay.solve.loop.rules.own import own_rule
from pymackay.solve.loop.rules.rule import Rule

_FOLDER = "pymackay.solve.loop.rules"


def known_rules() -> dict[str, Rule]:
    """Return the rules of all files of this folder by name."""
    files = pkgutil.iter_modules(importlib.import_module(_FOLDER).__path__)
    modules = [importlib.import_module(f"{_FOLDER}.{file.name}") for file in files]
    return {rule.name: rule for module in modules for rule in getattr(module, "RULES", ())}


def find_rule(update: object) -> Rule:
    """Return the rule that `update` is, names, or wraps.

    Raises
    ------
    ArgumentError
        If it is not a rule, the name of one, or a function.
    """
    if isinstance(update, Rule):
        return update
    rules = known_rules()
    if isinstance(update, str) and update in rules:
        return rules[update]
    if callable(update):
        return own_rule(update)
    raise ArgumentError(
        f"update is {update!r}; it must be one of {', '.join(map(repr, rules))}, or a function "
        f"that takes the moments of a term (pymackay.solve.loop.rounds.TermMoments) and returns "
        f"its covariance matrix."
    )
