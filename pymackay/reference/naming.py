"""`naming_columns`: the columns that a formula uses for the names of groups alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pymackay.errors import FormulaError
from pymackay.formula.expression import Call, Name, Node, all_names
from pymackay.formula.normal import named_columns
from pymackay.formula.specification import Specification, specify

_FACTORS = frozenset(["factor", "as.factor"])


def naming_columns(formula: str, columns: Iterable[str], others: Iterable[str]) -> frozenset[str]:
    """Return the columns that a formula uses for the names of groups alone.

    These are on the right of bars, or within ``factor()``, and nowhere else.

    Parameters
    ----------
    formula : str
        Of a model; none are returned for one that only R can read.
    columns : iterable of str
        Of the data.
    others : iterable of str
        Columns, or expressions of them, that are used besides.
    """
    try:
        specification = specify(formula, tuple(map(str, columns)))
        values = {name for text in others for name in (text, *named_columns(text))}
    except FormulaError:
        return frozenset()
    naming = {name for bar in specification.bars for name in bar.group_columns}
    for node in _left_sides(specification):
        values.update(_outside_factors(node))
        naming.update(name for call in _factor_calls(node) for name in all_names(call))
    return frozenset(naming - values)


def _left_sides(specification: Specification) -> Iterator[Node]:
    """Yield the variables of the response, the fixed part and the left sides of bars."""
    for terms in (specification.fixed, *(bar.effects for bar in specification.bars)):
        yield from (variable.node for variable in terms.variables)


def _outside_factors(node: Node) -> Iterator[str]:
    """Yield the names that stand outside of ``factor()``."""
    if isinstance(node, Name):
        yield node.name
    elif isinstance(node, Call) and node.function not in _FACTORS:
        for argument in node.arguments:
            yield from _outside_factors(argument)


def _factor_calls(node: Node) -> Iterator[Call]:
    if isinstance(node, Call):
        if node.function in _FACTORS:
            yield node
        else:
            for argument in node.arguments:
                yield from _factor_calls(argument)
