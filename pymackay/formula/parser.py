"""Formulas: a Pratt parser with R's grammar and precedences; a formula is data and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pymackay.errors import ArgumentError, FormulaError
from pymackay.formula.expression import Call, Constant, Name, Node, Number, String, walk
from pymackay.formula.lexer import Token, fault, tokenize
from pymackay.formula.rtext import KEYWORDS

MAX_DEPTH = 60
"""How deep an expression may nest; far beyond any model, far below Python's own limit."""

# Left and right binding power of the operators between two operands, R's order.
_BINARY = {
    "~": (10, 11),
    "|": (20, 21),
    "||": (20, 21),
    "&": (30, 31),
    "&&": (30, 31),
    **{operator: (50, 51) for operator in ("==", "!=", "<", ">", "<=", ">=")},
    "+": (60, 61),
    "-": (60, 61),
    "*": (70, 71),
    "/": (70, 71),
    "%in%": (80, 81),
    "%%": (80, 81),
    "%/%": (80, 81),
    ":": (90, 91),
    "^": (110, 110),
}
_PREFIX = {"~": 10, "!": 40, "+": 100, "-": 100}
_COMPARISON = 50
_ABSENT = {
    "<-": "assignment is not part of a formula; for 'less than minus', put a space after '<'",
    "->": "assignment is not part of a formula",
    "=": "'=' names an argument inside a call; to compare, write '=='",
    "$": "name the column itself: the data frame is given by the argument data",
    "@": "name the column itself: the data frame is given by the argument data",
    "[": "indexing is not part of a formula; use the argument subset to select rows",
    "{": "braces are not part of a formula",
    "\\": "functions are not defined in a formula",
    "|>": "the pipe is not part of a formula; write the call itself",
    ";": "a formula is one expression; remove the ';'",
}
_PACKAGES = frozenset(["base", "stats", "splines"])
_CONSTANTS = frozenset(["TRUE", "FALSE", "NULL", "NA"])
_NOT_A_NUMBER = {"Inf": float("inf"), "NaN": float("nan")}


@dataclass(frozen=True)
class Formula:
    """A formula with two sides.

    Attributes
    ----------
    text : str
        As it came.
    response : Node
        The left side.
    predictors : Node
        The right side, random terms included.
    """

    text: str
    response: Node
    predictors: Node


def parse_formula(text: str) -> Formula:
    """Parse a model formula.

    Parameters
    ----------
    text : str
        ``"y ~ x + (x | g)"``, in the language of R's lme4.

    Raises
    ------
    ArgumentError
        If `text` is not a string.
    FormulaError
        If it does not parse; `position` says where.

    Examples
    --------
    >>> parse_formula("log(y) ~ x + (1 | g)").response.function
    'log'
    """
    node = parse_expression(text, what="formula")
    if not (isinstance(node, Call) and node.function == "~"):
        raise fault(
            "a formula needs a '~' between the response and the predictors, "
            "such as y ~ x + (1 | g)",
            text,
            0,
        )
    if len(node.arguments) == 1:
        raise fault(
            "nothing stands on the left of '~'; put the response there, such as y ~ x + (1 | g)",
            text,
            node.position,
        )
    _refuse_second_tilde(node, text)
    return Formula(text, node.arguments[0], node.arguments[1])


def _refuse_second_tilde(formula: Call, text: str) -> None:
    tildes = [n.position for n in walk(formula) if isinstance(n, Call) and n.function == "~"]
    if len(tildes) > 1:
        raise fault("a formula has one '~' only", text, sorted(tildes)[1])


def parse_expression(text: str, what: str = "expression") -> Node:
    """Parse an R expression, such as a `subset`.

    Raises
    ------
    ArgumentError
        If `text` is not a string.
    FormulaError
        If it does not parse.
    """
    if not isinstance(text, str):
        raise ArgumentError(
            f"{what} must be a string such as 'y ~ x + (1 | g)', not {type(text).__name__}"
        )
    return _parse(text)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Node:
    return _Parser(text).parse()


