"""`ResidualCall`: what ``residual="varident(s) + ar1(t | g)"`` asks for, as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pymackay.errors import ArgumentError, FormulaError
from pymackay.formula.expression import (
    Call,
    Name,
    Node,
    Number,
    deparse,
    is_operator,
    left_spine,
    strip_parentheses,
)
from pymackay.formula.lexer import fault
from pymackay.formula.parser import parse_expression
from pymackay.formula.structured import DEFAULT_HOM, is_structured, read_structured
from pymackay.formula.terms import Variable, make_variable

VARIDENT = "varident"
_EXAMPLE = (
    "residual must be a structure such as 'ar1(time | g)', 'us(visit | id)' or 'varident(stratum)'"
)
_BY_ORDER = ("cs",)  # structures that need no time: all pairs of rows of a group are alike


@dataclass(frozen=True)
class ResidualCall:
    """The covariance of the residuals that a text asks for.

    Attributes
    ----------
    text : str
        As it came.
    strata : Node or None
        What divides the rows into strata with a standard deviation each, of ``varident()``.
    name : str
        The structure of the residuals of one group: ``"ar1"``, ``"us"``, ...; empty if residuals
        are independent.
    hom : bool
        Whether all residuals have the same variance, but for `strata`.
    visit : Node or None
        The left side of the bar: the time or visit of a row; None for ``1``.
    group : Node or None
        The right side of the bar.
    """

    text: str
    strata: Node | None = None
    name: str = ""
    hom: bool = True
    visit: Node | None = None
    group: Node | None = None

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that it uses."""
        nodes = [node for node in (self.strata, self.visit, self.group) if node is not None]
        return tuple(make_variable(part) for node in nodes for part in factor_parts(node))


def factor_parts(node: Node) -> Iterator[Node]:
    """Yield the variables of ``a:b``, or the one variable that a node is."""
    bare = strip_parentheses(node)
    if is_operator(bare, (":",)) and isinstance(bare, Call):
        for part in bare.arguments:
            yield from factor_parts(part)
    else:
        yield bare


def read_residual(text: str) -> ResidualCall:
    """Read the argument `residual` of `lmer`.

    Parameters
    ----------
    text : str
        One structure round ``visit | group``, or ``varident(stratum)``, or both, joined by ``+``.

    Raises
    ------
    ArgumentError
        If it is no text.
    FormulaError
        If it is something else.
    """
    if not isinstance(text, str):
        raise ArgumentError(f"{_EXAMPLE}, but it is a {type(text).__name__}.")
    body = text.strip().removeprefix("~").strip()
    if not body:
        raise FormulaError(f"{_EXAMPLE}, but it is empty")
    first, links = left_spine(strip_parentheses(parse_expression(body, "residual")), "+")
    call = ResidualCall(text)
    for part in (first, *(right for _, right in links)):
        call = _with_part(call, strip_parentheses(part), body)
    if call.strata is not None and call.name and not call.hom:
        raise FormulaError(
            f"residual: both varident() and {call.name}() give the residuals of a group different "
            f"variances, in {body!r}. Write {call.name}(..., hom = TRUE), or leave varident() out."
        )
    for node in (call.strata, call.visit, call.group):
        for part in () if node is None else factor_parts(node):
            is_function = isinstance(part, Call) and bool(part.names or not part.arguments)
            if not isinstance(part, Name) and not is_function:
                raise fault(
                    f"{deparse(part)} is no variable; residual takes columns, and a:b for the "
                    f"combinations of two",
                    body,
                    part.position,
                )
    return call


def _with_part(call: ResidualCall, node: Node, text: str) -> ResidualCall:
    """Return the call with one of the parts that are joined by ``+``."""
    if isinstance(node, Call) and node.function == VARIDENT:
        if len(node.arguments) != 1 or node.names[0] is not None or call.strata is not None:
            raise fault("write varident(stratum), once", text, node.position)
        if is_operator(strip_parentheses(node.arguments[0]), ("|", "||")):
            raise fault(
                "varident() takes the strata and no bar; write varident(stratum)",
                text,
                node.position,
            )
        return ResidualCall(
            call.text, node.arguments[0], call.name, call.hom, call.visit, call.group
        )
    if not is_structured(node) or not isinstance(node, Call):
        known = ", ".join(f"{name}()" for name in DEFAULT_HOM)
        raise fault(
            f"{_EXAMPLE}; the structures are {known} round visit | group, and varident()",
            text,
            node.position,
        )
    if call.name:
        raise fault("one structure with a bar is allowed", text, node.position)
    bar, structure = read_structured(node, text)
    visit: Node | None = strip_parentheses(bar.arguments[0])
    if isinstance(visit, Number) and visit.value == 1.0:
        if structure.name not in _BY_ORDER or not structure.hom:
            raise fault(
                f"{structure.name}() needs to know the visit or time of each row; write "
                f"{structure.name}(visit | group) with a column for visit",
                text,
                node.position,
            )
        visit = None
    return ResidualCall(
        call.text, call.strata, structure.name, structure.hom, visit, bar.arguments[1]
    )
