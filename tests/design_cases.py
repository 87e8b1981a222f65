"""Tables and formulas on which our model matrices must equal R's."""

from __future__ import annotations

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


def main_table() -> pd.DataFrame:
    """96 rows with every kind of column, nothing missing."""
    rng = np.random.default_rng(20240611)
    n = 96
    group = np.repeat(["g10", "g2", "G1", "_g", "ä", "zz"], 16)
    table = pd.DataFrame(
        {
            "y": np.round(rng.normal(10.0, 3.0, n), 4),
            "x": np.round(rng.normal(0.0, 1.0, n), 3),
            "z": np.round(rng.uniform(0.5, 3.0, n), 3),
            "k": np.tile([1, 2, 3, 10], 24),
            "big": np.tile([100000, 5, 1200000, 70], 24),
            "num": np.tile([0.1, 100000.0, -2.5, 1 / 3], 24)[rng.permutation(n)],
            "g": group,
            "h": np.tile(["u", "v", "w"], 32),
            "f": pd.Categorical(
                np.tile(["lo", "mid", "hi"], 32)[rng.permutation(n)],
                categories=["mid", "lo", "unused", "hi"],
            ),
            "a": pd.Categorical(np.tile(["a1", "a2", "a3"], 32), categories=["a1", "a2", "a3"]),
            "b": pd.Categorical(np.repeat(["b1", "b2"], 48), categories=["b1", "b2"]),
            "o": pd.Categorical(
                np.tile(["none", "some", "more", "all"], 24)[rng.permutation(n)],
                categories=["none", "some", "more", "all"],
                ordered=True,
            ),
            "o2": pd.Categorical(
                np.tile(["no", "yes"], 48)[rng.permutation(n)],
                categories=["no", "yes"],
                ordered=True,
            ),
            "l": rng.uniform(size=n) < 0.4,
            "alltrue": np.ones(n, dtype=bool),
            "batch": np.repeat(np.arange(1, 9), 12),
            "cask": np.tile(np.repeat(["c1", "c2", "c3"], 4), 8),
            "w": np.round(rng.uniform(0.2, 2.0, n), 3),
            "my var": np.round(rng.normal(size=n), 3),
            "größe": np.round(rng.normal(170.0, 9.0, n), 1),
            "x.1": np.round(rng.normal(size=n), 3),
            "my_fac": np.tile(["p q", "r:s"], 48)[rng.permutation(n)],
            "my fac": np.tile(["m", "n", "o", "p"], 24)[rng.permutation(n)],
            "cell": pd.Categorical(np.tile(["e1", "e2"], 48)[rng.permutation(n)]),
        }
    )
    table["x_copy"] = 2.0 * table["x"] - 1.0
    # A cell of f:cell that no row has: its column is zero and must be dropped.
    table.loc[(table["f"] == "hi") & (table["cell"] == "e2"), "cell"] = "e1"
    return table


def missing_table() -> pd.DataFrame:
    """The main table with holes in every kind of column, and a level that only such rows have."""
    table = main_table()
    rng = np.random.default_rng(7)
    table["num"] = table["num"] + 0.0
    table["cask"] = table["cask"].astype(object)
    table["h"] = table["h"].astype(object)
    for i, name in enumerate(["y", "x", "z", "w", "h", "f", "o", "cask"]):
        table.loc[rng.choice(96, 3 + i, replace=False), name] = None
    table["l"] = table["l"].astype("boolean")
    table.loc[[3, 50], "l"] = pd.NA
    table["k"] = table["k"].astype("Int64")
    table.loc[[5, 60], "k"] = pd.NA
    table["lost"] = np.where(table["x"].isna(), "only here", np.tile(["q", "r"], 48))
    return table


def small_table() -> pd.DataFrame:
    """A few columns only, for the dot."""
    table = main_table()
    return table[["y", "x", "g", "z", "a"]].copy()


TABLES = {"main": main_table, "missing": missing_table, "small": small_table}

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
