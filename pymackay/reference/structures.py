"""`refuse_structures`: covariance structures in a formula, which came with lme4 2.0."""

from __future__ import annotations

import re

from pymackay.errors import ArgumentError

_CALL = re.compile(r"(?<![\w.])(us|diag|cs|ar1)\s*\([^()|]*(\([^()]*\)[^()|]*)*\|")
"""A structure's name with a bar inside its parentheses."""


def refuse_structures(formula: str, lme4: str) -> None:
    """Refuse a formula with a structure round a random term where lme4 has none.

    Parameters
    ----------
    formula : str
    lme4 : str
        The version that is installed.

    Raises
    ------
    ArgumentError
        If the formula has ``us()``, ``diag()``, ``cs()`` or ``ar1()`` round a random term, and
        lme4 is older than 2.0.
    """
    structure = _CALL.search(formula)
    if structure is None:
        return
    if int(lme4.split(".")[0]) >= 2:
        return
    name = structure.group(1)
    raise ArgumentError(
        f"formula: it has the covariance structure {name}( | ), but the installed lme4 {lme4} has "
        f"no {name}(): structures came with lme4 2.0. Fit it with pymackay.lmer, which does not "
        f"need R; the equivalent formula without a structure, such as (1 | g) + (0 + x | g) for "
        f"diag(x | g), can be fitted by lme4"
    )
