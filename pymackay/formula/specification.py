"""`Specification`: what a formula asks for, known before the data are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from pymackay.formula.bars import Bar, expand_double_bars, find_bars, remove_bars
from pymackay.formula.expression import Call, Number, all_names, walk
from pymackay.formula.functions import check_function
from pymackay.formula.lexer import fault
from pymackay.formula.parser import Formula, parse_formula
from pymackay.formula.residual import ResidualCall, read_residual
from pymackay.formula.structured import (
    StructureCall,
    drop_structures,
    is_structured,
    read_structured,
)
from pymackay.formula.terms import Terms, Variable, expand_terms, list_variables, make_variable

_AS_DIAG = "a double bar, (f || g), is read as diag(f | g), because of double_bar='diag'"


@dataclass(frozen=True)
class Specification:
    """What a formula asks for.

    Attributes
    ----------
    formula : str
        As it came.
    response : Variable
    fixed : Terms
        Fixed part, `response` its first variable.
    bars : tuple of Bar
        Random terms in the order of the formula.
    variables : tuple of Variable
        All that the model frame holds, in R's order.
    messages : tuple of str
    double_bar : {"split", "diag"}
        How a double bar of the formula was read; ``"split"`` where it has none.
    residual : ResidualCall or None
        The covariance structure of the residuals, if they have one.
    """

    formula: str
    response: Variable
    fixed: Terms
    bars: tuple[Bar, ...]
    variables: tuple[Variable, ...]
    messages: tuple[str, ...] = ()
    double_bar: str = "split"
    residual: ResidualCall | None = None

    @cached_property
    def offsets(self) -> tuple[Variable, ...]:
        """The ``offset(...)`` terms."""
        return tuple(v for v in self.variables if v.is_offset)


def specify(
    formula: str, columns: Sequence[str], double_bar: str = "split", residual: str = ""
) -> Specification:
    """Read a formula.

    Parameters
    ----------
    formula : str
    columns : sequence of str
        Names of the data's columns, in order; asked only if the formula has a ``.``.
    double_bar : {"split", "diag"}
        Whether ``(f || g)`` is a term for each term of ``f``, or ``diag(f | g)``.
    residual : str
        Covariance structure of the residuals; with one, a formula may be without random terms.

    Raises
    ------
    FormulaError
        If the formula or `residual` does not parse, or has no random term.
    """
    if not isinstance(formula, str):
        parse_formula(formula)  # says what is wrong
    return specification_of(formula, tuple(columns), double_bar, residual)


@lru_cache(maxsize=512)
def specification_of(
    text: str, columns: tuple[str, ...], double_bar: str = "split", residual: str = ""
) -> Specification:
    """Do what `specify` does; results are cached by formula and columns."""
    formula = parse_formula(text)
    dot: tuple[str, ...] = ()  # the columns that it stands for: all but the response's
    if "." in all_names(formula.predictors):
        response = set(all_names(formula.response))
        dot = tuple(name for name in columns if name not in response)
    for node in (*walk(formula.response), *walk(formula.predictors)):
        if isinstance(node, Call) and is_structured(node):
            read_structured(node, text)
        elif isinstance(node, Call) and (node.names or not node.arguments):
            check_function(node, text)
    dot = _dot_in_frame_order(formula, dot)
    predictors = expand_double_bars(formula.predictors, text, dot, double_bar)
    as_diag = double_bar == "diag" and predictors != formula.predictors
    formula = replace(formula, predictors=predictors)
    bars = find_bars(predictors, text, dot)
    asked = read_residual(residual) if residual else None
    for variable in () if asked is None else asked.variables:
        if isinstance(variable.node, Call):
            check_function(variable.node, residual)
    if not bars and asked is None:
        raise fault(
            "the formula has no random term; add one such as (1 | g), where g is the column "
            "that groups the rows",
            text,
            len(text),
        )
    rest = remove_bars(predictors) or Number(1.0)
    fixed = expand_terms(rest, text, response=formula.response, dot=dot)
    return Specification(
        formula=text,
        response=make_variable(formula.response),
        fixed=fixed,
        bars=bars,
        variables=_with_residual(_frame_variables(formula, dot), asked),
        messages=(*_messages(fixed, bars, dot), *((_AS_DIAG,) if as_diag else ())),
        double_bar=double_bar if as_diag else "split",
        residual=asked,
    )


def _with_residual(
    variables: tuple[Variable, ...], residual: ResidualCall | None
) -> tuple[Variable, ...]:
    """Return the variables of the model frame with those of the residuals' structure."""
    others = {v.name: v for v in (() if residual is None else residual.variables)}
    names = {v.name for v in variables}
    return (*variables, *(v for name, v in others.items() if name not in names))


def _dot_in_frame_order(formula: Formula, dot: tuple[str, ...]) -> tuple[str, ...]:
    """Order the columns of ``.`` as the model frame does: those named before it come first."""
    columns = set(dot)
    return tuple(v.name for v in _frame_variables(formula, dot) if v.name in columns)


def _frame_variables(formula: Formula, dot: tuple[str, ...]) -> tuple[Variable, ...]:
    response = make_variable(formula.response)
    predictors = drop_structures(formula.predictors, formula.text)
    others = list_variables(predictors, formula.text, dot)
    return (response, *(v for v in others if v.label != response.label))


def _messages(fixed: Terms, bars: Sequence[Bar], dot: Sequence[str]) -> list[str]:
    messages = []
    if fixed.response_repeated:
        messages.append("the response appeared on the right-hand side and was dropped")
    entered = {fixed.variables[i].name for term in fixed.terms for i in term.variables}
    grouping = [bar.group_name for bar in bars if bar.group_name in entered & set(dot)]
    if grouping:
        names = ", ".join(dict.fromkeys(grouping))
        messages.append(
            f"'.' stands for every other column, so {names} is a fixed effect as well as a "
            f"grouping factor (as in lme4); take it out with '. - {grouping[0]}'"
        )
    return [*messages, *_shared_effects(bars)]


def _shared_effects(bars: Sequence[Bar]) -> Iterator[str]:
    """Yield a message for each effect in two terms of one group: its variance is not identified.

    Two different structures may add up to one, as ``rr(f | g) + diag(f | g)``.
    """
    seen: dict[str, list[tuple[str, StructureCall | None]]] = {}
    for bar in bars:
        effects = ["(Intercept)"] * bar.effects.intercept
        effects += [bar.effects.label(term) for term in bar.effects.terms]
        before = seen.setdefault(bar.group_name, [])
        alike = [
            effect
            for effect, other in before
            if bar.structure is None or other is None or other.name == bar.structure.name
        ]
        shared = ", ".join(effect for effect in effects if effect in alike)
        before.extend((effect, bar.structure) for effect in effects)
        if shared:
            yield (
                f"two terms of {bar.group_name} have the effect {shared} in common, so that its "
                f"variances cannot be told apart, only a combination of them; leave it out of one "
                f"of the terms, as in (0 + x | {bar.group_name})"
            )
