"""Model matrices: columns and their names made from terms, as R's ``model.matrix`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pymackay.errors import DataError
from pymackay.formula.terms import CONTRASTS, DUMMIES, Terms
from pymackay.model.bases.contrasts import Contrasts
from pymackay.model.columns.column import Column, Factor, Numeric

__all__ = ["Coding", "Design", "make_design", "refuse_too_many"]

Coding = Mapping[str, Contrasts]
"""Contrasts of each factor, by R's name of the variable."""

MAX_CELLS = 2**30
SHARED = 2**20  # rows from which a column of ones would cost memory worth saving
INTERCEPT = "(Intercept)"


@dataclass(frozen=True, eq=False)
class Design:
    """A model matrix.

    Attributes
    ----------
    values : numpy.ndarray, shape (n, p)
        Column-major. Of very many rows, a constant alone is one number that all share, read-only.
    names : tuple of str, length p
    assign : numpy.ndarray of int, shape (p,)
        The term each column belongs to, from 1; 0 for the intercept.
    """

    values: np.ndarray
    names: tuple[str, ...]
    assign: np.ndarray


@dataclass(frozen=True)
class _Part:
    """One variable in one coding: its columns and what they are called."""

    variable: int
    coding: int
    names: tuple[str, ...]


def make_design(terms: Terms, columns: Mapping[str, Column], coding: Coding, n: int) -> Design:
    """Make the model matrix of one side of a formula.

    Parameters
    ----------
    terms : Terms
    columns : mapping of str to Column
        Variables by R's names, without missing values.
    coding : mapping of str to Contrasts
        Contrasts of the factors among them.
    n : int
        Number of rows.

    Raises
    ------
    DataError
        If the matrix would have more cells than fit into memory.
    """
    codings = _dummies_without_intercept(terms, columns)
    parts = [
        [
            _part(terms, i, code, columns, coding)
            for i, code in zip(term.variables, codes, strict=True)
        ]
        for term, codes in zip(terms.terms, codings, strict=True)
    ]
    widths = [
        int(np.prod([len(part.names) for part in of_term], dtype=np.int64)) for of_term in parts
    ]
    p = sum(widths) + terms.intercept
    refuse_too_many(n, p)
    if terms.intercept and p == 1 and n >= SHARED:
        return Design(np.broadcast_to(1.0, (n, 1)), (INTERCEPT,), np.zeros(1, dtype=np.intp))
    values = np.empty((n, p), order="F")
    names = [INTERCEPT] if terms.intercept else []
    values[:, : len(names)] = 1.0
    filler = _Filler(terms, columns, coding)
    for of_term, width in zip(parts, widths, strict=True):
        filler.fill(values[:, len(names) : len(names) + width], of_term)
        names.extend(_product_names(of_term))
    assign = np.repeat(np.arange(len(widths) + 1), [int(terms.intercept), *widths])
    return Design(values, tuple(names), assign)


def refuse_too_many(n: int, p: int) -> None:
    """Refuse a matrix that no memory would hold."""
    if n * p > MAX_CELLS:
        raise DataError(
            f"the model matrix would have {p} columns for {n} rows, more than memory holds; a "
            f"factor with many levels belongs behind a bar, as in (1 | g)"
        )


def _dummies_without_intercept(
    terms: Terms, columns: Mapping[str, Column]
) -> list[tuple[int, ...]]:
    """Code the first factor of the first term that has one by dummies if there is no intercept."""
    codings = [term.coding for term in terms.terms]
    if terms.intercept:
        return codings
    for place, term in enumerate(terms.terms):
        for position, variable in enumerate(term.variables):
            if isinstance(columns[terms.variables[variable].name], Factor):
                coding = list(term.coding)
                coding[position] = DUMMIES
                codings[place] = tuple(coding)
                return codings
    return codings


def _part(
    terms: Terms, variable: int, code: int, columns: Mapping[str, Column], coding: Coding
) -> _Part:
    name, label = terms.variables[variable].name, terms.variables[variable].label
    column = columns[name]
    if isinstance(column, Numeric):
        suffixes = _numeric_suffixes(column)
        code = CONTRASTS
    elif code == DUMMIES:
        suffixes = column.levels
    else:
        suffixes = coding[name].names
    return _Part(variable, code, tuple(f"{label}{suffix}" for suffix in suffixes))


def _numeric_suffixes(column: Numeric) -> Sequence[str]:
    if column.values.ndim == 1:
        return ("",)
    width = column.values.shape[1]
    return column.names or tuple(str(k + 1) for k in range(width))


def _product_names(parts: Sequence[_Part]) -> list[str]:
    """Join the names of a term's columns, the first variable's varying fastest."""
    names = list(parts[0].names)
    for part in parts[1:]:
        names = [f"{left}:{right}" for right in part.names for left in names]
    return names


class _Filler:
    """Fills terms into a matrix, column by column; what one variable gives is made once."""

    def __init__(self, terms: Terms, columns: Mapping[str, Column], coding: Coding) -> None:
        self.terms = terms
        self.columns = columns
        self.coding = coding
        self.made: dict[tuple[int, int], np.ndarray] = {}

    def fill(self, target: np.ndarray, parts: Sequence[_Part]) -> None:
        if len(parts) == 1:
            self._write(target, parts[0])
            self.made[(parts[0].variable, parts[0].coding)] = target
            return
        blocks = [self._block(part, len(target)) for part in parts]
        self._multiply(target, blocks)

    def _multiply(self, target: np.ndarray, blocks: Sequence[np.ndarray]) -> None:
        """Write all products of columns, those of the first block varying fastest."""
        *leading, last = blocks
        if len(leading) > 1:
            width = target.shape[1] // last.shape[1]
            left = np.empty((len(target), width), order="F")
            self._multiply(left, leading)
        else:
            left = leading[0]
        width = left.shape[1]
        for k in range(last.shape[1]):
            for j in range(width):
                np.multiply(left[:, j], last[:, k], out=target[:, k * width + j])

    def _block(self, part: _Part, n: int) -> np.ndarray:
        key = (part.variable, part.coding)
        if key not in self.made:
            block = np.empty((n, len(part.names)), order="F")
            self._write(block, part)
            self.made[key] = block
        return self.made[key]

    def _write(self, target: np.ndarray, part: _Part) -> None:
        name = self.terms.variables[part.variable].name
        column = self.columns[name]
        if isinstance(column, Numeric):
            values = column.values
            target[:] = values[:, None] if values.ndim == 1 else values
            return
        dummies = part.coding == DUMMIES
        table = np.eye(len(column.levels)) if dummies else self.coding[name].matrix
        codes = column.codes.astype(np.intp)
        for j in range(target.shape[1]):
            # mode="clip" writes straight into the column; the codes are in range already.
            np.take(table[:, j].copy(), codes, out=target[:, j], mode="clip")
