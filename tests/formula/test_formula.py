"""The formula language: what parses, how it is written back, and what is refused, and where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymackay.errors import ArgumentError, FormulaError, PymackayError
from pymackay.formula.expression import all_names, deparse
from pymackay.formula.functions import FUNCTION_NAMES
from pymackay.formula.normal import named_columns, normal_formula
from pymackay.formula.parser import MAX_DEPTH, parse_expression, parse_formula
from pymackay.formula.rtext import format_number, make_names, make_unique
from pymackay.formula.specification import specify
from pymackay.formula.terms import expand_terms
from pymackay.model.design.build import build_model
from pymackay.model.design.new_data import build_new
from pymackay.model.functions.closed_list import FUNCTIONS

# What R 4.2 prints for deparse(quote(...)) of the text on the left.
DEPARSED = {
    "a+b*c": "a + b * c",
    "-a^2": "-a^2",
    "(-a)^2": "(-a)^2",
    "a^-b": "a^-b",
    "!a==b": "!a == b",
    "a%in%b": "a %in% b",
    "a %/% b": "a%/%b",
    "a %% b": "a%%b",
    "a/b:c": "a/b:c",
    "a-(b-c)": "a - (b - c)",
    "f(a,b=2,'s\\n\"q')": 'f(a, b = 2, "s\\n\\"q")',
    "a&b|c": "a & b | c",
    "- -a": "--a",
    "1e5": "1e+05",
    "123456": "123456",
    "1e-5": "1e-05",
    "100000L": "100000L",
    "0x10": "16",
    "1.50": "1.5",
    "0.1234567890123456789": "0.123456789012346",
    "`a b`+`c`": "`a b` + c",
    "f(`a b`=1)": "f(`a b` = 1)",
    "splines::ns(x,3)": "splines::ns(x, 3)",
    "a**b": "a^b",
    "a^b^c": "a^b^c",
    "-1:3": "-1:3",
    "5 %in% c('a')": '5 %in% c("a")',
    "été+1": "été + 1",
    "f()": "f()",
    "f(NULL,TRUE,NA,-Inf)": "f(NULL, TRUE, NA, -Inf)",
    "a\n + b": "a + b",
    "'\\t\\\\\\u00e9\\x41'": '"\\t\\\\éA"',
}


@pytest.mark.parametrize(("text", "expected"), DEPARSED.items())
def test_deparse_as_r(text: str, expected: str) -> None:
    assert deparse(parse_expression(text)) == expected
    assert deparse(parse_expression(expected)) == expected


# What R 4.2 prints for as.character of the number on the left.
NUMBERS = {
    1e5: "1e+05",
    123456.0: "123456",
    1e15: "1e+15",
    123456789012345678.0: "123456789012345680",
    1 / 3: "0.333333333333333",
    1e-4: "1e-04",
    0.0001234: "0.0001234",
    0.1 + 0.2: "0.3",
    3e9: "3e+09",
    3000000001.0: "3000000001",
    -0.0: "0",
    1e-300: "1e-300",
    100000.1: "100000.1",
    22 / 7 * 1e10: "31428571428.5714",
    5e-324: "4.94065645841247e-324",
    1200000.0: "1200000",
    -2.5: "-2.5",
}


@pytest.mark.parametrize(("number", "expected"), NUMBERS.items())
def test_numbers_print_as_in_r(number: float, expected: str) -> None:
    assert format_number(number) == expected


def test_names_as_in_r() -> None:
    raw = ["a:b", "g", "(g:h)", "factor(x)", "`my v`:g", "1a", "_b", ".2x", "if", "a-b"]
    expected = ["a.b", "g", "X.g.h.", "factor.x.", "X.my.v..g", "X1a", "X_b", "X.2x", "if.", "a.b"]
    assert make_names(raw) == expected
    assert make_unique(["a", "a", "a.1"]) == ["a", "a.2", "a.1"]
    assert make_unique(["a", "a", "a"]) == ["a", "a.1", "a.2"]


# Formula, 0-based place that stopped the parser, and a word of the cure.
REFUSED = [
    ("y ~ x + (1 | g", 8, "never closed"),
    ("y ~ x + (1 | g))", 15, "unexpected"),
    ("y ~ x + + (1 | g) *", 19, "too early"),
    ("y ~ x (1 | g)", 5, "missing between"),
    ("y ~ x z + (1 | g)", 6, "missing before"),
    ("y ~ 'x + (1 | g)", 4, "never closed"),
    ("y ~ x[1] + (1 | g)", 5, "subset"),
    ("y ~ d$x + (1 | g)", 5, "data"),
    ("y ~ a %foo% b + (1 | g)", 6, "%in%"),
    ("y = x + (1 | g)", 2, "'=='"),
    ("y <- x", 2, "assignment"),
    ("y ~ 2 * x + (1 | g)", 4, "I("),
    ("y ~ x^z + (1 | g)", 6, "whole number"),
    ("y ~ x ~ z + (1 | g)", 6, "one '~'"),
    ("~ x + (1 | g)", 0, "left of '~'"),
    ("x + (1 | g)", 0, "needs a '~'"),
    ("y ~ x", 5, "(1 | g)"),
    ("y ~ x + (0 | g)", 11, "(1 | g)"),
    ("y ~ x + (1 | g | h)", 11, "own parentheses"),
    ("y ~ x + (1 | g) + 1 | h", 11, "own parentheses"),
    ("y ~ x + (1 | g + h)", 15, "a:b"),
    ("y ~ x + (1 | g * h)", 15, "a:b"),
    ("y ~ if + (1 | g)", 4, "backticks"),
    ("y ~ `` + (1 | g)", 4, "empty"),
    ("y ~ (x + (1 | g))^2 + (1 | h)", 12, "cannot stand here"),
    ("y ~ x^(1 | g) + (1 | h)", 6, "whole number"),
    ("y ~ x + (1 | g) # comment", 16, "'#'"),
    ("y ~ 'a' + (1 | g)", 4, "no term"),
    ("y ~ x @ z", 6, "data"),
    ("y ~ stats::x + (1 | g)", 4, "function"),
    ("y ~ os::system(x) + (1 | g)", 4, "base::"),
    ("", None, "empty"),
    ("y ~ a == b == c + (1 | g)", 11, "chain"),
    ("y ~ 3i + (1 | g)", 4, "complex"),
    ("y ~ f(x,) + (1 | g)", 7, "missing after"),
    ("y ~ (a + b + c + d)^9999 * (a + b) + §", 37, "not part"),
]


@pytest.mark.parametrize(("text", "position", "word"), REFUSED)
def test_refusal_shows_the_place_and_the_cure(text: str, position: int | None, word: str) -> None:
    with pytest.raises(FormulaError) as caught:
        specify(text, ["y", "x", "g"])
    assert word in str(caught.value)
    if position is not None:
        assert caught.value.position == position
        assert str(caught.value).endswith(f"\n  {text}\n  {' ' * position}^")


def test_caret_stands_right_in_a_formula_of_several_lines() -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula("y ~ x +\n\t(1 | g")
    assert str(caught.value).endswith("\n  y ~ x +  (1 | g\n           ^")


@pytest.mark.parametrize("formula", [None, 3, ["y ~ x"], b"y ~ x"])
def test_a_formula_is_a_string(formula: object) -> None:
    with pytest.raises(ArgumentError, match="string"):
        parse_formula(formula)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 5000 + "x", "f(" * 500, "a^" * 500 + "a"])
def test_deep_nesting_is_an_error_of_the_formula(text: str) -> None:
    with pytest.raises(FormulaError, match=f"nests more than {MAX_DEPTH}"):
        parse_expression(text)


def test_a_long_sum_is_not_deep() -> None:
    names = [f"x{i}" for i in range(3000)]
    node = parse_expression(" + ".join(names))
    assert all_names(node) == names
    assert len(expand_terms(node, "").terms) == 3000
    assert deparse(node) == " + ".join(names)


def test_a_crossing_that_explodes_is_refused() -> None:
    names = " * ".join(f"x{i}" for i in range(40))
    with pytest.raises(FormulaError, match="5000 terms"):
        specify(f"y ~ {names} + (1 | g)", [])


def test_a_huge_power_ends() -> None:
    terms = expand_terms(parse_expression("(a + b + c)^1000000000"), "")
    assert [terms.label(term) for term in terms.terms] == [
        "a",
        "b",
        "c",
        "a:b",
        "a:c",
        "b:c",
        "a:b:c",
    ]


def test_formula_runs_nothing() -> None:
    with pytest.raises(FormulaError, match="no function system"):
        build_model("y ~ system('touch /tmp/x') + (1 | g)", {"y": [1, 2, 3], "g": [1, 1, 2]})


def test_near_function_is_suggested() -> None:
    with pytest.raises(FormulaError, match="did you mean") as caught:
        build_model("y ~ sqr(y) + (1 | g)", {"y": [1, 2, 3], "g": [1, 1, 2]})
    assert "sqrt" in str(caught.value) and "poly" in str(caught.value)
    assert caught.value.position == 4


DATA = {
    "y": [1.5, 2.0, 3.5, 4.0, 2.5, 1.0, 0.5, 7.0],
    "x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
    "g": ["a", "a", "b", "b", "c", "c", "d", "d"],
    "l": [True, False] * 4,
    "k": [1, 2, 3, 3, 2, 1, 1, 2],
    "o": pd.Categorical(["lo", "hi"] * 4, categories=["lo", "mid", "hi"], ordered=True),
    "t": ["1", "2", None, "b", "b", "c", "c", "1"],
}
NAMES = ["y", "x", "g", "l", "k", ".", "`x`", "`no`", "(1|g)", "(x|g)", "(1|k)", "x)", "g)"]
CONSTANTS = ["0", "1", "2", "3.5", "1e999", "1L", "-1", '"a"', "'b'", "TRUE", "NA", "NULL", "Inf"]
SIGNS = [
    "~",
    "+",
    "-",
    "*",
    "/",
    ":",
    "^",
    "**",
    "%in%",
    "%%",
    "|",
    "||",
    "&",
    "&&",
    "!",
    "==",
    "<",
]
MARKS = [
    "(",
    ")",
    ",",
    "=",
    "'",
    "`",
    "{}",
    "[",
    "$",
    "@",
    "\\",
    "§",
    "é",
    "\n",
    "\t",
    "x,2)",
    "df=3)",
]
CALLS = ["I(", "log(", "poly(", "ns(", "bs(", "scale(", "factor(", "cut(", "relevel(", "c("]
CALLS += ["offset(", "C(", "ifelse(", "interaction(", "mean(", "is.na(", "as.numeric(", "quantile("]
PIECES = st.sampled_from(NAMES + CONSTANTS + SIGNS + MARKS + CALLS)


@given(st.lists(PIECES, max_size=25).map(" ".join))
@example("y ~ x + (1|g)")
@settings(max_examples=200, deadline=None)
def test_pieces_of_formulas_build_or_are_refused(text: str) -> None:
    try:
        build_model(text, DATA)
    except PymackayError as error:
        assert str(error)


@given(st.lists(PIECES, max_size=12).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_terms_build_or_are_refused(text: str) -> None:
    try:
        build_model(f"y ~ {text} + (1 | g)", DATA)
    except PymackayError as error:
        assert str(error)


def test_every_function_that_a_formula_may_call_is_computed() -> None:
    assert sorted(FUNCTIONS) == sorted(FUNCTION_NAMES)


LEAVES = st.sampled_from(
    ["y", "x", "g", "l", "k", "o", "t", "no", *CONSTANTS, "c(1, 2)", "pi", "-1"]
)
OPERATORS = ["+", "-", "*", "/", "^", "%%", "%/%", "==", "<", ">=", "!=", "&", "|", "%in%", ":"]
NAMED = sorted({p for f in FUNCTIONS.values() for p in f.parameters if p != "..."})


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    named = st.tuples(st.sampled_from(NAMED), inner).map(" = ".join)
    arguments = st.lists(inner | named, max_size=4).map(", ".join)
    calls = st.tuples(st.sampled_from(sorted(FUNCTIONS)), arguments)
    chains = st.tuples(inner, st.sampled_from(OPERATORS), inner).map(" ".join)
    return calls.map(lambda call: f"{call[0]}({call[1]})") | chains | inner.map("!({})".format)


EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=6)


@given(EXPRESSIONS)
@settings(max_examples=200, deadline=None)
def test_any_expression_is_computed_or_refused(text: str) -> None:
    """As a term, a response, an effect, a group, weights, an offset, a subset; and on new data."""
    formulas = [f"y ~ I({text}) + (1 | g)", f"I({text}) ~ x + (1 | g)", f"y ~ {text} + (1 | g)"]
    formulas += [f"y ~ x + (I({text}) | g)", f"y ~ x + (1 | factor({text}))"]
    for formula in formulas:
        build_and_rebuild(formula)
    for argument in ("weights", "offset", "subset"):
        build_and_rebuild("y ~ x + (1 | g)", **{argument: text})


def build_and_rebuild(formula: str, **arguments: str) -> None:
    try:
        model = build_model(formula, DATA, **arguments)
        assert np.isfinite(model.X).all() and np.isfinite(model.y).all()
        build_new(model.blueprint, DATA)
    except PymackayError as error:
        assert str(error)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        node = parse_expression(text)
    except FormulaError as error:
        assert str(error)
    else:
        assert deparse(parse_expression(deparse(node))) == deparse(node)


@given(st.lists(PIECES, max_size=12).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_any_subset_and_weights_work_or_are_refused(text: str) -> None:
    for argument in ("subset", "weights", "offset"):
        try:
            build_model("y ~ x + (1 | g)", DATA, **{argument: text})
        except PymackayError as error:
            assert str(error)


# What earlier versions wrote into the names of recordings: never to change.
NORMAL_FORMS = {
    "y~x+(1|g)": ("y ~ x + ( 1 | g )", ["y", "x", "g"]),
    "log(y)~poly(x,degree=2)+(1|`a b`)": (
        "log ( y ) ~ poly ( x , degree = 2 ) + ( 1 | `a b` )",
        ["y", "x", "a b"],
    ),
    "y~`x.1`*`if`+(0+f||g:h)": (
        "y ~ x.1 * if + ( 0 + f || g : h )",
        ["y", "x.1", "if", "f", "g", "h"],
    ),
    'y ~ x%in%g+f(x,\'a b\',"c\\"d")': (
        'y ~ x %in% g + f ( x , \'a b\' , "c\\"d" )',
        ["y", "x", "g", "x"],
    ),
    "y~I(x^2)-1.5e-3*.w+1L*x": ("y ~ I ( x ^ 2 ) - 1.5e-3 * .w + 1L * x", ["y", "x", ".w", "x"]),
    "x>=1&x!=2|y==3": ("x >= 1 & x != 2 | y == 3", ["x", "x", "y"]),
    "y~x**2+splines::ns(x,3)+größe": (
        "y ~ x ** 2 + splines :: ns ( x , 3 ) + größe",
        ["y", "x", "x", "größe"],
    ),
    "y~a%%b%/%c+`a\\`b`": ("y ~ a %% b %/% c + `a\\`b`", ["y", "a", "b", "c", "a`b"]),
    "y ~ 'open + #(1|g)": ("y ~ ' open + # ( 1 | g )", ["y", "open", "g"]),
}


@pytest.mark.parametrize("text", NORMAL_FORMS)
def test_normal_forms_and_the_columns_they_name(text: str) -> None:
    normal, columns = NORMAL_FORMS[text]
    assert normal_formula(text) == normal_formula(normal) == normal
    assert list(named_columns(text)) == columns
