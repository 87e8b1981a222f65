"""Expressions of the formula language: syntax tree, walks over it, and text as R deparses it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from pymackay.formula.rtext import backtick, format_number, quote


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    name: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number; `integer` for one written with R's ``L``."""

    value: float
    integer: bool = False
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class String:
    """A quoted string."""

    value: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Constant:
    """``TRUE``, ``FALSE``, ``NULL`` or ``NA``."""

    text: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator with its arguments; a parenthesis is a call of ``"("``.

    Attributes
    ----------
    function : str
    arguments : tuple of Node
    names : tuple of str or None
        Name of each argument, None where it came by position; empty for operators.
    prefix : str
        ``"splines::"`` where the package was written.
    position : int
        0-based column of the operator or of the function's name.
    depth : int
        How deep the expression nests; a chain of ``+`` and ``-`` counts once.
    """

    function: str
    arguments: tuple[Node, ...]
    names: tuple[str | None, ...] = ()
    prefix: str = ""
    position: int = field(default=0, compare=False)
    depth: int = field(default=1, compare=False)


Node: TypeAlias = Name | Number | String | Constant | Call

_SPACED = frozenset(["+", "-", "*", "==", "!=", "<", ">", "<=", ">=", "&", "&&", "|", "||", "~"])
_INFIX = {
    **{operator: f" {operator} " for operator in (*_SPACED, "%in%")},
    **{operator: operator for operator in ("/", "^", ":", "%%", "%/%")},
}
_PREFIX = frozenset(["+", "-", "!", "~"])


def is_operator(node: Node, operators: Collection[str]) -> bool:
    """Whether a node is one of these operators between two operands."""
    return isinstance(node, Call) and len(node.arguments) == 2 and node.function in operators


def left_spine(node: Node, operators: Collection[str]) -> tuple[Node, list[tuple[Call, Node]]]:
    """Unroll a left-leaning chain such as ``a + b - c``.

    Returns
    -------
    tuple
        The first operand, and the (operator call, right operand) pairs in the order written.
    """
    links: list[tuple[Call, Node]] = []
    while isinstance(node, Call) and len(node.arguments) == 2 and node.function in operators:
        links.append((node, node.arguments[1]))
        node = node.arguments[0]
    links.reverse()
    return node, links


def strip_parentheses(node: Node) -> Node:
    """Return what stands inside the parentheses round an expression."""
    while isinstance(node, Call) and node.function == "(":
        node = node.arguments[0]
    return node


def walk(node: Node) -> Iterator[Node]:
    """Visit every node, from left to right, without recursion."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        if isinstance(current, Call):
            waiting.extend(reversed(current.arguments))


def all_names(node: Node) -> list[str]:
    """Return the variables of an expression, in order of appearance, each once."""
    return list(dict.fromkeys(part.name for part in walk(node) if isinstance(part, Name)))


def variable_name(node: Node) -> str:
    """Return the name R gives to a column made by an expression: a bare name has no backticks."""
    return node.name if isinstance(node, Name) else deparse(node)


def deparse(node: Node) -> str:
    """Write an expression as R's ``deparse`` writes it on one line.

    Examples
    --------
    >>> from pymackay.formula.parser import parse_expression
    >>> deparse(parse_expression("I((x-3)/2)+f(a,b=1e5)"))
    'I((x - 3)/2) + f(a, b = 1e+05)'
    """
    if isinstance(node, Name):
        return backtick(node.name)
    if isinstance(node, Number):
        text = format_number(node.value)
        return f"{int(node.value)}L" if node.integer else text
    if isinstance(node, String):
        return quote(node.value)
    if isinstance(node, Constant):
        return node.text
    if node.function == "(":
        return f"({deparse(node.arguments[0])})"
    if not node.names:
        if len(node.arguments) == 2 and node.function in _INFIX:
            return _deparse_chain(node)
        if len(node.arguments) == 1 and node.function in _PREFIX:
            return f"{node.function}{deparse(node.arguments[0])}"
    return _deparse_call(node)


def _deparse_chain(node: Node) -> str:
    first, links = left_spine(node, _INFIX)
    pieces = [deparse(first)]
    for operator, right in links:
        text = deparse(right)
        if operator.function == ":" and is_operator(right, ":"):
            text = f"({text})"
        pieces.append(f"{_INFIX[operator.function]}{text}")
    return "".join(pieces)


def _deparse_call(node: Call) -> str:
    arguments = ", ".join(
        deparse(argument) if name is None else f"{backtick(name)} = {deparse(argument)}"
        for argument, name in zip(node.arguments, node.names, strict=True)
    )
    return f"{node.prefix}{node.function}({arguments})"
