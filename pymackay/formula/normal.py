"""A formula's text in a normal form, and the columns it names, whether or not it parses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pymackay.formula.lexer import scan, unquote
from pymackay.formula.rtext import NAME


def normal_formula(formula: str) -> str:
    """Return the formula with one space between its tokens, and names quoted only where they must.

    The names of saved recordings depend on it: what it returns for a text may never change.

    >>> normal_formula("Reaction~Days+( `Days`|Subject )")
    'Reaction ~ Days + ( Days | Subject )'
    """
    return " ".join(_without_needless_backticks(kind, piece) for kind, piece, _ in scan(formula))


def named_columns(formula: str) -> Iterator[str]:
    """Yield the variables of a formula: its names, without functions and names of arguments.

    Raises
    ------
    FormulaError
        If a name in backticks has an escape that R does not have.
    """
    pieces = [*scan(formula), ("end", "", len(formula))]
    for (kind, piece, start), (_, following, _) in pairwise(pieces):
        if kind == "backticks" and not NAME.fullmatch(piece[1:-1]):
            yield unquote(piece, formula, start)
        elif kind in ("name", "backticks") and following not in ("(", "=", "::", ":::"):
            yield piece.strip("`")


def _without_needless_backticks(kind: str, piece: str) -> str:
    return piece[1:-1] if kind == "backticks" and NAME.fullmatch(piece[1:-1]) else piece
