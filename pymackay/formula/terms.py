"""Terms of one side of a formula: R's algebra of ``+ : * / %in% ^ -`` and its coding rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pymackay.errors import FormulaError
from pymackay.formula.expression import (
    Call,
    Constant,
    Name,
    Node,
    Number,
    deparse,
    is_operator,
    left_spine,
    strip_parentheses,
    variable_name,
)
from pymackay.formula.lexer import fault

CONTRASTS, DUMMIES = 1, 2
"""How a factor enters a term: by its contrasts, or by one column for each level."""

MAX_TERMS = 5000
MAX_PRODUCTS = 1_000_000
_FORMULA_OPERATORS = frozenset(["+", "-", "*", ":", "/", "%in%"])


@dataclass(frozen=True)
class Variable:
    """A variable of a model: a column, or an expression of columns.

    Attributes
    ----------
    name : str
        R's name in the model frame: ``"x"``, ``"my var"``, ``"log(x)"``.
    label : str
        R's name in column names: as `name`, but ``"`my var`"`` with backticks.
    node : Node
        What it is computed from.
    """

    name: str
    label: str
    node: Node

    @property
    def is_offset(self) -> bool:
        """Whether it is ``offset(...)``."""
        return isinstance(self.node, Call) and self.node.function == "offset"


@dataclass(frozen=True)
class Term:
    """A product of variables.

    Attributes
    ----------
    variables : tuple of int
        Positions in `Terms.variables`, ascending.
    coding : tuple of int
        For each variable, how a factor in its place is coded: `CONTRASTS` or `DUMMIES`.
    """

    variables: tuple[int, ...]
    coding: tuple[int, ...]


@dataclass(frozen=True)
class Terms:
    """One side of a formula, expanded.

    Attributes
    ----------
    variables : tuple of Variable
        In the order of appearance, the response first if there is one.
    terms : tuple of Term
        Ordered by the number of variables, then by appearance.
    intercept : bool
    response_repeated : bool
        Whether the response also stood on the right, from where R drops it.
    """

    variables: tuple[Variable, ...]
    terms: tuple[Term, ...]
    intercept: bool
    response_repeated: bool = False

    def label(self, term: Term) -> str:
        """Return R's label of a term: ``"a:b"``."""
        return ":".join(self.variables[i].label for i in term.variables)


def make_variable(node: Node) -> Variable:
    """Name a variable as R does."""
    return Variable(variable_name(node), deparse(node), node)


def list_variables(node: Node, text: str, dot: Sequence[str] = ()) -> list[Variable]:
    """List the variables of a formula's side in the order R meets them; bars count as plus."""
    reader = _Reader(text, dot, bars=True)
    reader.extract(node)
    return reader.variables


def expand_terms(
    node: Node, text: str, *, response: Node | None = None, dot: Sequence[str] = ()
) -> Terms:
    """Expand one side of a formula into terms, R's order and coding.

    Parameters
    ----------
    node : Node
        The right side without random terms, or the left side of a bar.
    text : str
        The whole formula, for error messages.
    response : Node, optional
        The left side.
    dot : sequence of str
        The columns that ``.`` stands for.

    Raises
    ------
    FormulaError
        If something stands as a term that is none.
    """
    reader = _Reader(text, dot)
    if response is not None:
        reader.install(response)
    reader.extract(node)
    masks = reader.encode(node)
    response_bit = 1 if response is not None else 0
    offsets = sum(1 << i for i, variable in enumerate(reader.variables) if variable.is_offset)
    kept = [mask for mask in masks if not mask & (offsets & ~response_bit)]
    ordered = sorted(kept, key=int.bit_count)
    return Terms(
        variables=tuple(reader.variables),
        terms=tuple(
            _coded(mask, ordered[:place])
            for place, mask in enumerate(ordered)
            if mask != response_bit
        ),
        intercept=reader.intercept,
        response_repeated=response_bit in kept,
    )


def _coded(mask: int, preceding: Sequence[int]) -> Term:
    """Code each variable of a term (Chambers and Hastie 1992, p. 38).

    Contrasts where the rest of the term is empty or stands in a preceding term, else dummies.
    """
    variables = tuple(i for i in range(mask.bit_length()) if mask >> i & 1)
    coding = []
    for i in variables:
        rest = mask & ~(1 << i)
        covered = not rest or any(rest & ~other == 0 for other in preceding)
        coding.append(CONTRASTS if covered else DUMMIES)
    return Term(variables, tuple(coding))