class _Parser:
    """Precedence climbing over the tokens of one formula."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.place = 0
        self.depth = 0

    def parse(self) -> Node:
        if self.peek().kind == "end":
            raise FormulaError("the formula is empty; write one such as y ~ x + (1 | g)")
        node = self.expression(0)
        if self.peek().kind != "end":
            raise self.unexpected(self.peek())
        return node

    def peek(self) -> Token:
        return self.tokens[self.place]

    def next(self) -> Token:
        token = self.tokens[self.place]
        self.place += token.kind != "end"
        return token

    def at(self, *operators: str) -> bool:
        token = self.peek()
        return token.kind == "operator" and token.text in operators

    def expression(self, power: int) -> Node:
        """Parse an expression whose operators bind at least as tightly as `power`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.too_deep(self.peek().position)
        left = self.prefix()
        while self.peek().kind == "operator":
            token = self.peek()
            operator = "^" if token.text == "**" else token.text
            if operator not in _BINARY or _BINARY[operator][0] < power:
                break
            self.next()
            left_power, right_power = _BINARY[operator]
            right = self.expression(right_power)
            left = self.call(operator, (left, right), token.position)
            if left_power == _COMPARISON and self.at("==", "!=", "<", ">", "<=", ">="):
                raise fault(
                    "comparisons do not chain; write a < b & b < c", self.text, self.peek().position
                )
        self.depth -= 1
        return left

    def prefix(self) -> Node:
        token = self.next()
        if token.kind == "operator" and token.text in _PREFIX:
            operand = self.expression(_PREFIX[token.text])
            return self.call(token.text, (operand,), token.position)
        node = self.operand(token)
        if self.at("("):
            raise fault(
                "only a function's name can stand before '('", self.text, self.peek().position
            )
        return node

    def operand(self, token: Token) -> Node:
        if token.kind == "number" or token.kind == "integer":
            return Number(float(token.text), token.kind == "integer", token.position)
        if token.kind == "string":
            return String(token.text, token.position)
        if token.kind == "name":
            return self.name(token)
        if token.kind == "operator" and token.text == "(":
            inside = self.expression(0)
            self.close(token)
            return self.call("(", (inside,), token.position)
        raise self.unexpected(token)

    def name(self, token: Token) -> Node:
        if token.quoted:
            return Name(token.text, token.position)
        if token.text in _CONSTANTS or token.text.startswith("NA_"):
            return Constant(token.text if token.text in _CONSTANTS else "NA", token.position)
        if token.text in _NOT_A_NUMBER:
            return Number(_NOT_A_NUMBER[token.text], False, token.position)
        if token.text in KEYWORDS:
            raise fault(
                f"'{token.text}' is a word of R's language, not a column; a column of that name "
                f"goes into backticks",
                self.text,
                token.position,
            )
        if self.at("::", ":::"):
            return self.qualified(token)
        if self.at("("):
            return self.function(token, "")
        return Name(token.text, token.position)

    def qualified(self, package: Token) -> Node:
        """Parse ``splines::ns(x, df = 3)``."""
        separator = self.next().text
        name = self.next()
        if package.text not in _PACKAGES or name.kind != "name" or not self.at("("):
            raise fault(
                f"'{package.text}{separator}' must be base::, stats:: or splines:: and stand "
                f"before a function's name",
                self.text,
                package.position,
            )
        return self.function(name, f"{package.text}{separator}")

    def function(self, name: Token, prefix: str) -> Node:
        opening = self.next()
        arguments: list[Node] = []
        names: list[str | None] = []
        while not self.at(")"):
            names.append(self.argument_name())
            arguments.append(self.expression(_BINARY["~"][1]))
            if not self.at(","):
                break
            comma = self.next()
            if self.at(")"):
                raise fault("an argument is missing after ','", self.text, comma.position)
        self.close(opening)
        return self.call(name.text, tuple(arguments), name.position, tuple(names), prefix)

    def argument_name(self) -> str | None:
        token, following = self.peek(), self.tokens[min(self.place + 1, len(self.tokens) - 1)]
        named = token.kind in ("name", "string") and following.text == "="
        if not (named and following.kind == "operator"):
            return None
        self.next()
        self.next()
        return token.text

    def close(self, opening: Token) -> None:
        token = self.next()
        if token.kind == "end":
            raise fault("the '(' that opens here is never closed", self.text, opening.position)
        if not (token.kind == "operator" and token.text == ")"):
            raise self.unexpected(token)

    def call(
        self,
        function: str,
        arguments: tuple[Node, ...],
        position: int,
        names: tuple[str | None, ...] = (),
        prefix: str = "",
    ) -> Call:
        depths = [argument.depth if isinstance(argument, Call) else 0 for argument in arguments]
        chain = function in ("+", "-") and len(arguments) == 2 and not names
        depth = max(depths[0], depths[1] + 1) if chain else 1 + max(depths, default=0)
        if depth > MAX_DEPTH:
            raise self.too_deep(position)
        return Call(function, arguments, names, prefix, position, depth)

    def too_deep(self, position: int) -> FormulaError:
        return fault(
            f"the formula nests more than {MAX_DEPTH} deep; compute the inner part as a column "
            f"of the data",
            self.text,
            position,
        )

    def unexpected(self, token: Token) -> FormulaError:
        if token.kind == "end":
            return fault("the formula ends too early", self.text, token.position)
        if token.kind != "operator":
            shown = f"`{token.text}`" if token.quoted else token.text
            message = (
                f"unexpected {token.kind} {shown}; an operator such as '+' is missing before it"
            )
        elif token.text.startswith("%"):
            message = f"there is no operator {token.text}; there are %in%, %% and %/%"
        else:
            message = _ABSENT.get(token.text, f"unexpected '{token.text}'")
        return fault(message, self.text, token.position)
