"""Numbers and tables in text as R prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."))


def format_numbers(values: Sequence[float] | np.ndarray, digits: int) -> list[str]:
    """Format numbers to one width: as many decimals as show `digits` of some number.

    R's ``format``: no number loses digits that count, trailing zeros that none needs are left out,
    and exponents are used where they are shorter.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel() + 0.0  # no negative zeros
    finite = numbers[np.isfinite(numbers)]
    decimals, significant, integral = 0, 1, 1
    exponents = [0]
    for x in finite:
        mantissa, exponent = f"{abs(x):.{digits - 1}e}".split("e")
        used = len(mantissa.rstrip("0").replace(".", ""))
        power = int(exponent) if x else 0
        used = max(used, 1)
        exponents.append(abs(power))
        significant = max(significant, used)
        decimals = max(decimals, used - power - 1)
        integral = max(integral, power + 1)
    fixed_width = integral + (decimals + 1 if decimals else 0)
    power_digits = 2 if max(exponents) < 100 else 3
    scientific_width = significant + (significant > 1) + 2 + power_digits
    if fixed_width <= scientific_width:
        texts = [f"{x:.{decimals}f}" for x in numbers]
    else:
        texts = [f"{x:.{significant - 1}e}" for x in numbers]
    texts = [
        text if math.isfinite(x) else ("NaN" if math.isnan(x) else ("-Inf" if x < 0 else "Inf"))
        for x, text in zip(numbers, texts, strict=True)
    ]
    return _right(texts)


def _right(texts: Sequence[str]) -> list[str]:
    width = max((len(text) for text in texts), default=0)
    return [text.rjust(width) for text in texts]


def zap_small(values: np.ndarray, digits: int) -> np.ndarray:
    """Round to `digits` digits of the largest, R's ``zapsmall``."""
    largest = float(np.abs(values).max(initial=0.0))
    places = max(0, digits - math.ceil(math.log10(largest))) if largest > 0.0 else digits
    return np.round(values, places)


def format_coefficients(table: np.ndarray, digits: int) -> list[list[str]]:
    """Format a table of coefficients by columns, as R's ``printCoefmat`` does.

    Parameters
    ----------
    table : numpy.ndarray, shape (rows, columns)
        Three columns (estimate, standard error, t) or five (degrees of freedom before t, then the
        p-value).
    digits : int
    """
    has_p = table.shape[1] > 3
    last = table.shape[1] - has_p - 1
    together, statistic = table[:, :last], table[:, last]
    sizes = np.abs(together[np.isfinite(together) & (together != 0.0)])
    smallest = 1 + math.floor(math.log10(sizes.min())) if len(sizes) else 1
    rounded = np.round(together, max(1, digits - smallest))
    cells = np.array(format_numbers(rounded, digits), dtype=object).reshape(together.shape)
    columns = [list(column) for column in cells.T]
    places = max(1, min(5, digits - 1))
    columns.append(format_numbers(np.round(statistic, places), digits))
    for column, values in zip(columns[:last], together.T, strict=True):
        for i, (cell, value) in enumerate(zip(column, values, strict=True)):
            if value != 0.0 and math.isfinite(value) and float(cell) == 0.0:
                column[i] = format_numbers([value], max(1, digits - 1))[0]
    if has_p:
        columns.append(format_p_values(table[:, -1], places))
    return columns


def format_p_values(values: Sequence[float] | np.ndarray, digits: int) -> list[str]:
    """Format p-values, those below the precision of a double as ``<2e-16``.

    R's ``format.pval``: those from 1e-4 on share their decimals, the smaller ones an exponent.
    """
    numbers = np.asarray(values, dtype=np.float64)
    smallest = float(np.finfo(np.float64).eps)
    shown = ["NA"] * len(numbers)
    for choice in (numbers >= 1e-4, (numbers >= smallest) & (numbers < 1e-4)):
        if choice.any():
            texts = format_numbers(numbers[choice], digits)
            for i, text in zip(np.flatnonzero(choice), texts, strict=True):
                shown[i] = text
    widest = max((len(shown[i]) for i in np.flatnonzero(numbers >= smallest)), default=0)
    bound, gap = _bound(smallest, digits, widest)
    for i in np.flatnonzero(numbers < smallest):
        shown[i] = f"<{gap}{bound}"
    return shown


def _bound(smallest: float, digits: int, widest: int) -> tuple[str, str]:
    """Write the bound of tiny p-values, and what stands before it, by the width of the others."""
    places = max(1, digits - 2)
    if widest and places > 1 and places + 6 > widest:
        places = max(1, widest - 7)
    gap = "" if places == 1 and widest <= 6 else " "
    return format_numbers([smallest], places)[0], gap


def significance(values: Sequence[float] | np.ndarray) -> list[str]:
    """Return the stars of p-values."""
    return [next((stars for bound, stars in _STARS if p <= bound), " ") for p in np.asarray(values)]


def print_matrix(
    cells: Sequence[Sequence[str]],
    columns: Sequence[str],
    rows: Sequence[str],
    *,
    right: bool = False,
) -> list[str]:
    """Lay a table of texts out in lines: `cells` by columns, row names on the left."""
    margin = max((len(name) for name in rows), default=0)
    lines = [" " * margin] + [name.ljust(margin) for name in rows]
    for name, column in zip(columns, cells, strict=True):
        width = max(len(name), *(len(cell) for cell in column))
        for i, text in enumerate([name, *column]):
            lines[i] += " " + (text.rjust(width) if right else text.ljust(width))
    return lines


def abbreviate(names: Sequence[str], length: int) -> list[str]:
    """Shorten names to `length` letters as R's ``abbreviate``; those that clash stay longer."""
    if all(len(name) <= length for name in names):
        return list(names)
    shortened = list(names)
    open_places = list(range(len(names)))
    longest = max(len(name) for name in names)
    for size in range(length, longest + 1):
        for i in open_places:
            shortened[i] = _shorten(names[i], size)
        twice = {text for text in shortened if shortened.count(text) > 1}
        open_places = [i for i, text in enumerate(shortened) if text in twice]
        if not open_places:
            break
    return shortened


def _shorten(name: str, length: int) -> str:
    """Drop lower-case vowels from the end, then lower-case letters, then any, until it fits."""
    text = list(name.lstrip(" "))
    if len(text) < length:
        return "".join(text)
    spaces = text[1:].count(" ")

    def begins(i: int) -> bool:
        return text[i - 1] == " "

    def ends(i: int) -> bool:
        return not begins(i) and (i + 1 == len(text) or text[i + 1] == " ")

    def is_vowel(i: int) -> bool:
        return text[i] in "aeiou"

    rules = (
        lambda i: is_vowel(i) and ends(i),
        lambda i: is_vowel(i) and not begins(i),
        lambda i: text[i].islower() and ends(i),
        lambda i: text[i].islower() and not begins(i),
        lambda i: text[i] != " " and not begins(i),
    )
    for may_go in rules:
        for i in range(len(text) - 1, 0, -1):
            if len(text) - spaces <= length:
                break
            if may_go(i):
                del text[i]
    if len(text) > length:
        text = text[:1] + [letter for letter in text[1:] if letter != " "]
    return "".join(text)
