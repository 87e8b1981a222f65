"""The functions that a formula may call, by name; `pymackay.model.functions` computes them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pymackay.formula.expression import Call, is_operator
from pymackay.formula.lexer import fault
from pymackay.formula.structured import DEFAULT_HOM

_LISTED = (
    "abs, acos, acosh, as.character, as.double, as.factor, as.integer, as.logical, as.numeric, "
    "as.ordered, asin, asinh, atan, atanh, bs, C, c, cbind, ceiling, cos, cosh, cut, "
    "droplevels, dummy, exp, expm1, factor, floor, I, ifelse, interaction, is.na, log, log10, "
    "log1p, log2, max, mean, median, min, ns, offset, ordered, plogis, pmax, pmin, poly, "
    "qlogis, quantile, relevel, round, scale, sd, sign, sin, sinh, sqrt, sum, tan, tanh, trunc, "
    "var"
)
_ELSEWHERE = {
    "homtoep": "write toep(0 + f | g, hom = TRUE)",
    "hetar1": "write ar1(0 + f | g, hom = FALSE)",
    "homdiag": "write diag(f | g, hom = TRUE)",
    "homcs": "write cs(0 + f | g, hom = TRUE)",
    "exp": "by one time it is the same as ou(): write ou(0 + f | g), with times as levels of f",
}
"""Names of other packages for structures that the formula language has, and how it writes them."""

_MISSING = ("mat", "gau")
"""Structures of other packages that the formula language does not have."""

FUNCTION_NAMES = tuple(_LISTED.split(", "))


def check_function(call: Call, text: str) -> None:
    """Refuse a call of a function that the formula language does not have.

    Raises
    ------
    FormulaError
        The message lists the functions that there are.
    """
    around_a_bar = any(is_operator(argument, ("|", "||")) for argument in call.arguments)
    if call.function in FUNCTION_NAMES and not (around_a_bar and call.function in _ELSEWHERE):
        return
    if around_a_bar:
        _check_structure(call, text)
        raise fault(
            f"an operator is missing between {call.function} and the random term; write "
            f"{call.function} + (1 | g)",
            text,
            call.position + len(call.function),
        )
    raise fault(
        f"there is no function {call.function}() in the formula language"
        f"{near_names(call.function, FUNCTION_NAMES) or '.'} It has {_LISTED}. Anything else, "
        f"compute as a column of the data",
        text,
        call.position,
    )


def _check_structure(call: Call, text: str) -> None:
    """Refuse a call round a random term that is, or resembles, a structure elsewhere."""
    near = near_names(call.function, DEFAULT_HOM)
    if call.function in _ELSEWHERE:
        near = f"; {_ELSEWHERE[call.function]};"
    if near or call.function in _MISSING:
        raise fault(
            f"there is no covariance structure {call.function}(){near or ';'} the structures "
            f"of a random term are {', '.join(DEFAULT_HOM)}",
            text,
            call.position,
        )


def near_names(name: str, known: Iterable[str]) -> str:
    """Suggest what a wrong name may have meant, or say nothing."""
    lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(lower[name] for name in near)}?" if near else ""
