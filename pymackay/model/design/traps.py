"""`traps`: messages where a formula, read as lme4 reads it, may not be what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pymackay.formula.bars import Bar
from pymackay.formula.expression import Call, deparse, walk
from pymackay.formula.parser import parse_formula
from pymackay.formula.specification import Specification
from pymackay.formula.terms import expand_terms
from pymackay.model.columns.column import Column, Factor
from pymackay.model.design.arguments import Arguments


def traps(
    specification: Specification, arguments: Arguments, columns: Mapping[str, Column]
) -> tuple[str, ...]:
    """Return messages about double bars with factors, and contrasts that random terms ignore.

    Parameters
    ----------
    specification : Specification
    arguments : Arguments
    columns : mapping of str to Column
        The frame.
    """
    advice = list(_contrasts(specification, arguments, columns))
    if specification.double_bar == "split":
        advice += _double_bars(specification.formula, columns)
    return tuple(advice)


def _double_bars(formula: str, columns: Mapping[str, Column]) -> Iterator[str]:
    """Yield a message for each double bar with a factor on its left."""
    for node in walk(parse_formula(formula).predictors):
        if not (isinstance(node, Call) and node.function == "||"):
            continue
        left, group = node.arguments
        effects = expand_terms(left, formula)
        factors = [v.name for v in effects.variables if isinstance(columns.get(v.name), Factor)]
        if factors:
            f, g = deparse(left), deparse(group)
            yield (
                f"({f} || {g}): the effects of {' and '.join(factors)}, a factor, keep their "
                f"correlations, as in lme4. Without correlations it is diag({f} | {g}); with one "
                f"variance for all levels, (1 | {g}) + (1 | {g}:{':'.join(factors)})"
            )


def _contrasts(
    specification: Specification, arguments: Arguments, columns: Mapping[str, Column]
) -> Iterator[str]:
    """Yield a message for each factor whose contrasts do not reach a random term."""
    fixed = {variable.name for variable in specification.fixed.variables}
    for name in arguments.contrasts or {}:
        bars = [bar for bar in specification.bars if name in _contrasted(bar)]
        if name in fixed and bars and isinstance(columns.get(name), Factor):
            terms = ", ".join(bar.written for bar in bars)
            yield (
                f"contrasts of '{name}' apply to the fixed part only, as in lme4; {terms} has the "
                f"default contrasts"
            )


def _contrasted(bar: Bar) -> set[str]:
    """Return the variables of a bar's left side that have contrasts: not those of 0 + f."""
    effects = bar.effects
    return {v.name for v in effects.variables} if effects.intercept else set()
