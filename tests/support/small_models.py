"""Small mixed models, built by hand from arrays, for tests that need no formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.model.model import GroupingFactor, Model, RandomTerm

__all__ = [
    "crossed_model",
    "factor_of",
    "reordered",
    "sleepstudy_model",
    "sleepstudy_theta",
    "twin_factor_model",
]


def factor_of(name: str, labels: Sequence[str]) -> GroupingFactor:
    codes, levels = pd.factorize(np.asarray(labels, dtype=object), sort=True)
    return GroupingFactor(name, tuple(levels), codes.astype(np.int32))


def sleepstudy_model(*, double_bar: bool = False) -> Model:
    """``Reaction ~ Days + (Days | Subject)``, or ``(Days || Subject)``."""
    data = pm.load_data("sleepstudy")
    X = np.column_stack([np.ones(len(data)), data["Days"]])
    effects = ("(Intercept)", "Days")
    terms: tuple[RandomTerm, ...] = (RandomTerm("Subject", "Subject", effects, X),)
    if double_bar:
        terms = (
            RandomTerm("Subject", "Subject", effects[:1], X[:, :1]),
            RandomTerm("Subject.1", "Subject", effects[1:], X[:, 1:]),
        )
    return Model(
        formula="Reaction ~ Days + (Days || Subject)"
        if double_bar
        else "Reaction ~ Days + (Days | Subject)",
        response="Reaction",
        y=data["Reaction"].to_numpy(),
        X=X,
        fixed=effects,
        terms=terms,
        factors={"Subject": factor_of("Subject", data["Subject"].astype(str))},
        rows=data.index,
    )


def crossed_model(*, weighted: bool = False, seed: int = 11) -> Model:
    """Crossed g and h, a slope of x on g, three fixed effects, unbalanced, 90 rows."""
    rng = np.random.default_rng(seed)
    n = 90
    g, h = rng.integers(0, 9, n), rng.integers(0, 6, n)
    x, z = rng.normal(size=n), rng.normal(2.0, 3.0, size=n)
    slopes = rng.normal(size=(9, 2)) * [2.0, 1.0]
    y = 5.0 + x - 0.3 * z + slopes[g, 0] + slopes[g, 1] * x + rng.normal(size=6)[h]
    X = np.column_stack([np.ones(n), x, z])
    return Model(
        formula="y ~ x + z + (x | g) + (1 | h)",
        response="y",
        y=y + rng.normal(size=n),
        X=X,
        fixed=("(Intercept)", "x", "z"),
        terms=(
            RandomTerm("g", "g", ("(Intercept)", "x"), X[:, :2]),
            RandomTerm("h", "h", ("(Intercept)",), X[:, :1]),
        ),
        factors={
            "g": factor_of("g", [f"g{k}" for k in g]),
            "h": factor_of("h", [f"h{k}" for k in h]),
        },
        rows=pd.RangeIndex(n),
        weights=rng.uniform(0.5, 2.0, n) if weighted else None,
        offset=0.1 * z if weighted else None,
    )


def twin_factor_model() -> Model:
    """Two grouping factors that are one under two names: only the sum of variances is known."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(12), 5)
    one = np.ones((60, 1))
    return Model(
        formula="y ~ 1 + (1 | first) + (1 | second)",
        response="y",
        y=10.0 + 2.0 * rng.normal(size=12)[g] + rng.normal(size=60),
        X=one,
        fixed=("(Intercept)",),
        terms=(
            RandomTerm("first", "first", ("(Intercept)",), one),
            RandomTerm("second", "second", ("(Intercept)",), one),
        ),
        factors={
            "first": factor_of("first", [f"a{k:02}" for k in g]),
            "second": factor_of("second", [f"b{k:02}" for k in g]),
        },
        rows=pd.RangeIndex(60),
    )


def reordered(model: Model, terms: Sequence[int], effects: Sequence[Sequence[int]]) -> Model:
    """Return the same model with terms, and effects within terms, in another order."""
    moved = tuple(
        dataclasses.replace(
            model.terms[k],
            effects=tuple(model.terms[k].effects[i] for i in order),
            columns=model.terms[k].columns[:, list(order)],
        )
        for k, order in zip(terms, effects, strict=True)
    )
    factors = {term.group: model.factors[term.group] for term in moved}
    return dataclasses.replace(model, terms=moved, factors=factors)


def sleepstudy_theta() -> np.ndarray:
    """Theta of sleepstudy's REML optimum, in closed form: the design is balanced.

    With b̂_j the least-squares line of subject j, ``E MS = V + sigma² (Z_j'Z_j)⁻¹``, and REML
    equates the sample covariance of the lines with it.
    """
    model = sleepstudy_model()
    Z, y = model.X[:10], model.y.reshape(18, 10)
    lines = y @ np.linalg.pinv(Z).T
    sigma_var = float(np.sum((y - lines @ Z.T) ** 2)) / (180 - 36)
    V = np.cov(lines.T) - sigma_var * np.linalg.inv(Z.T @ Z)
    factor = np.linalg.cholesky(V / sigma_var)
    return np.array([factor[0, 0], factor[1, 0], factor[1, 1]])
