"""`generate`: makes a random `FuzzModel`, a small data set with formula and arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

_FIXED = (
    "x", "z", "x + z", "f", "x * f", "x:f", "f:h", "f * h", "h", "I(x^2) + x", "poly(x, 2)",
    "scale(z) + f", "log(w)", "b", "s", "x + s:b", "0 + f", "0 + x", "f - 1 + z", "ns(x, df = 3)",
    "exp(z / 10)", "(x + z + f)^2", "x * z - x:z", "k", "factor(k)", "I(z > 0)", "x + twin",
    "offset(o) + x", "f %in% h + x", "ordered(k) + z", "`a b` + x", "poly(x, 2):f", "f / x",
    "f:h:b", "bs(z, df = 4)", "größe * b", "offset(o) + offset(2 * z) + f", "cut(z, 3)",
    "relevel(factor(s), ref = 'mid') + z", "big",
)  # fmt: skip
_RANDOM = (
    "(1 | g)", "(x | g)", "(0 + x | g)", "(x || g)", "(z | g)", "(x + z | g)", "(x + z || g)",
    "(f | g)", "(0 + f | g)", "(f || g)", "(b | g)", "(1 | g / sub)", "(1 | g:f)", "(1 | m)",
    "(x | m)", "(1 | k)", "(1 | s)", "(1 | f)", "(I(x^2) | g)", "(x - 1 | m)", "(z || m)",
    "(1 | m / f)", "(0 + b | m)", "(poly(x, 2) | g)", "(scale(x) | m)", "(h | m)", "(x * b | g)",
    "(1 | g:m)", "(z | g:b)", "(1 | b)", "(ns(x, df = 2) | g)", "(0 + h | g)", "(h || g)",
    "(0 + f || m)", "(factor(k) || g)", "(`a b` | g)", "(1 | g / m / k)", "(1 | größe)",
    "(1 | größe:g)", "(1 | big)", "(I(z > 0) | g)", "(f / x | m)", "(1 | o)",
)  # fmt: skip
_RESPONSES = ("y", "y", "y", "y", "y", "y", "I(y * 2)", "sqrt(abs(y))", "log(abs(y))", "scale(y)")


@dataclass(frozen=True, eq=False)
class FuzzModel:
    """A model to be fitted by several engines.

    Attributes
    ----------
    seed : int
    fixed : str
        The fixed part.
    random : tuple of str
        The bar terms.
    data : pandas.DataFrame
    reml : bool
    arguments : dict
        Any of ``weights``, ``offset``, ``subset`` and ``contrasts``.
    response : str
    family, link : str
        R's names, for a generalised model; empty for a linear one.
    nagq : int
    shape : float or None
        Shape of a negative binomial family; None if it is estimated.
    """

    seed: int
    fixed: str
    random: tuple[str, ...]
    data: pd.DataFrame
    reml: bool
    arguments: dict[str, Any] = field(default_factory=dict)
    response: str = "y"
    family: str = ""
    link: str = ""
    nagq: int = 1
    shape: float | None = None

    @property
    def formula(self) -> str:
        """The formula, composed of its parts."""
        return f"{self.response} ~ {' + '.join((self.fixed, *self.random))}"

    def __str__(self) -> str:
        more = "".join(f", {name} = {value}" for name, value in self.arguments.items())
        criterion = "REML" if self.reml else "ML"
        if self.family:
            criterion = f"{self.family} ({self.link}), nagq = {self.nagq}"
        return f"{self.formula}{more}, {criterion}, {len(self.data)} rows"


def generate(seed: int) -> FuzzModel:
    """Generate a random model.

    Parameters
    ----------
    seed : int
        The same seed gives the same model.

    Examples
    --------
    >>> generate(1).formula == generate(1).formula
    True
    """
    rng = np.random.default_rng(seed)
    data = covariates(rng, _rows(rng))
    data["y"] = _response(rng, data)
    random = rng.choice(_RANDOM, size=rng.choice([1, 1, 2, 3]), replace=False)
    fixed = str(rng.choice([*_FIXED, "1", "1"]))
    arguments = _arguments(rng)
    spoil(rng, data)
    reml = bool(rng.random() < 0.6)
    response = str(rng.choice(_RESPONSES))
    return FuzzModel(seed, fixed, tuple(map(str, random)), data, reml, arguments, response)


def _rows(rng: np.random.Generator) -> int:
    """Return a number of rows: mostly 24 to 160, sometimes fewer or up to 400."""
    low, high = rng.choice([(8, 24), (24, 160), (24, 160), (24, 160), (160, 400)])
    return int(rng.integers(low, high))


def covariates(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Return a table of n rows with covariates of all kinds and grouping factors."""
    groups, others = int(rng.integers(2, 14)), int(rng.integers(2, 8))
    g, m = rng.integers(0, groups, n), rng.integers(0, others, n)
    if rng.random() < 0.3:  # balanced
        g = np.arange(n) % groups
    if rng.random() < 0.2:  # m is nested in g
        m = g % others
    data = pd.DataFrame(
        {
            "x": _scaled(rng, n),
            "z": np.round(rng.normal(size=n), 1),
            "w": _weights(rng, n),
            "o": rng.normal(size=n),
            "k": rng.integers(1, 6, n) * 10,
            "b": rng.random(n) < 0.5,
            "s": rng.choice(["low", "mid", "High", "é"], n),
            "m": pd.Categorical([f"m{i}" for i in m]),
            "g": pd.Categorical([f"g{i}" for i in g], categories=[f"g{i}" for i in range(groups)]),
        }
    )
    data["f"] = pd.Categorical(rng.choice(["a", "b", "c"], n), categories=["c", "a", "b", "unused"])
    data["h"] = pd.Categorical(
        rng.choice(["1st", "2nd", "3rd"], n), categories=["1st", "2nd", "3rd"], ordered=True
    )
    data["sub"] = [f"{a}{b}" for a, b in zip(g, rng.integers(0, 3, n), strict=True)]
    data["twin"] = 2.0 * data["x"] - 1.0
    data["a b"] = rng.exponential(size=n)
    data["größe"] = rng.choice(["α", "b b", "c:d", "e|f", "10"], n)
    data["big"] = 2**53 - rng.integers(0, 6, n)  # beyond this, a float64 skips integers
    return data