class _Reader:
    """Reads a side in two passes: it lists the variables, then encodes terms as bit masks.

    Bit i of a mask stands for the variable at position i. `parity` is False inside an odd number
    of minus signs, where 1 removes the intercept.
    """

    def __init__(self, text: str, dot: Sequence[str], bars: bool = False) -> None:
        self.text = text
        self.dot = dot
        self.operators = _FORMULA_OPERATORS | {"|", "||"} if bars else _FORMULA_OPERATORS
        self.variables: list[Variable] = []
        self.places: dict[str, int] = {}
        self.intercept = True
        self.parity = True

    def install(self, node: Node) -> int:
        variable = make_variable(node)
        if variable.label not in self.places:
            self.places[variable.label] = len(self.variables)
            self.variables.append(variable)
        return 1 << self.places[variable.label]

    def extract(self, node: Node) -> None:
        first, links = left_spine(node, self.operators)
        self.extract_operand(first)
        for _, right in links:
            self.extract(right)

    def extract_operand(self, node: Node) -> None:
        if isinstance(node, Call) and not node.names and _is_transparent(node):
            self.extract(node.arguments[0])
        elif isinstance(node, Name) and node.name == ".":
            for name in self.dot:
                self.install(Name(name, node.position))
        elif not _is_constant_term(node):
            self.install(self.checked(node))

    def checked(self, node: Node) -> Node:
        """Refuse what can be no variable."""
        if isinstance(node, Number):
            raise fault(
                "a number other than 0 and 1 is no term; arithmetic goes into I(), as in I(2 * x)",
                self.text,
                node.position,
            )
        if not isinstance(node, Name | Call):
            raise fault(f"{deparse(node)} is no term", self.text, node.position)
        if is_operator(node, ("|", "||")):
            raise fault("a random term cannot stand here; add it", self.text, node.position)
        return node

    def encode(self, node: Node) -> list[int]:
        """Return the terms of a side, each a mask of variables, without repeats."""
        first, links = left_spine(node, ("+", "-"))
        terms = dict.fromkeys(self.encode_operand(first))
        for link, right in links:
            if link.function == "+":
                terms.update(dict.fromkeys(self.encode_operand(right)))
            else:
                for mask in self.removed(right):
                    terms.pop(mask, None)
        return list(terms)

    def removed(self, node: Node) -> list[int]:
        """Encode what follows a minus, where 1 takes the intercept away and 0 gives it back."""
        self.parity = not self.parity
        masks = self.encode(node)
        self.parity = not self.parity
        return masks

    def encode_operand(self, node: Node) -> list[int]:
        if _is_constant_term(node):
            if isinstance(node, Number):
                self.intercept = self.parity == (node.value == 1.0)
            return []
        if isinstance(node, Name) and node.name == ".":
            return [self.install(Name(name)) for name in self.dot]
        if isinstance(node, Call):
            encoded = self.encode_call(node)
            if encoded is not None:
                return self.limited(encoded, node)
        return [self.install(node)]

    def encode_call(self, node: Call) -> list[int] | None:
        """Encode an operator of the formula language; None for any other call."""
        if node.function == "(":
            return self.encode(node.arguments[0])
        if node.names:
            return None
        if len(node.arguments) == 1:
            if node.function == "+":
                return self.encode(node.arguments[0])
            if node.function == "-":
                self.removed(node.arguments[0])
                return []
            return None
        if node.function == "^":
            return self.power(node)
        if node.function not in _FORMULA_OPERATORS:
            return None
        if node.function in ("+", "-"):
            return self.encode(node)
        left, right = (self.encode(argument) for argument in node.arguments)
        return _combine(node.function, left, right)

    def power(self, node: Call) -> list[int]:
        exponent = strip_parentheses(node.arguments[1])
        if not isinstance(exponent, Number) or not 1 <= exponent.value < float("inf"):
            raise fault(
                "the power of a term must be a whole number from 1; arithmetic goes into I()",
                self.text,
                node.arguments[1].position,
            )
        base = self.encode(node.arguments[0])
        product = base
        for _ in range(int(exponent.value) - 1):
            larger = self.limited(_products(base, product), node)
            if larger == product:
                break
            product = larger
        return product

    def limited(self, masks: list[int], node: Node) -> list[int]:
        if len(masks) > MAX_TERMS:
            raise fault(f"this makes more than {MAX_TERMS} terms", self.text, node.position)
        return masks


def _is_transparent(call: Call) -> bool:
    """Whether the terms of a call are made of those of its first argument."""
    if len(call.arguments) == 1:
        return call.function in ("(", "+", "-")
    return call.function == "^"


def _is_constant_term(node: Node) -> bool:
    if isinstance(node, Number):
        return node.value in (0.0, 1.0)
    return isinstance(node, Constant) and node.text == "NULL"


def _combine(operator: str, left: list[int], right: list[int]) -> list[int]:
    """Combine the terms of two sides; as in R, ``1 * x`` and ``1 / x`` hold no term at all."""
    if operator in ("*", "/") and not left:
        return []
    if operator == "*":
        return _unique([*left, *right, *_products(left, right)])
    if operator == ":":
        return _products(left, right)
    if operator == "%in%":
        whole = _union(right)
        return _unique(mask | whole for mask in left)
    whole = _union(left)
    return _unique([*left, *(mask | whole for mask in right)])


def _products(left: list[int], right: list[int]) -> list[int]:
    if len(left) * len(right) > MAX_PRODUCTS:
        raise FormulaError(f"the formula makes more than {MAX_TERMS} terms; name fewer of them")
    return _unique(a | b for a in left for b in right)


def _union(masks: list[int]) -> int:
    whole = 0
    for mask in masks:
        whole |= mask
    return whole


def _unique(masks: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(masks))
