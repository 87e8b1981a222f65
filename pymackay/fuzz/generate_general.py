"""`generate_general`: makes a random `FuzzModel` of a generalised model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.family.named import FAMILIES
from pymackay.fuzz.generate import FuzzModel, covariates, spoil

_FIXED = (
    "1", "x", "x", "z", "x + z", "f", "x * f", "h", "I(z^2) + z", "poly(z, 2)", "scale(x)", "b",
    "x + f:b", "0 + f", "k", "factor(k)", "offset(o) + z", "x + twin", "s + z",
)  # fmt: skip
_RANDOM = (
    ("(1 | g)",), ("(1 | g)",), ("(1 | g)",), ("(z | g)",), ("(0 + z | g)",), ("(z || g)",),
    ("(1 | g)", "(1 | m)"), ("(1 | g / sub)",), ("(1 | row)",), ("(1 | g)", "(1 | row)"),
    ("(z | g)", "(1 | m)"), ("(0 + f | g)",), ("(1 | m)", "(0 + b | g)"), ("(1 | g:m)",),
    ("(scale(x) | g)",), ("(1 | g)", "(1 | m)", "(1 | k)"), ("(z + b | g)",),
)  # fmt: skip
_FAMILIES = (
    ("binomial", "logit"), ("binomial", "logit"), ("binomial", "logit"), ("binomial", "probit"),
    ("binomial", "cloglog"), ("binomial", "cauchit"), ("poisson", "log"), ("poisson", "log"),
    ("poisson", "sqrt"), ("negative binomial", "log"), ("Gamma", "log"), ("Gamma", "inverse"),
    ("inverse.gaussian", "log"), ("gaussian", "log"),
)  # fmt: skip
_BINOMIAL = ("cbind(wins, losses)", "hit", "answer", "as.numeric(hit)", "share")


def generate_general(seed: int) -> FuzzModel:
    """Generate a random generalised model.

    Parameters
    ----------
    seed : int
        The same seed gives the same model.

    Examples
    --------
    >>> generate_general(1).family == generate_general(1).family
    True
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 140))
    data = covariates(rng, n)
    data["row"] = np.arange(n)
    data["z"] = np.round(rng.normal(size=n), 2)
    data["x"] = data["z"] * rng.normal() + rng.normal(size=n) * 10.0 ** rng.integers(-2, 3)
    data["o"] = np.round(0.5 * rng.normal(size=n), 3)
    family, link = _FAMILIES[int(rng.integers(len(_FAMILIES)))]
    random = _RANDOM[int(rng.integers(len(_RANDOM)))]
    response = _respond(rng, data, family, link)
    arguments = _arguments(rng, response)
    if rng.random() < 0.2:
        spoil(rng, data)
    scalar = random in (("(1 | g)",), ("(0 + z | g)",)) and not FAMILIES[family].has_dispersion
    nodes = int(rng.choice([0, 5, 9])) if scalar else 1
    return FuzzModel(
        seed=seed,
        fixed=str(rng.choice(_FIXED)),
        random=random,
        data=data,
        reml=False,
        arguments=arguments,
        response=response,
        family=family,
        link=link,
        nagq=nodes if rng.random() < 0.4 else 1,
        shape=2.0 if family == "negative binomial" and rng.random() < 0.5 else None,
    )


def _respond(rng: np.random.Generator, data: pd.DataFrame, family: str, link: str) -> str:
    """Draw a response into new columns, and return the left side of the formula."""
    eta = _predictor(rng, data)
    if family == "binomial":
        return _binomial(rng, data, eta)
    level = float(rng.choice([0.0, 1.0, 1.0, 6.0])) if family == "poisson" else 1.0
    mean = np.exp(np.clip(level + eta, -8.0, 10.0))
    if link == "sqrt":
        mean = (2.0 + np.clip(0.4 * eta, -1.5, 5.0)) ** 2
    if link == "inverse":
        mean = 1.0 / np.clip(2.0 + 0.3 * eta, 0.3, None)
    if family == "poisson":
        data["y"] = rng.poisson(mean).astype(float)
    elif family == "negative binomial":
        data["y"] = rng.negative_binomial(2.0, 2.0 / (2.0 + mean)).astype(float)
    elif family == "Gamma":
        shape = float(rng.choice([0.8, 4.0, 30.0]))
        data["y"] = np.maximum(rng.gamma(shape, mean / shape), 1e-8)
    elif family == "inverse.gaussian":
        data["y"] = rng.wald(mean, float(rng.choice([1.0, 10.0])))
    else:
        data["y"] = np.maximum(mean + 0.3 * rng.normal(size=len(mean)), 1e-3)
    return "y"


def _predictor(rng: np.random.Generator, data: pd.DataFrame) -> np.ndarray:
    """Return a linear predictor of random size, shape (n,)."""
    g, m = data["g"].cat.codes.to_numpy(), data["m"].cat.codes.to_numpy()
    size = rng.choice([0.0, 0.3, 1.0, 2.0], size=3, p=[0.2, 0.3, 0.35, 0.15])
    eta = 0.5 * rng.normal() + 0.5 * rng.normal() * data["z"].to_numpy()
    eta = eta + 0.4 * rng.normal() * data["f"].cat.codes.to_numpy()
    eta = eta + size[0] * rng.normal(size=20)[g] + size[1] * rng.normal(size=20)[m]
    return eta + 0.5 * size[2] * rng.normal(size=20)[g] * data["z"].to_numpy()


def _binomial(rng: np.random.Generator, data: pd.DataFrame, eta: np.ndarray) -> str:
    """Draw a binomial response in one of the forms that R takes."""
    chance = 1.0 / (1.0 + np.exp(-eta))
    trials = rng.integers(0, 12, len(eta))
    wins = rng.binomial(trials, chance)
    hit = rng.random(len(eta)) < chance
    data["trials"], data["wins"], data["losses"] = trials, wins, trials - wins
    data["share"] = wins / np.maximum(trials, 1)
    data["hit"] = hit
    data["answer"] = pd.Categorical(np.where(hit, "yes", "no"), categories=["no", "yes"])
    return str(rng.choice(_BINOMIAL))


def _arguments(rng: np.random.Generator, response: str) -> dict[str, Any]:
    """Return random arguments of `pymackay.glmer`, most often none."""
    arguments: dict[str, Any] = {}
    if response == "share":
        arguments["weights"] = "trials"
    if rng.random() < 0.1:
        arguments["offset"] = "o"
    if rng.random() < 0.1:
        arguments["subset"] = str(rng.choice(["z > -1", "f != 'a'", "b"]))
    if rng.random() < 0.1:
        arguments["contrasts"] = {"f": str(rng.choice(["contr.sum", "contr.helmert"]))}
    return arguments
