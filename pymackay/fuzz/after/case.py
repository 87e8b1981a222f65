"""`Case`: the fit of a random model, and the dense answers that its methods are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymackay.fuzz.dense import DenseFit, dense_error_variances, dense_fit, random_design
from pymackay.fuzz.generate import FuzzModel
from pymackay.model.model import Model
from pymackay.results import Fit

CLOSE = 1e-6
"""Difference from the dense answers that counts as rounding, in statistical units."""

Differences = Iterator[str]


@dataclass(frozen=True, eq=False)
class Case:
    """A fit and what it is compared with.

    Attributes
    ----------
    model : FuzzModel
    fit : Fit
    folder : pathlib.Path
        For files.
    dtype : numpy dtype
        Arithmetic of the dense answers.
    """

    model: FuzzModel
    fit: Fit
    folder: Path
    dtype: Any = np.float64

    @property
    def built(self) -> Model:
        """The model's arrays."""
        built: Model = self.fit.problem.model
        return built

    @cached_property
    def close(self) -> float:
        """Largest difference that counts as rounding.

        It grows as the response's digits cancel, and with the condition numbers of V and X.
        """
        eps, n = np.finfo(float).eps, len(self.built.y)
        digits = np.abs(self.built.y).max() / self.fit.sigma
        condition = n * float(np.max(self.fit.theta.to_numpy() ** 2, initial=1.0))
        condition += 100.0 * collinearity(self.fit) ** 2
        return CLOSE + float(10.0 * eps * n**1.5 * digits + eps * condition)

    @cached_property
    def rng(self) -> np.random.Generator:
        """Random numbers, the same for the same model."""
        return np.random.default_rng([self.model.seed, 1])

    @cached_property
    def dense(self) -> DenseFit:
        """The dense answer at the theta of the fit."""
        return dense_fit(self.built, self.fit.theta.to_numpy(), self.fit.reml, dtype=self.dtype)

    @cached_property
    def Z(self) -> np.ndarray:
        """The random design, shape (n, q)."""
        return random_design(self.built)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of the data that the model uses, shape (n, columns)."""
        return self.model.data.loc[self.built.rows]

    @property
    def term_spans(self) -> list[slice]:
        """The columns of `Z` that belong to each random term."""
        spans, start = [], 0
        for term in self.built.terms:
            stop = start + len(term.effects) * len(self.built.factors[term.group].levels)
            spans.append(slice(start, stop))
            start = stop
        return spans

    def errors(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return the variances of the errors of ``x'β̂ + z'b̂``, absolute, shape (k,)."""
        theta = self.fit.theta.to_numpy()
        relative = dense_error_variances(self.built, theta, x, z, dtype=self.dtype)
        return self.dense.sigma**2 * relative

    def gap(self, what: str, ours: Any, expected: Any, unit: Any = 1.0) -> Differences:
        """Yield a description of the largest difference if it is more than rounding."""
        return gap(what, ours, expected, unit, self.close)


def collinearity(fit: Fit) -> float:
    """Return the condition number of the fixed columns at unit length."""
    R = fit.problem.solver.bases.basis.R
    return float(np.linalg.cond(R / np.linalg.norm(R, axis=0))) if R.size else 1.0


def gap(what: str, ours: Any, expected: Any, unit: Any, close: float) -> Differences:
    """Yield a description of the largest difference if it is more than `close` units.

    Parameters
    ----------
    what : str
    ours, expected : array-like of one shape
        nan must be in the same places.
    unit : float or array-like
        Of the difference; positive.
    close : float
    """
    ours, expected = np.asarray(ours, dtype=float), np.asarray(expected, dtype=float)
    if ours.shape != expected.shape:
        yield f"{what}: shape {ours.shape}, expected {expected.shape}"
        return
    lost = np.isnan(ours) != np.isnan(expected)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.abs(ours - expected) / unit
    distance = np.where(lost, np.inf, np.where(ours == expected, 0.0, np.nan_to_num(distance)))
    if distance.max(initial=0.0) > close:
        place = np.unravel_index(int(np.argmax(distance)), distance.shape)
        yield (
            f"{what}: {ours[place]!r}, expected {expected[place]!r} at {[int(k) for k in place]}, "
            f"{distance[place]:.3g} units"
        )


def same(what: str, ours: Any, expected: Any) -> Differences:
    """Yield a description if two values are not equal."""
    if ours != expected:
        yield f"{what}: {ours!r}, expected {expected!r}"
