"""Python blocks of a document, run in order and compared with the output shown after each."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TOKEN = re.compile(r"^\.\.\.\n?|\.\.\.|\d+(?:\.\d+)?(?:e[-+]\d+)?|\s+", re.MULTILINE)
_NUMBER = r"(\d+(?:\.\d+)?(?:e[-+]\d+)?)"


def run_blocks(text: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Run every python block of `text` in one namespace.

    Returns
    -------
    scope : dict
        The namespace after the last block.
    shown : list of (str, str)
        The content of each text block whose preceding block is a python block, and what that
        python block printed.
    """
    scope: dict[str, Any] = {}
    shown, printed = [], None
    for language, content in _FENCE.findall(text):
        if language == "python":
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(content, scope)
            printed = output.getvalue()
        else:
            if language == "text" and printed is not None:
                shown.append((content, printed))
            printed = None
    return scope, shown


def difference(shown: str, printed: str) -> str:
    """Return how the output shown differs from what was printed; empty where it does not.

    A line of three dots stands for any lines, three dots within a line for the rest of it or a
    part of it. White space counts as one space. A number may differ by one unit of its last digit
    shown; an integer may not differ.
    """
    pieces, expected, end = [], [], 0
    for token in _TOKEN.finditer(shown.strip() + "\n"):
        pieces.append(re.escape(shown.strip()[end : token.start()]))
        end = token.end()
        word = token[0]
        if word.startswith("..."):
            pieces.append(r"(?:.*\n)*?" if word.endswith("\n") else ".*?")
        elif word.isspace():
            pieces.append(r"\s+")
        else:
            pieces.append(_NUMBER)
            expected.append(word)
    result = re.fullmatch("".join(pieces), printed.strip() + "\n")
    if result is None:
        return f"shown:\n{shown}\nprinted:\n{printed}"
    wrong = [
        f"{word} is shown, {number} was printed"
        for word, number in zip(expected, result.groups(), strict=True)
        if abs(float(word) - float(number)) > 1.001 * _last_unit(word)
    ]
    return "; ".join(wrong)


def _last_unit(number: str) -> float:
    """Return one unit of the last digit of a decimal, 0 for an integer."""
    mantissa, _, exponent = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals) if decimals or exponent else 0.0
