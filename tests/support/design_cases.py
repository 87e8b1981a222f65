"""Formulas on which our model matrices must equal R's."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Case:
    """A formula, its data, and the arguments beside it.

    `weights`, `offset` and `subset` are text in both languages; `contrasts` maps a variable to a
    kind or a matrix.
    """

    name: str
    formula: str
    data: str = "main"
    weights: str | None = None
    offset: str | None = None
    subset: str | None = None
    contrasts: dict[str, Any] | None = None


_FIXED = """
x
x + z
0 + x
-1 + x
x - 1
x + 0
1
0
a
0 + a
a - 1
a + b
0 + a + b
0 + x + a + b
a * b
a:b
-1 + a:b
a + a:b
a:b + a + b
b:a + b
a:x
x:a + x
x * a
0 + x:a
0 + a:x + b
a * b - a
a * b - b
a * b - a:b
a * b - a - b
(a + b + l)^2
(a + b + l)^3
(a + b + l + o2)^3 - a:b:l
(x + z + k + a)**2
(a + b) * (x + z)
a / b
a / x
a / b / l
(a + b) / x
x / a
a %in% b
a + b %in% a
a * b * l
a:b:l + a + b
x:z
x * z
l
l * x
0 + l
0 + l:x
alltrue
l + alltrue + x
o
0 + o
o * x
o:a
o2 * l
f
f * cell
f:cell
g
h * g
my_fac
`my var`
`my var` * a
I(`my var`^2) + `my var`
größe + I(größe/100)
x.1 + x
x + x_copy
x_copy + x + z
x + z + I(x + z) + I(x - z)
a + a:x + x
I(x^2) + I((x - 3)/2) + I(2 * x * z)
I(x^2) + I(x**3)
I(-x^2) + I((-x)^2 + z)
I(x %% 2) + I(z %/% 1)
I(x > 0)
I(x > 0 & z < 2)
I(!l) + x
(x > 0)
I(a == "a2")
I(x > 0) * a
I(1e5 * x) + I(x/1e-5 + z) + I(0.1 * z)
log(z) + log(z, 2) + log(z, base = 10)
log2(z) + log10(z) + log1p(z) + exp(x)
expm1(x) + sqrt(z) + abs(x) + sin(pi * x) + cos(x) + tan(z)
log(z + 1) * a
poly(x, 2)
poly(x, 1)
poly(x, 3) * a
poly(x, degree = 2)
poly(x, 2, raw = TRUE)
poly(x, z, degree = 2)
poly(x, z, degree = 3, raw = TRUE)
poly(log(z), 3) + x
cbind(x, z)
cbind(x, z * 2)
cbind(log(x), z * 2)
cbind(1, x)
scale(x)
scale(x, scale = FALSE) + scale(z, center = FALSE)
scale(x, center = 1, scale = 2)
scale(log(z)) * scale(x)
I(scale(x)^2) + scale(x)
factor(k)
factor(k) * x
factor(k, levels = c(3, 1, 2, 10))
factor(k, labels = c("one", "two", "three", "ten"))
factor(h, levels = c("w", "u", "v"))
factor(big)
factor(num)
factor(l)
ordered(k)
ordered(h, levels = c("v", "u", "w"))
as.factor(k) + as.numeric(a) + as.integer(f)
as.numeric(l) + as.numeric(k)
relevel(a, ref = "a2")
relevel(f, "hi") * x
dummy(a, "a2") + x
dummy(f, c("hi", "lo")):x
dummy(a)
C(a, contr.sum) + C(b, sum)
C(a, contr.helmert)
C(a, contr.treatment)
C(a, treatment)
C(a, contr.treatment, base = 2)
C(f, poly)
cut(x, 3)
cut(z, c(0, 1, 2, 5))
cut(z, c(0, 1, 2, 5), labels = c("A", "B", "C"))
cut(z, c(0, 1, 2, 5), right = FALSE)
cut(k, c(1, 2, 10), include.lowest = TRUE) + cut(big, 3)
interaction(a, b)
ns(x, df = 3)
ns(x, 4) * a
ns(x, df = 3, intercept = TRUE)
ns(x, knots = c(-0.5, 0.5))
ns(x, knots = 0, Boundary.knots = c(-1, 1))
ns(z, df = 5) + x
splines::ns(x, df = 2)
bs(x, df = 5)
bs(x)
bs(z, knots = c(1, 2))
bs(z, degree = 2, df = 4)
bs(x, df = 6, intercept = TRUE)
bs(x, degree = 1, knots = c(-1, 0, 1))
bs(x, df = 4, Boundary.knots = c(-2, 2))
offset(z) + x
x + offset(log(z)) + offset(x)
x * offset(z)
ifelse(x > 0, x, 0) + pmin(x, 0.5) + pmax(x, z)
I(round(x, 1)) + floor(z) + ceiling(z) + trunc(x) + sign(x)
I(x - mean(x)) + I(z/sd(z))
I(x %in% c(0, 1)) + I(h %in% c("u", "v"))
I(h != "u") + I(o > "some")
x + NULL
y + x
y:x + a
y * a
-x + a
+x + a
a^2 + x^2
(a * b - 1)
a * b - (a - 1)
x - 0
1 + x - 1 + 1
x + x + z + x
(x + (z + (a)))
a:b + x:z + l
z:a:x + b
I(x):a + a
I(TRUE & l)
exp(-z) + I(1/z) + I(z^-1)
I(x^0) + x
sinh(x) + cosh(x) + tanh(x) + atan(x)
big + k + num
ordered(k):x
o:x + o
factor(l):x + factor(l)
I("a2" == a)
I(k == 10) + I(k <= 2)
"""

_RANDOM = """
(1 | g)
(x | g)
(1 + x | g)
(0 + x | g)
(x - 1 | g)
(x + 0 | g)
(-1 + x | g)
(x || g)
(1 + x || g)
(0 + x || g)
(x + z || g)
(a || g)
(x + a || g)
(x * z || g)
(a * x || g)
(a | g)
(0 + a | g)
(a - 1 | g)
(f | g)
(o | g)
(0 + o | g)
(l | g)
(0 + l | g)
(a:x | g)
(a * x | g)
(0 + a:b | h)
(k | g)
(I(x^2) | g)
(poly(x, 2) | g)
(scale(x) || g)
(log(z) + x | g)
(factor(k) | g)
(0 + factor(k) || g)
(`my var` | g)
(1 | g) + (1 | h)
(1 | h) + (1 | g)
(1 | h) + (1 | g) + (1 | batch)
(1 | g) + (0 + x | g)
(1 | g) + (0 + x | g) + (0 + z | g)
(1 | h) + (0 + x | h) + (1 | g)
(1 | h) + (1 | g) + (0 + x | h)
(1 | g:h)
(1 | h:g)
(1 | g) + (1 | g:h)
(1 | g/h)
(x | g/h)
(1 | batch/cask)
(1 | batch/cask) + (1 | h)
(1 | batch/cask/l)
(x || batch/cask)
(1 | batch:cask) + (0 + x | batch:cask)
(1 | g:h:l)
(1 | (g:h))
(1 | (g))
(1 | h/(a:b))
(1 | big)
(1 | num)
(1 | k)
(1 | l)
(1 | f)
(1 | o)
(1 | my_fac)
(1 | my_fac:h)
(1 | k:l)
(1 | o:f)
(1 | my_fac:`my fac`) + (1 | h)
(k | k)
(0 + k | h:k)
(l | l)
((1 | g)) + ((x | h))
(1 | g) + x:(1 | h)
(1 | g) - (1 | h)
(1 | batch) + (1 | g) + (1 | h) + (1 | a) + (1 | b)
(1 | a) + (1 | h) + (x | b) + (0 + z | a)
(0 + x | g) + (1 | g) + (0 + a | h)
(a + b | g)
(0 + a + b | g)
(a + 0 + x | g)
(ordered(k) | g)
(C(a, sum) | g)
(relevel(a, "a3") | g)
(0 + dummy(a, "a2") | g)
(dummy(a) | g)
(1 | alltrue:g)
(y | g)
(x + offset(z) | g)
"""

_WHOLE = [
    Case("bare bar", "y ~ 1 | g"),
    Case("bar over all", "y ~ x + z | g"),
    Case("log response", "log(z) ~ x + (1 | g)"),
    Case("scaled response", "scale(y) ~ x + (1 | g)"),
    Case("arithmetic response", "y/100 ~ x + (1 | g)"),
    Case("difference as response", "y - x ~ z + (1 | g)"),
    Case("logical response", "l ~ x + (1 | g)"),
    Case("integer response", "k ~ x + (1 | g)"),
    Case("backticked response", "`my var` ~ x + (1 | g)"),
    Case("group also fixed", "y ~ k + (1 | factor(k))"),
    Case("dot", "y ~ . + (1 | g)", "small"),
    Case("dot without group", "y ~ . - g + (1 | g)", "small"),
    Case("dot squared", "y ~ (. - g)^2 + (1 | g)", "small"),
    Case("dot last", "y ~ (1 | g) + z + .", "small"),
    Case("dot without intercept", "y ~ 0 + . + (1 | g)", "small"),
    Case("dot and an interaction", "y ~ . + x:z + (1 | g)", "small"),
    Case("weights", "y ~ x + (1 | g)", weights="w"),
    Case("weights as an expression", "y ~ x + (1 | g)", weights="1/z"),
    Case("offset argument", "y ~ x + (1 | g)", offset="z"),
    Case("offset twice", "y ~ x + offset(x) + (1 | g)", offset="z", weights="w"),
    Case("subset of numbers", "y ~ x + f + (1 | g)", subset="x > -0.5"),
    Case("subset of text", "y ~ x * a + (1 | g)", subset='g != "zz" & !(h == "u" & x < 0)'),
    Case("subset by set", "y ~ a + (x | g)", subset='g %in% c("g10", "g2", "ä") | k == 10'),
    Case("subset drops levels", "y ~ f + a + (1 | g)", subset='a != "a2" & f != "hi"'),
    Case("subset then scale", "y ~ scale(x) + poly(z, 2) + (1 | g)", subset="x < 1"),
    Case("subset drops a logical", "y ~ l + x + (1 | g)", subset="l"),
    Case("subset then ordered", "y ~ o + (1 | g)", subset='o != "more"'),
    Case("missing", "y ~ x + f + (1 | g)", "missing"),
    Case("missing groups", "y ~ x + (1 | h) + (1 | batch/cask)", "missing"),
    Case("missing logical", "y ~ l * o + (l | g)", "missing"),
    Case("missing integer", "y ~ k + (1 | factor(k))", "missing"),
    Case("missing weights", "y ~ z + (1 | g)", "missing", weights="w"),
    Case("missing offset", "y ~ z + offset(x) + (1 | g)", "missing", offset="w"),
    Case("missing and subset", "y ~ z * a + (z || h)", "missing", subset="x > -1", weights="w"),
    Case("missing level lost", "y ~ x + lost + (1 | g)", "missing"),
    Case("missing scaled", "y ~ scale(x) + scale(z) + (1 | g)", "missing"),
    Case("missing splines", "y ~ ns(x, df = 3) + bs(z, df = 4) + (1 | g)", "missing"),
    Case("missing raw poly", "y ~ poly(x, 2, raw = TRUE) + (1 | g)", "missing"),
    Case("missing text compared", 'y ~ I(h == "u") + I(x > 0) + (1 | g)', "missing"),
    Case("missing means", "y ~ I(x - mean(x, na.rm = TRUE)) + is.na(w) + (1 | g)", "missing"),
    Case("missing in set", 'y ~ I(h %in% c("u", "v")) + (1 | g)', "missing"),
    Case("missing logic", "y ~ I(x > 0 & z > 1) + I(!(x < 0 & l)) + (1 | g)", "missing"),
    Case("sum contrasts", "y ~ a * x + (a | g)", contrasts={"a": "contr.sum"}),
    Case("helmert contrasts", "y ~ a * b + (1 | g)", contrasts={"a": "contr.helmert"}),
    Case("SAS contrasts", "y ~ a * f + (1 | g)", contrasts={"a": "contr.SAS", "f": "contr.SAS"}),
    Case("poly contrasts", "y ~ f + (1 | g)", contrasts={"f": "contr.poly"}),
    Case("treatment of ordered", "y ~ o + (1 | g)", contrasts={"o": "contr.treatment"}),
    Case("sum of text", "y ~ h * x + (1 | g)", contrasts={"h": "contr.sum"}),
    Case("sum of logical", "y ~ l * x + (1 | g)", contrasts={"l": "contr.sum"}),
    Case("sum without intercept", "y ~ 0 + a + b + (1 | g)", contrasts={"b": "contr.sum"}),
    Case("contrasts of a call", "y ~ factor(k) + (1 | g)", contrasts={"factor(k)": "contr.sum"}),
    Case("contrasts of another", "y ~ x + (a | g)", contrasts={"a": "contr.sum"}),
    Case(
        "matrix contrasts",
        "y ~ a * x + (1 | g)",
        contrasts={"a": np.array([[1.0, 0.5], [0.0, -1.0], [-1.0, 0.5]])},
    ),
    Case(
        "named matrix contrasts",
        "y ~ a * b + (1 | g)",
        contrasts={
            "a": pd.DataFrame({".up": [-1.0, 0.0, 1.0], ".bend": [1.0, -2.0, 1.0]}),
            "b": "contr.sum",
        },
    ),
    Case(
        "one contrast of two", "y ~ a + (1 | g)", contrasts={"a": np.array([[-1.0], [0.0], [1.0]])}
    ),
    Case("vector contrast", "y ~ a + (1 | g)", contrasts={"a": np.array([-1.0, 0.0, 1.0])}),
]

CASES: list[Case] = [
    *(Case(f"fixed: {text}", f"y ~ {text} + (1 | g)") for text in _FIXED.strip().split("\n")),
    *(Case(f"random: {text}", f"y ~ x + {text}") for text in _RANDOM.strip().split("\n")),
    *_WHOLE,
]


_ATOMS = [
    *("a", "b", "x", "l", "o", "f", "h", "k", "o2", "cell", "x_copy", "`my var`", "1", "0"),
    *("log(z)", "I(x^2)", "poly(x, 2)", "factor(k)", "scale(x)", "offset(w)"),
]
_GROUPS = ["g", "h", "batch", "batch/cask", "g:h", "(g)", "k", "big", "num", "l", "a:b", "a/b"]
_SUBSETS = [None, None, None, "x > -1", 'h != "u"']


def random_cases(seed: int, count: int) -> list[Case]:
    """Make formulas that nobody would write."""
    chance = random.Random(seed)

    def side(depth: int) -> str:
        if depth == 0 or chance.random() < 0.2:
            return chance.choice(_ATOMS)
        operator = chance.choice(["+", "+", "+", "-", "*", ":", "/", "%in%", "(", "^"])
        if operator == "(":
            return f"({side(depth - 1)})"
        if operator == "^":
            return f"({side(depth - 1)})^{chance.randint(2, 3)}"
        return f"{side(depth - 1)} {operator} {side(depth - 1)}"

    def bar() -> str:
        left = side(chance.randint(0, 2))
        return f"({left} {chance.choice(['|', '||'])} {chance.choice(_GROUPS)})"

    cases = []
    for i in range(count):
        terms = " + ".join(
            [side(chance.randint(1, 3)), *(bar() for _ in range(chance.randint(1, 3)))]
        )
        cases.append(
            Case(
                f"random {i}",
                f"y ~ {terms}",
                chance.choice(["main", "missing"]),
                weights=chance.choice([None, None, "w"]),
                subset=chance.choice(_SUBSETS),
            )
        )
    return cases


RANDOM_CASES = random_cases(seed=20240612, count=200)
