"""Random terms of a formula; ``||`` is split and nested groups are expanded as in lme4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from pymackay.errors import FormulaError
from pymackay.formula.expression import (
    Call,
    Name,
    Node,
    Number,
    all_names,
    deparse,
    is_operator,
    left_spine,
    strip_parentheses,
    variable_name,
)
from pymackay.formula.lexer import fault
from pymackay.formula.structured import (
    StructureCall,
    diagonal_call,
    is_structured,
    read_structured,
)
from pymackay.formula.terms import Term, Terms, expand_terms

_BARS = frozenset(["|", "||"])
_TRANSPARENT = ("(", "+", "-")
_JOINING = frozenset(["+", "-", "*", "/", ":", "%in%"])


@dataclass(frozen=True)
class Bar:
    """One random term ``(effects | group)``.

    Attributes
    ----------
    effects : Terms
        The left side.
    group : Node
        The grouping factor: a column, an expression, or ``a:b`` of such.
    group_name : str
        As lme4 prints it.
    group_columns : frozenset of str
        Columns the group is made of; on the left side they count as factors, as in lme4.
    text : str
        The term as it is named in messages.
    structure : StructureCall or None
        The structure of the effects' covariance; None where the formula has none, or ``us()``.
    """

    effects: Terms
    group: Node
    group_name: str
    group_columns: frozenset[str]
    text: str
    structure: StructureCall | None = None

    @property
    def written(self) -> str:
        """The term as a formula has it: ``(x | g)``, ``cs(0 + f | g, hom = TRUE)``."""
        if self.structure is None:
            return f"({self.text})"
        return self.structure.around(self.text)


def expand_double_bars(
    node: Node, text: str, dot: Sequence[str], double_bar: str = "split"
) -> Node:
    """Write ``(1 + x || g)`` as ``((1 | g) + (0 + x | g))`` wherever it stands, as lme4 does.

    Each term of the left side stands alone, so that a factor stays one block. With `double_bar`
    ``"diag"`` it is written as ``diag(1 + x | g)``.
    """
    first, links = left_spine(node, _JOINING | _BARS)
    if isinstance(first, Call) and len(first.arguments) == 1 and first.function in _TRANSPARENT:
        inside = expand_double_bars(first.arguments[0], text, dot, double_bar)
        first = replace(first, arguments=(inside,))
        if first.function == "(" and is_structured(inside):
            first = inside
    for link, right in links:
        if link.function == "||":
            first = _expanded_bar(replace(link, arguments=(first, right)), text, dot, double_bar)
        else:
            inner = right
            if link.function != "|":
                inner = expand_double_bars(right, text, dot, double_bar)
            first = replace(link, arguments=(first, inner))
    return first


def _expanded_bar(call: Call, text: str, dot: Sequence[str], double_bar: str) -> Node:
    """Return what a double bar stands for."""
    if double_bar == "split":
        return _split_double_bar(call, text, dot)
    _refuse_second_bar(call, text)
    return diagonal_call(call)


def _split_double_bar(call: Call, text: str, dot: Sequence[str]) -> Node:
    _refuse_second_bar(call, text)
    left, group = call.arguments
    terms = expand_terms(left, text, dot=dot)
    one, zero = Number(1.0, position=call.position), Number(0.0, position=call.position)
    sides: list[Node] = [one] if terms.intercept else []
    sides += [
        replace(call, function="+", arguments=(zero, _product(terms, t))) for t in terms.terms
    ]
    if not sides:
        raise _nothing_varies(text, call.position)
    bars: list[Node] = [
        replace(
            call, function="(", arguments=(replace(call, function="|", arguments=(side, group)),)
        )
        for side in sides
    ]
    joined = reduce(lambda a, b: replace(call, function="+", arguments=(a, b)), bars)
    return replace(call, function="(", arguments=(joined,))


def _product(terms: Terms, term: Term) -> Node:
    """Write a term as the product of its variables."""
    nodes = [terms.variables[i].node for i in term.variables]
    return reduce(lambda a, b: Call(":", (a, b)), nodes)


def find_bars(node: Node, text: str, dot: Sequence[str]) -> tuple[Bar, ...]:
    """Find the random terms of a formula's right side.

    Parameters
    ----------
    node : Node
        The right side, ``||`` expanded.
    text : str
        The whole formula, for error messages.
    dot : sequence of str
        The columns that ``.`` stands for.

    Returns
    -------
    tuple of Bar
        In the order of the formula, nested groups expanded.

    Raises
    ------
    FormulaError
        If a grouping factor is not one.
    """
    bars: list[Bar] = []
    for term in _bar_calls(node, text):
        call, structure = term, None
        if is_structured(call):
            call, structure = read_structured(call, text)
            _refuse_second_bar(call, text)
        effects = expand_terms(call.arguments[0], text, dot=dot)
        if not effects.terms and not effects.intercept:
            raise _nothing_varies(text, call.position)
        effects_text = deparse(call.arguments[0])
        groups = _nested_groups(call.arguments[1], text)
        bars.extend(_make_bar(effects, effects_text, group, structure) for group in groups)
    return tuple(bars)


def remove_bars(node: Node) -> Node | None:
    """Return a formula's right side without its random terms; None if it has no other terms."""
    first, links = left_spine(node, _JOINING | _BARS)
    kept = _remove_from_operand(first)
    for link, right in links:
        if link.function in _BARS:
            kept = None
            continue
        rest = remove_bars(right)
        if kept is None or rest is None:
            kept = rest if kept is None else kept
        else:
            kept = Call(link.function, (kept, rest), (), "", link.position, link.depth)
    return kept


