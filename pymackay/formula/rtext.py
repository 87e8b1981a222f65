"""Text as R writes it: numbers with 15 significant digits, quoted strings, syntactic names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

KEYWORDS = ("if", "else", "repeat", "while", "function", "for", "next", "break", "in")
_CONSTANTS = ("TRUE", "FALSE", "NULL", "Inf", "NaN", "NA")
_TYPED_NA = ("NA_integer_", "NA_real_", "NA_character_", "NA_complex_")
RESERVED = frozenset([*KEYWORDS, *_CONSTANTS, *_TYPED_NA])

NAME = re.compile(r"(?:[^\W\d_]|\.(?![0-9]))[\w.]*")
_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        '"': '\\"',
        "\n": "\\n",
        "\t": "\\t",
        "\r": "\\r",
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\v": "\\v",
    }
)
_DIGITS = 15


def format_number(value: float) -> str:
    """Write a double as R's ``as.character`` and ``deparse`` do.

    Fixed notation with as many of 15 significant digits as are needed, unless scientific
    notation is shorter.

    Parameters
    ----------
    value : float

    Returns
    -------
    str

    Examples
    --------
    >>> format_number(100000.0), format_number(123456.0), format_number(0.1 + 0.2)
    ('1e+05', '123456', '0.3')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    if value == 0.0:
        return "0"
    mantissa, exponent_text = f"{value:.{_DIGITS - 1}e}".split("e")
    exponent = int(exponent_text)
    significant = len(mantissa.lstrip("-").replace(".", "").rstrip("0")) or 1
    decimals = max(0, significant - exponent - 1)
    fixed_width = max(exponent, 0) + 1 + (decimals + 1 if decimals else 0)
    exponent_width = 4 if abs(exponent) < 100 else 5
    scientific_width = significant + (significant > 1) + exponent_width
    if fixed_width <= scientific_width:
        return f"{value:.{decimals}f}"
    return f"{value:.{significant - 1}e}"


def quote(text: str) -> str:
    """Write a string as R's ``deparse`` does, in double quotes."""
    return f'"{text.translate(_ESCAPES)}"'


def is_syntactic(name: str) -> bool:
    """Whether a name can stand in R code without backticks."""
    return NAME.fullmatch(name) is not None and name not in RESERVED


def backtick(name: str) -> str:
    """Put backticks round a name that needs them."""
    if is_syntactic(name):
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def make_names(names: Iterable[str]) -> list[str]:
    """Turn names into syntactic ones, as R's ``make.names`` does (not yet unique)."""
    return [_make_name(name) for name in names]


def _make_name(name: str) -> str:
    starts_well = re.match(r"[^\W\d_]|\.(?![0-9])", name) is not None
    cleaned = re.sub(r"[^\w.]", ".", name if starts_well else f"X{name}")
    return f"{cleaned}." if cleaned in RESERVED else cleaned


def make_unique(names: Sequence[str]) -> list[str]:
    """Number repeated names ``a``, ``a.1``, ``a.2`` as R's ``make.unique`` does."""
    taken = set(names)
    seen: set[str] = set()
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        if name in seen:
            count = counts.get(name, 1)
            while f"{name}.{count}" in taken:
                count += 1
            counts[name] = count + 1
            name = f"{name}.{count}"
            taken.add(name)
        seen.add(name)
        unique.append(name)
    return unique
