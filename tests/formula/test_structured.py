"""Structures round random terms: how they read, and what is refused."""

from __future__ import annotations

import re

import pytest

import pymackay as pm
from pymackay.formula.specification import specify
from pymackay.formula.structured import StructureCall

COLUMNS = ["y", "x", "f", "g", "h"]


def read(formula: str, double_bar: str = "split") -> list[tuple[str, StructureCall | None]]:
    """Return text and structure of each random term."""
    bars = specify(formula, COLUMNS, double_bar).bars
    return [(bar.text, bar.structure) for bar in bars]


@pytest.mark.parametrize(
    ("term", "name", "hom"),
    [
        ("diag(x | g)", "diag", False),
        ("cs(0 + f | g)", "cs", False),
        ("ar1(0 + f | g)", "ar1", True),
        ("diag(x | g, hom = TRUE)", "diag", True),
        ("cs(x | g, hom=TRUE)", "cs", True),
        ("cs(hom = TRUE, x | g)", "cs", True),
        ("ar1(0 + f | g, hom = FALSE)", "ar1", False),
        ("toep(0 + f | g)", "toep", False),
        ("toep(0 + f | g, hom = TRUE)", "toep", True),
        ("(cs(x | g))", "cs", False),
    ],
)
def test_a_structure_has_the_default_of_lme4(term: str, name: str, hom: bool) -> None:
    ((_, structure),) = read(f"y ~ x + {term}")
    assert structure == StructureCall(name, hom)


def test_a_structure_stands_beside_other_terms_and_counts_its_variables() -> None:
    formula = "y ~ x + ar1(0 + f | g) + (1 | h)"
    assert read(formula) == [("0 + f | g", StructureCall("ar1", True)), ("1 | h", None)]
    specification = specify(formula, COLUMNS)
    assert [variable.name for variable in specification.variables] == ["y", "x", "f", "g", "h"]
    assert [specification.fixed.label(term) for term in specification.fixed.terms] == ["x"]


def test_us_is_the_term_without_a_structure() -> None:
    assert read("y ~ x + us(x | g)") == [("x | g", None)]


def test_a_nested_group_has_the_structure_in_each_of_its_terms() -> None:
    structure = StructureCall("ar1", True)
    assert read("y ~ ar1(0 + f | g/h)") == [("0 + f | h:g", structure), ("0 + f | g", structure)]


def test_a_formula_of_a_structure_alone_keeps_the_intercept() -> None:
    specification = specify("y ~ diag(x | g)", COLUMNS)
    assert specification.fixed.intercept and not specification.fixed.terms


@pytest.mark.parametrize(
    ("term", "cure"),
    [
        ("cs(x | g, het = TRUE)", "hom = FALSE"),
        ("cs(x | g, TRUE)", "by name"),
        ("cs(x | g, homo = TRUE)", "no argument homo"),
        ("us(x | g, hom = TRUE)", "no argument hom"),
        ("cs(x | g, hom = T)", "TRUE or FALSE"),
        ("cs(x | g, hom = x)", "TRUE or FALSE"),
        ("cs(x || g)", r"diag\(x \| g\)"),
        ("cs((x | g))", r"write cs\(x \| g\)"),
        ("cs((x || g))", "parentheses of its own"),
        ("cs(x | g, x | h)", "one random term"),
        ("cs(x)", r"no function cs\(\)"),
        ("mat(0 + f | g)", "no covariance structure mat"),
        ("homtoep(0 + f | g)", r"write toep\(0 \+ f \| g, hom = TRUE\)"),
        ("exp(0 + f | g)", r"write ou\(0 \+ f \| g\)"),
        ("ar(0 + f | g)", "did you mean ar1"),
        ("cs(x | g | h)", "one bar"),
    ],
)
def test_what_lme4_drops_in_silence_is_refused_with_the_cure(term: str, cure: str) -> None:
    with pytest.raises(pm.FormulaError, match=cure):
        specify(f"y ~ x + {term} + (1 | h)", COLUMNS)


def test_a_double_bar_is_split_or_diagonal() -> None:
    assert read("y ~ x + (x || g)") == [("1 | g", None), ("0 + x | g", None)]
    diagonal = [("x | g", StructureCall("diag", False))]
    assert read("y ~ x + (x || g)", "diag") == diagonal
    assert read("y ~ (x + (x || g))", "diag") == diagonal
    assert read("y ~ x + (x | g)", "diag") == [("x | g", None)]


def test_the_fit_tells_how_a_double_bar_was_read() -> None:
    specification = specify("y ~ x + (x || g)", COLUMNS, "diag")
    assert any("double_bar='diag'" in message for message in specification.messages)
    assert specification.double_bar == "diag"
    plain = specify("y ~ x + (x | g)", COLUMNS, "diag")
    assert not plain.messages and plain.double_bar == "split"


@pytest.mark.parametrize(
    ("term", "name", "rank", "written"),
    [
        ("rr(0 + f | g)", "rr", 2, "rr(0 + f | g)"),
        ("rr(0 + f | g, d = 2L)", "rr", 2, "rr(0 + f | g)"),
        ("rr(d = 3, 0 + f | g)", "rr", 3, "rr(0 + f | g, d = 3)"),
        ("fa(0 + f | g)", "fa", 1, "fa(0 + f | g)"),
        ("fa(0 + f | g, d=1)", "fa", 1, "fa(0 + f | g)"),
    ],
)
def test_a_number_of_factors_is_read_and_written(
    term: str, name: str, rank: int, written: str
) -> None:
    (bar,) = specify(f"y ~ x + {term}", COLUMNS).bars
    assert bar.structure == StructureCall(name, False, rank=rank)
    assert bar.written == written
    (again,) = specify(f"y ~ x + {written}", COLUMNS).bars
    assert again.structure == bar.structure


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("rr(0 + f | g, 2)", "d = 2 by name; write rr(x | g, d = 2)"),
        ("rr(0 + f | g, d = 0)", "whole number from 1; write rr(0 + f | g, d = 2)"),
        ("rr(0 + f | g, d = 1.5)", "whole number from 1"),
        ("rr(0 + f | g, hom = TRUE)", "takes one random term, and d"),
        ("fa(0 + f | g, d = 2)", "rr(0 + f | g, d = 2) + diag(0 + f | g)"),
        ("rr(x || g)", "double bar"),
    ],
)
def test_what_a_number_of_factors_is_not(term: str, message: str) -> None:
    with pytest.raises(pm.FormulaError, match=re.escape(message)):
        specify(f"y ~ x + {term}", COLUMNS)


def test_two_structures_of_one_factor_may_add_up() -> None:
    both = "y ~ x + rr(0 + f | g, d = 2) + diag(0 + f | g)"
    assert not specify(both, COLUMNS).messages
    assert specify("y ~ x + rr(0 + f | g) + (0 + f | g)", COLUMNS).messages