def _remove_from_operand(node: Node) -> Node | None:
    if is_structured(node):
        return None
    if isinstance(node, Call) and len(node.arguments) == 1 and node.function in _TRANSPARENT:
        inside = remove_bars(node.arguments[0])
        if inside is None:
            return None
        return Call(node.function, (inside,), (), "", node.position, node.depth)
    return node


def _bar_calls(node: Node, text: str) -> list[Call]:
    """Collect the calls of ``|`` and ``||``, and structures, that formula operators join."""
    first, links = left_spine(node, _JOINING | _BARS)
    last_bar = max((i for i, (link, _) in enumerate(links) if link.function in _BARS), default=-1)
    if last_bar >= 0:
        bar = links[last_bar][0]
        _refuse_second_bar(bar, text)
        bars = [bar]
    elif isinstance(first, Call) and len(first.arguments) == 1 and first.function in _TRANSPARENT:
        bars = _bar_calls(first.arguments[0], text)
    elif isinstance(first, Call) and is_structured(first):
        bars = [first]
    else:
        bars = []
    for _, right in links[last_bar + 1 :]:
        bars.extend(_bar_calls(right, text))
    return bars


def _refuse_second_bar(bar: Call, text: str) -> None:
    """Refuse ``a | g | h`` and a random term that forgot its parentheses."""
    left, right = bar.arguments
    inside = _bar_calls(left, text) or _bar_calls(right, text)
    if inside:
        raise fault(
            "a random term has one bar, with its grouping factor on the right; put each term "
            "into its own parentheses, as in (1 | g) + (1 | h)",
            text,
            inside[0].position,
        )


def _nothing_varies(text: str, position: int) -> FormulaError:
    return fault(
        "nothing on the left of the bar varies between groups; write (1 | g) for an intercept",
        text,
        position,
    )


def _make_bar(
    effects: Terms, effects_text: str, group: Node, structure: StructureCall | None
) -> Bar:
    name = variable_name(group)
    columns = frozenset(all_names(group))
    asked = None if structure is None or structure.name == "us" else structure
    return Bar(effects, group, name, columns, f"{effects_text} | {name}", asked)


def _nested_groups(node: Node, text: str) -> list[Node]:
    """Expand ``a/b/c`` to ``c:(b:a)``, ``b:a``, ``a``, lme4's names and order."""
    bare = strip_parentheses(node)
    if not is_operator(bare, "/"):
        _check_group(node, text)
        return [node]
    outermost, links = left_spine(bare, "/")
    groups = _nested_groups(outermost, text)
    for link, inner in links:
        for nested in _nested_groups(inner, text)[::-1]:
            joined = Call(":", (nested, groups[0]), (), "", link.position, link.depth)
            groups.insert(0, joined)
    return groups


def _check_group(node: Node, text: str) -> None:
    bare = strip_parentheses(node)
    if is_operator(bare, ":") and isinstance(bare, Call):
        for part in bare.arguments:
            _check_group(part, text)
        return
    is_function = isinstance(bare, Call) and bool(bare.names or not bare.arguments)
    if not isinstance(bare, Name) and not is_function:
        shown = deparse(bare) if not isinstance(bare, Number) else "a number"
        raise fault(
            f"{shown} is no grouping factor; on the right of a bar stands a column, a:b for the "
            f"combinations of two, or a/b for b within a",
            text,
            bare.position,
        )
