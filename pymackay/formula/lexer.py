"""Tokens of the formula language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pymackay.errors import FormulaError
from pymackay.formula.rtext import NAME


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a formula.

    Attributes
    ----------
    kind : str
        ``"name"``, ``"number"``, ``"integer"``, ``"string"``, ``"operator"`` or ``"end"``.
    text : str
        What it says: quotes, backticks and escapes resolved.
    position : int
        0-based column where it starts.
    quoted : bool
        Whether it is a name in backticks.
    """

    kind: str
    text: str
    position: int
    quoted: bool = False


_PIECE = re.compile(
    rf"""(?P<space>\s+)
      | (?P<backticks>`(?:[^`\\]|\\.)*`)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[Li]?)
      | (?P<name>{NAME.pattern})
      | (?P<operator>%[^%\n]*%|<<-|->>|:::|->|<-|:=|<=|>=|==|!=|&&|\|\||\|>|::|\*\*
                    |[-+*/^:~|&!<>=(),\[\]{{}}$@;?\\])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_LARGEST_INTEGER = 2**31 - 1
_ESCAPE = re.compile(
    r"\\(?:x(?P<hex>[0-9a-fA-F]{1,2})|u\{(?P<braced>[0-9a-fA-F]{1,8})\}|u(?P<u>[0-9a-fA-F]{1,4})"
    r"|U(?P<U>[0-9a-fA-F]{1,8})|(?P<octal>[0-7]{1,3})|(?P<plain>.))",
    re.DOTALL,
)
_PLAIN_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "\n": "\n",
    **{character: character for character in "\\'\"` "},
}


def fault(message: str, text: str, position: int | None) -> FormulaError:
    """Make the error that shows a place in a formula, put on one line so that the caret fits."""
    return FormulaError(message, "".join(" " if c.isspace() else c for c in text), position)


def scan(text: str) -> Iterator[tuple[str, str, int]]:
    """Split a formula into its pieces as written, without blanks; no piece is refused.

    Yields
    ------
    tuple of (str, str, int)
        Kind, text and 0-based column: ``"name"``, ``"backticks"``, ``"number"``, ``"string"``,
        ``"operator"``, or ``"other"`` for a character that no formula can have here.
    """
    for match in _PIECE.finditer(text):
        kind = match.lastgroup or "other"
        if kind != "space":
            yield kind, match.group(), match.start()


def tokenize(text: str) -> list[Token]:
    """Split a formula into tokens, the last of kind ``"end"``.

    Raises
    ------
    FormulaError
        At a character that the language does not have, or an unfinished string.
    """
    tokens = [_token(text, *piece) for piece in scan(text)]
    return [*tokens, Token("end", "", len(text))]


def _token(text: str, kind: str, piece: str, start: int) -> Token:
    if kind == "number":
        return _number(text, piece, start)
    if kind == "string":
        return Token("string", unquote(piece, text, start), start)
    if kind == "backticks":
        name = unquote(piece, text, start)
        if not name:
            raise fault("a name in backticks cannot be empty", text, start)
        return Token("name", name, start, quoted=True)
    if kind == "other":
        if piece in "\"'`":
            raise fault(f"the quote {piece} that opens here is never closed", text, start)
        raise fault(f"the character {piece!r} is not part of a formula", text, start)
    return Token(kind, piece, start)


def _number(text: str, piece: str, start: int) -> Token:
    digits = piece.rstrip("Li")
    if piece.endswith("i"):
        raise fault("complex numbers are not part of a formula", text, start)
    if digits[:2] in ("0x", "0X"):
        value = float.fromhex(digits) if len(digits) < 200 else float("inf")
    else:
        value = float(digits)
    whole = piece.endswith("L") and value.is_integer() and value <= _LARGEST_INTEGER
    return Token("integer" if whole else "number", repr(value), start)


def unquote(piece: str, text: str, start: int) -> str:
    """Return what stands in quotes or backticks, escapes resolved; it begins at `start` in `text`.

    Raises
    ------
    FormulaError
        At an escape that R does not have.
    """
    return _ESCAPE.sub(lambda match: _unescape(text, match, start + 1), piece[1:-1])


def _unescape(text: str, match: re.Match[str], start: int) -> str:
    octal = match.group("octal")
    digits = match.group("hex") or match.group("braced") or match.group("u") or match.group("U")
    if octal or digits:
        code = int(octal, 8) if octal else int(digits, 16)
        if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000:
            return chr(code)
    elif (plain := match.group("plain")) in _PLAIN_ESCAPES:
        return _PLAIN_ESCAPES[plain]
    raise fault(
        f"{match.group()!r} is not an escape that a string can have; write \\\\ for a backslash",
        text,
        start + match.start(),
    )
