"""Columns of text that line up: numbers at their decimal points, names on the left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_BEFORE_POINT = re.compile(r"\D*[\d,]*")


def aligned(texts: Iterable[str]) -> list[str]:
    """Pad texts to one width so that the decimal points of their first numbers line up.

    Examples
    --------
    >>> aligned(["251.4", "10.47***", "(9)"])
    ['251.4    ', ' 10.47***', ' (9)     ']
    """
    parts = []
    for text in texts:
        point = _end_of_integer(text)
        parts.append((text[:point], text[point:]))
    before = max((len(left) for left, _ in parts), default=0)
    after = max((len(right) for _, right in parts), default=0)
    return [left.rjust(before) + right.ljust(after) for left, right in parts]


def invisible_ends(texts: Sequence[str]) -> list[str]:
    """Return what must follow each text, unseen, so that right-aligned decimal points line up.

    Examples
    --------
    >>> invisible_ends(["10.47***", "(9.75)", "9", ""])
    ['', '**', '.47***', '']
    """
    ends = [text[_end_of_integer(text) :] for text in texts]
    longest = max(ends, key=len, default="")
    return [longest[len(end) :] if text else "" for text, end in zip(texts, ends, strict=True)]


def _end_of_integer(text: str) -> int:
    match = _BEFORE_POINT.match(text)
    return len(text) if match is None else match.end()


def table_lines(
    header: Sequence[str], columns: Sequence[Sequence[str]], *, names: int = 1
) -> list[str]:
    """Lay columns of texts out in lines below a header.

    Parameters
    ----------
    header : sequence of str
    columns : sequence of sequences of str
    names : int
        How many of the first columns hold names, which stand on the left; the others hold numbers.
    """
    laid = []
    for k, (head, column) in enumerate(zip(header, columns, strict=True)):
        cells = list(column) if k < names else aligned(column)
        width = max(len(text) for text in [head, *cells])
        laid.append(
            [text.ljust(width) if k < names else text.rjust(width) for text in (head, *cells)]
        )
    return ["  ".join(line).rstrip() for line in zip(*laid, strict=True)]