def _scaled(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return a covariate, shape (n,), of any scale, with a mean of up to 100 standard deviations.

    With a larger mean, lme4 itself has fewer correct digits than the comparison requires.
    """
    return (rng.normal(size=n) + rng.choice([0.0, 1.0, 100.0])) * 10.0 ** rng.integers(-4, 5)


def _weights(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return weights, shape (n,), sometimes over many orders of magnitude or with zeros."""
    kind = rng.random()
    if kind < 0.3:
        reach = rng.choice([2.0, 4.0])
        return 10.0 ** rng.uniform(-reach, reach, n)
    weights = rng.uniform(0.3, 3.0, n)
    return weights * (rng.random(n) < 0.9) if kind < 0.35 else weights


def _response(rng: np.random.Generator, data: pd.DataFrame) -> np.ndarray:
    n = len(data)
    x = (data["x"] - data["x"].mean()) / data["x"].std()
    g, m = data["g"].cat.codes.to_numpy(), data["m"].cat.codes.to_numpy()
    size = rng.choice([0.0, 0.3, 1.0, 5.0, 100.0], size=4, p=[0.25, 0.25, 0.25, 0.2, 0.05])
    y = rng.normal(size=n) + x * rng.normal() + data["f"].cat.codes * rng.normal()
    y = y + size[0] * rng.normal(size=20)[g] + size[1] * rng.normal(size=20)[g] * x
    y = y + size[2] * rng.normal(size=10)[m] + size[3] * rng.normal(size=6)[data["k"] // 10]
    return (y.to_numpy() + rng.choice([0.0, 0.0, 100.0])) * 10.0 ** rng.integers(-8, 9)


def _arguments(rng: np.random.Generator) -> dict[str, Any]:
    """Return random arguments of `pymackay.lmer`, most often none."""
    arguments: dict[str, Any] = {}
    if rng.random() < 0.2:
        arguments["weights"] = "w"
    if rng.random() < 0.15:
        arguments["offset"] = "o"
    if rng.random() < 0.15:
        arguments["subset"] = str(
            rng.choice(["z > -1", "f != 'a'", "b", "!b | z < 0.5", "f == 'c'"])
        )
    if rng.random() < 0.15:
        arguments["contrasts"] = {"f": str(rng.choice(["contr.sum", "contr.helmert", "contr.SAS"]))}
    if rng.random() < 0.05:
        arguments.setdefault("contrasts", {})["h"] = "contr.treatment"
    return arguments


def spoil(rng: np.random.Generator, data: pd.DataFrame) -> None:
    """Replace some values by missing ones: a few, or up to a quarter of a column."""
    for column in ("x", "z", "y", "s", "f", "g"):
        if rng.random() < 0.1:
            most = rng.choice([5, max(6, len(data) // 4)])
            rows = rng.choice(len(data), size=int(rng.integers(1, most)), replace=False)
            data.loc[rows, column] = None
