"""`StructureCall`: the wrapper round a random term, as in ``ar1(0 + time | g, hom = TRUE)``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pymackay.formula.expression import (
    Call,
    Constant,
    Name,
    Node,
    Number,
    deparse,
    is_operator,
    strip_parentheses,
    walk,
)
from pymackay.formula.lexer import fault

DEFAULT_HOM = {
    "us": False,
    "diag": False,
    "cs": False,
    "ar1": True,
    "ou": True,
    "toep": False,
    "fa": False,
    "rr": False,
    "propto": True,
}
"""The structures of the formula language, and whether the effects share a variance by default."""

_BARS = ("|", "||")
_RANKS = {"fa": 1, "rr": 2}  # numbers of factors, where the formula does not say how many


@dataclass(frozen=True)
class StructureCall:
    """The structure that a formula asks for a random term.

    Attributes
    ----------
    name : {"us", "diag", "cs", "ar1", "ou", "toep", "fa", "rr", "propto"}
    hom : bool
        Whether all effects of the term have the same variance.
    known : str
        Name of the known matrix of `propto`, else empty.
    rank : int
        Number of factors of `fa` and `rr`, else 0.
    """

    name: str
    hom: bool
    known: str = ""
    rank: int = 0

    def around(self, bar: str) -> str:
        """Write the structure round the text of a random term."""
        if self.known:
            return f"{self.name}({bar}, {self.known})"
        if self.rank:
            rank = "" if self.rank == _RANKS[self.name] else f", d = {self.rank}"
            return f"{self.name}({bar}{rank})"
        default = self.hom == DEFAULT_HOM[self.name]
        return f"{self.name}({bar}{'' if default else f', hom = {str(self.hom).upper()}'})"


def is_structured(node: Node) -> bool:
    """Whether a node is a structure round a random term; without a bar it is a function call."""
    return (
        isinstance(node, Call)
        and node.function in DEFAULT_HOM
        and any(is_operator(strip_parentheses(argument), _BARS) for argument in node.arguments)
    )


def drop_structures(node: Node, text: str) -> Node:
    """Return a formula's right side with the bare random term in the place of each structure."""
    if not isinstance(node, Call):
        return node
    if is_structured(node):
        bar, _ = read_structured(node, text)
        return Call("(", (bar,), (), "", bar.position, node.depth)
    if node.names or not any(is_structured(part) for part in walk(node)):
        return node
    return replace(node, arguments=tuple(drop_structures(part, text) for part in node.arguments))


def diagonal_call(bar: Call) -> Call:
    """Write ``(f || g)`` as ``diag(f | g)``."""
    single = replace(bar, function="|")
    return Call("diag", (single,), (None,), "", bar.position, bar.depth + 1)


def read_structured(call: Call, text: str) -> tuple[Call, StructureCall]:
    """Return the bar inside a call for which `is_structured` holds, and the structure.

    Raises
    ------
    FormulaError
        If the call has arguments other than one random term and ``hom``. lme4 ignores these
        without a message, and fits another model than the one that was written.
    """
    if call.function == "propto":
        return _read_known(call, text)
    bar = _only_bar(call, text)
    if call.function in _RANKS:
        return bar, StructureCall(call.function, False, rank=_read_rank(call, text))
    hom = DEFAULT_HOM[call.function]
    for argument, name in zip(call.arguments, call.names, strict=True):
        if name is not None:
            hom = _read_hom(call, name, argument, text)
    return bar, StructureCall(call.function, hom)


def _read_known(call: Call, text: str) -> tuple[Call, StructureCall]:
    """Return the bar of ``propto(bar, A)``, and the structure with the name of its matrix."""
    if len(call.arguments) == 2 and not any(call.names):
        bar, matrix = call.arguments
        if isinstance(matrix, Name):
            alone = replace(call, arguments=(bar,), names=(None,))
            return _only_bar(alone, text), StructureCall("propto", True, matrix.name)
    raise fault(
        "propto() takes one random term and the name of a known matrix; write "
        "propto(0 + f | g, A) and give the matrix as known={'A': frame}",
        text,
        call.position,
    )


def _read_rank(call: Call, text: str) -> int:
    """Return the number of factors of ``rr(bar, d = 2)`` or ``fa(bar)``."""
    name, rank = call.function, _RANKS[call.function]
    for argument, argument_name in zip(call.arguments, call.names, strict=True):
        if argument_name is None:
            continue
        whole = isinstance(argument, Number) and argument.value == int(argument.value) >= 1
        if argument_name != "d" or not whole:
            raise fault(
                f"{name}() takes one random term, and d, the number of factors, by name as a "
                f"whole number from 1; write {name}(0 + f | g, d = {rank})",
                text,
                call.position,
            )
        assert isinstance(argument, Number)
        rank = int(argument.value)
    if name == "fa" and rank > 1:
        bar = deparse(_only_bar(call, text))
        raise fault(
            f"fa() has one factor, d = 1; for a covariance matrix with {rank} factors and a "
            f"variance of each effect besides, write rr({bar}, d = {rank}) + diag({bar})",
            text,
            call.position,
        )
    return rank


def _only_bar(call: Call, text: str) -> Call:
    """Return the only argument without a name, which must be a random term by ``|``."""
    name = call.function
    if call.prefix:
        raise fault(f"write {name}( ... ) without {call.prefix}", text, call.position)
    pairs = zip(call.arguments, call.names, strict=True)
    unnamed = [argument for argument, argument_name in pairs if argument_name is None]
    if len(unnamed) != 1:
        raise fault(
            f"{name}() takes one random term, and {_option(name)} by name; write "
            f"{name}(x | g, {_option(name).partition(' or ')[0]})",
            text,
            call.position,
        )
    bar = unnamed[0]
    if isinstance(bar, Call) and bar.function == "(":
        raise fault(
            f"the random term inside {name}() has parentheses of its own, which lme4 reads as "
            f"a term without a structure; write {name}({deparse(strip_parentheses(bar))})",
            text,
            bar.position,
        )
    assert isinstance(bar, Call)
    if bar.function == "||":
        single = deparse(replace(bar, function="|"))
        raise fault(
            f"{name}() with a double bar has no meaning: || says that the effects do not "
            f"correlate, and {name}() says how they do; write {name}({single}), or "
            f"diag({single}) for effects that do not correlate",
            text,
            bar.position,
        )
    return bar


def _option(name: str) -> str:
    return f"d = {_RANKS[name]}" if name in _RANKS else "hom = TRUE or hom = FALSE"


def _read_hom(call: Call, name: str, argument: Node, text: str) -> bool:
    """Return the value of ``hom``; any other argument is refused."""
    if name == "het":
        raise fault(
            f"{call.function}() has no argument het; write hom = FALSE for a variance of each "
            f"effect, hom = TRUE for one that they share",
            text,
            call.position,
        )
    if name != "hom" or call.function == "us":
        what = "no arguments besides the random term" if call.function == "us" else "hom only"
        raise fault(
            f"{call.function}() has no argument {name}; it takes {what}", text, call.position
        )
    if not isinstance(argument, Constant) or argument.text not in ("TRUE", "FALSE"):
        raise fault(
            f"hom must be TRUE or FALSE, but it is {deparse(argument)}", text, call.position
        )
    return argument.text == "TRUE"
