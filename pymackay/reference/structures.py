"""`refuse_structures`: covariance structures in a formula, which came with lme4 2.0."""

from __future__ import annotations

import re

from pymackay.errors import ArgumentError

_CALL = re.compile(
    r"(?<![\w.])(us|diag|cs|ar1|ou|toep|fa|rr|propto)\s*\([^()|]*(\([^()]*\)[^()|]*)*\|"
)
"""A structure's name with a bar inside its parentheses."""
_NOT_IN_LME4 = ("ou", "toep", "fa", "rr", "propto")


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
        If the formula has ``us()``, ``diag()``, ``cs()`` or ``ar1()`` round a random term and lme4
        is older than 2.0, or if it has ``ou()``, ``toep()``, ``fa()``,
        ``rr()`` or ``propto()``, which lme4 has not.
    """
    structure = _CALL.search(formula)
    if structure is None:
        return
    name = structure.group(1)
    if name in _NOT_IN_LME4:
        why = f"lme4 has no {name}()"
    elif int(lme4.split(".")[0]) < 2:
        why = f"the installed lme4 {lme4} has no {name}(): structures came with lme4 2.0"
    else:
        return
    raise ArgumentError(
        f"formula: it has the covariance structure {name}( | ), but {why}. Fit it with "
        f"pymackay.lmer, which does not need R; the equivalent formula without a structure, "
        f"such as (1 | g) + (0 + x | g) for diag(x | g), can be fitted by lme4"
    )
