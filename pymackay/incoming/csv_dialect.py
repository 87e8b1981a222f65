"""`Dialect`: the separator and the decimal mark of a CSV file, given or found in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pymackay.errors import ArgumentError, DataError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SPELLINGS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}
_ROWS = 10_000  # rows in which a decimal mark is looked for
_NUMBER = r"\s*[+-]?\d*{mark}\d+([eE][+-]?\d+)?\s*"
_WITH_COMMA = re.compile(_NUMBER.format(mark=","))
_WITH_POINT = re.compile(_NUMBER.format(mark=r"\."))


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes
    ----------
    sep : str
        One character between fields.
    decimal : str
        ``"."`` or ``","``.
    """

    sep: str = ","
    decimal: str = "."

    @property
    def words(self) -> str:
        """What the separator is called in a message."""
        return _SEPARATORS.get(self.sep, f"{self.sep!r}")


def dialect_of(path: Path, sep: str | None = None, decimal: str | None = None) -> Dialect:
    """Return the dialect of a file; what is not given is found in the file.

    The separator is the one of comma, semicolon and tab that makes most columns of the first line.
    Where it is not the comma, numbers may have decimal commas: they have if some of the first
    10,000 rows do and none has a decimal point.

    Raises
    ------
    ArgumentError
        If `sep` or `decimal` is not one character that can be used.
    DataError
        If some numbers have decimal commas and others decimal points.
    """
    if decimal not in (None, ".", ","):
        raise ArgumentError(f"decimal must be '.' or ',', but it is {decimal!r}.")
    sep = _found_separator(path) if sep is None else _given_separator(sep)
    if decimal is None:
        decimal = "." if sep == "," else _found_decimal(path, sep)
    if sep == decimal:
        raise ArgumentError(
            f"sep and decimal are both {sep!r}; fields and decimals need different marks."
        )
    return Dialect(sep, decimal)


def _given_separator(sep: str) -> str:
    sep = _SPELLINGS.get(sep.lower(), sep)
    if len(sep) != 1:
        raise ArgumentError(f"sep must be one character, or 'tab', but it is {sep!r}.")
    return sep


def _found_separator(path: Path) -> str:
    """Return the separator that makes most columns of the first line; the comma wins a tie.

    One that cuts quoted text apart, which leaves a quote in a cell, comes after those that do not.
    """
    how = {"header": None, "nrows": 1, "dtype": str, "keep_default_na": False}
    cells = {sep: pd.read_csv(path, sep=sep, **how).to_numpy().ravel() for sep in _SEPARATORS}
    uncut = {sep: not any('"' in cell for cell in row) for sep, row in cells.items()}
    return max(_SEPARATORS, key=lambda sep: (uncut[sep], len(cells[sep])))


def _found_decimal(path: Path, sep: str) -> str:
    """Return the decimal mark of a file whose separator is not the comma."""
    rows = pd.read_csv(path, sep=sep, dtype=str, nrows=_ROWS, index_col=False)
    commas = list(_columns_with(rows, _WITH_COMMA))
    points = list(_columns_with(rows, _WITH_POINT))
    if commas and points:
        raise DataError(
            f"data: {path} has numbers with decimal commas (column {commas[0]!r}) and with decimal "
            f"points (column {points[0]!r}). Say which mark it is: on the command line with "
            f"--decimal, in Python by pandas.read_csv(..., sep={sep!r}, decimal=...)."
        )
    return "," if commas else "."


def _columns_with(rows: pd.DataFrame, number: re.Pattern[str]) -> Iterator[str]:
    """Yield the columns with a number of this pattern whose other cells are numbers as well."""
    whole = re.compile(r"\s*[+-]?\d+\s*")
    for name, column in rows.items():
        cells = column.dropna().unique()
        matches = [number.fullmatch(cell) is not None for cell in cells]
        others = (cell for cell, match in zip(cells, matches, strict=True) if not match)
        if any(matches) and all(whole.fullmatch(cell) for cell in others):
            yield str(name)
