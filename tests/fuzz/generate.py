"""Random models: a small data set, a formula and its arguments, from one seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["FuzzModel", "generate"]

_FIXED = (
    "x",
    "z",
    "x + z",
    "f",
    "x * f",
    "x:f",
    "f:h",
    "f * h",
    "h",
    "I(x^2) + x",
    "poly(x, 2)",
    "scale(z) + f",
    "log(w)",
    "b",
    "s",
    "x + s:b",
    "0 + f",
    "0 + x",
    "f - 1 + z",
    "ns(x, df = 3)",
    "exp(x / 10)",
    "(x + z + f)^2",
    "x * z - x:z",
    "k",
    "factor(k)",
    "I(z > 0)",
    "x + twin",
)
_RANDOM = (
    "(1 | g)",
    "(x | g)",
    "(0 + x | g)",
    "(x || g)",
    "(z | g)",
    "(x + z | g)",
    "(x + z || g)",
    "(f | g)",
    "(0 + f | g)",
    "(f || g)",
    "(b | g)",
    "(1 | g / sub)",
    "(1 | g:f)",
    "(1 | m)",
    "(x | m)",
    "(1 | k)",
    "(1 | s)",
    "(1 | f)",
    "(I(x^2) | g)",
    "(x - 1 | m)",
)


@dataclass(frozen=True, eq=False)
class FuzzModel:
    """A model to fit twice.

    Attributes
    ----------
    seed : int
    formula : str
    data : pandas.DataFrame
    reml : bool
    arguments : dict
        ``weights``, ``offset``, ``subset``, ``contrasts``, where drawn.
    """

    seed: int
    formula: str
    data: pd.DataFrame
    reml: bool
    arguments: dict[str, Any] = field(default_factory=dict)


def generate(seed: int) -> FuzzModel:
    """Draw a model."""
    rng = np.random.default_rng(seed)
    data = _covariates(rng, int(rng.integers(24, 160)))
    data["y"] = _response(rng, data)
    formula = _formula(rng)
    arguments = _arguments(rng)
    _spoil(rng, data)
    return FuzzModel(seed, formula, data, bool(rng.random() < 0.6), arguments)


def _covariates(rng: np.random.Generator, n: int) -> pd.DataFrame:
    groups, others = int(rng.integers(3, 14)), int(rng.integers(3, 8))
    g, m = rng.integers(0, groups, n), rng.integers(0, others, n)
    if rng.random() < 0.3:  # balanced
        g = np.arange(n) % groups
    data = pd.DataFrame(
        {
            "x": _scaled(rng, n),
            "z": np.round(rng.normal(size=n), 1),
            "w": rng.uniform(0.3, 3.0, n),
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
    return data


def _scaled(rng: np.random.Generator, n: int) -> np.ndarray:
    """A covariate of any size, and off zero by up to a hundred of its standard deviations.

    Further off, lme4 itself keeps fewer digits than the comparison asks for.
    """
    return (rng.normal(size=n) + rng.choice([0.0, 1.0, 100.0])) * 10.0 ** rng.integers(-4, 5)


def _response(rng: np.random.Generator, data: pd.DataFrame) -> np.ndarray:
    n = len(data)
    x = (data["x"] - data["x"].mean()) / data["x"].std()
    g, m = data["g"].cat.codes.to_numpy(), data["m"].cat.codes.to_numpy()
    size = rng.choice([0.0, 0.3, 1.0, 5.0], size=4)
    y = rng.normal(size=n) + x * rng.normal() + data["f"].cat.codes * rng.normal()
    y = y + size[0] * rng.normal(size=20)[g] + size[1] * rng.normal(size=20)[g] * x
    y = y + size[2] * rng.normal(size=10)[m] + size[3] * rng.normal(size=6)[data["k"] // 10]
    return (y.to_numpy() + rng.choice([0.0, 0.0, 100.0])) * 10.0 ** rng.integers(-3, 4)


def _formula(rng: np.random.Generator) -> str:
    random = rng.choice(_RANDOM, size=rng.choice([1, 1, 2, 3]), replace=False)
    fixed = rng.choice([*_FIXED, "1", "1"])
    return f"y ~ {fixed} + {' + '.join(random)}"


def _arguments(rng: np.random.Generator) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if rng.random() < 0.2:
        arguments["weights"] = "w"
    if rng.random() < 0.15:
        arguments["offset"] = "o"
    if rng.random() < 0.15:
        arguments["subset"] = str(rng.choice(["z > -1", "f != 'a'", "b", "!b | z < 0.5"]))
    if rng.random() < 0.15:
        arguments["contrasts"] = {"f": str(rng.choice(["contr.sum", "contr.helmert", "contr.SAS"]))}
    return arguments


def _spoil(rng: np.random.Generator, data: pd.DataFrame) -> None:
    """Make a few values missing."""
    for column in ("x", "z", "y", "s", "f", "g"):
        if rng.random() < 0.1:
            rows = rng.choice(len(data), size=int(rng.integers(1, 5)), replace=False)
            data.loc[rows, column] = None
