"""A structure in a formula for R's lme4 is refused, with what to do."""

from __future__ import annotations

import pytest

import pymackay as pm
from pymackay.reference.structures import refuse_structures


@pytest.mark.parametrize(
    "term",
    ["us(x | g)", "diag( 1 + x | g )", "cs(0 + factor(f) | g)", "ar1(0 + f | a/b, hom = FALSE)"],
)
def test_a_structure_is_refused_by_an_old_lme4(term: str) -> None:
    with pytest.raises(pm.ArgumentError, match=r"came with lme4 2\.0"):
        refuse_structures(f"y ~ x + {term} + (1 | h)", "1.1-31")
    refuse_structures(f"y ~ x + {term} + (1 | h)", "2.1-0")


@pytest.mark.parametrize(
    "formula", ["y ~ cs(x) + (1 | g)", "y ~ x + (diag | g)", "y ~ my.us(1 | g)"]
)
def test_other_formulas_pass(formula: str) -> None:
    refuse_structures(formula, "1.1-31")


def test_what_lme4_never_had_is_refused_too() -> None:
    with pytest.raises(pm.ArgumentError, match=r"lme4 has no ou\(\)"):
        refuse_structures("y ~ ou(0 + f | g)", "2.1-0")
