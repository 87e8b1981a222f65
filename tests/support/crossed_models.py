"""Data of two or three crossed factors, and generalised models of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.api.criterion import observations
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.rows import Rows

__all__ = ["crossed", "laplace_of"]


def crossed(seed: int, n: int = 1500, levels: tuple[int, int, int] = (90, 60, 20)) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    codes = [random.integers(0, J, n) for J in levels]
    x = random.normal(size=n)
    eta = 0.3 + 0.4 * x
    for sd, J, code in zip((0.8, 0.5, 0.3), levels, codes, strict=True):
        eta = eta + sd * random.normal(size=J)[code]
    return pd.DataFrame(
        {
            "yes": (random.uniform(size=n) < 1.0 / (1.0 + np.exp(-eta))).astype(int),
            "count": random.negative_binomial(3, 3.0 / (3.0 + np.exp(eta))),
            "x": x,
            **{name: code.astype(str) for name, code in zip("abc", codes, strict=True)},
        }
    )


def laplace_of(formula: str, data: pd.DataFrame, family: pm.Binomial) -> Laplace:
    general = build_general(formula, Table(data), Arguments(), family.support)
    return Laplace(Rows.of(general.model, observations(general)), family)
