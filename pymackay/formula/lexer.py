"""Tokens of the formula language."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pymackay.errors import FormulaError
from pymackay.formula.rtext import NAME

__all__ = ["Token", "fault", "tokenize"]


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


_NUMBER = re.compile(
    r"(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?P<suffix>[Li]?)"
)
_OPERATOR = re.compile(
    r"%[^%\n]*%|<<-|->>|:::|->|<-|:=|<=|>=|==|!=|&&|\|\||\|>|::|\*\*|[-+*/^:~|&!<>=(),\[\]{}$@;?\\]"
)
_LARGEST_INTEGER = 2**31 - 1
_BLANK = re.compile(r"\s+")
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


def tokenize(text: str) -> list[Token]:
    """Split a formula into tokens, the last of kind ``"end"``.

    Raises
    ------
    FormulaError
        At a character that the language does not have, or an unfinished string.
    """
    tokens = []
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        token, position = _next_token(text, position)
        tokens.append(token)
    tokens.append(Token("end", "", len(text)))
    return tokens


def _next_token(text: str, start: int) -> tuple[Token, int]:
    character = text[start]
    if character in "\"'`":
        return _quoted(text, start)
    if match := _NUMBER.match(text, start):
        return _number(text, match), match.end()
    if match := NAME.match(text, start):
        return Token("name", match.group(), start), match.end()
    if match := _OPERATOR.match(text, start):
        return Token("operator", match.group(), start), match.end()
    raise fault(f"the character {character!r} is not part of a formula", text, start)


def _number(text: str, match: re.Match[str]) -> Token:
    suffix = match.group("suffix")
    digits = match.group()[: -1 if suffix else None]
    if suffix == "i":
        raise fault("complex numbers are not part of a formula", text, match.start())
    if digits[:2] in ("0x", "0X"):
        value = float.fromhex(digits) if len(digits) < 200 else float("inf")
    else:
        value = float(digits)
    whole = suffix == "L" and value.is_integer() and value <= _LARGEST_INTEGER
    return Token("integer" if whole else "number", repr(value), match.start())


def _quoted(text: str, start: int) -> tuple[Token, int]:
    """Read a string, or a name in backticks."""
    mark = text[start]
    pieces = []
    position = start + 1
    while position < len(text) and text[position] != mark:
        if text[position] == "\\":
            match = _ESCAPE.match(text, position)
            if match is None:
                break
            pieces.append(_unescape(text, match))
            position = match.end()
        else:
            pieces.append(text[position])
            position += 1
    if position >= len(text) or text[position] != mark:
        raise fault(f"the quote {mark} that opens here is never closed", text, start)
    content = "".join(pieces)
    if mark == "`" and not content:
        raise fault("a name in backticks cannot be empty", text, start)
    kind = "name" if mark == "`" else "string"
    return Token(kind, content, start, quoted=mark == "`"), position + 1


def _unescape(text: str, match: re.Match[str]) -> str:
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
        match.start(),
    )
