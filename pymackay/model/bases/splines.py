"""Spline bases: ``ns()`` and ``bs()`` with the knots and the parametrisation of R's splines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


def inner_knots(x: np.ndarray, count: int) -> np.ndarray:
    """Put `count` knots at equally spaced quantiles of `x` (R's quantiles of type 7)."""
    if count <= 0:
        return np.empty(0)
    return np.quantile(x, np.linspace(0.0, 1.0, count + 2)[1:-1])


@dataclass(frozen=True, eq=False)
class BSplineBasis:
    """B-splines, and polynomials beyond the boundary knots.

    Attributes
    ----------
    knots : numpy.ndarray
        Inner knots.
    boundary : tuple of float
        The two boundary knots.
    degree : int
    intercept : bool
        Whether the first B-spline is kept.

    References
    ----------
    de Boor, C. (1978). A Practical Guide to Splines, ch. X.
    """

    knots: np.ndarray
    boundary: tuple[float, float]
    degree: int = 3
    intercept: bool = False
    all_knots: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        ends = np.repeat(self.boundary, self.degree + 1)
        object.__setattr__(self, "all_knots", np.sort(np.concatenate([ends, self.knots])))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Return the basis at `x`, shape (n, columns); nan stays nan."""
        return _at_known(x, self._evaluate)

    def _evaluate(self, x: np.ndarray) -> np.ndarray:
        order = self.degree + 1
        below, above = self.all_knots[order], self.all_knots[-order - 1]
        basis = self.full(x, lower_pivot=(below, 0.25), upper_pivot=(above, 0.25))
        return basis if self.intercept else basis[:, 1:]

    def full(
        self,
        x: np.ndarray,
        lower_pivot: tuple[float, float],
        upper_pivot: tuple[float, float],
        terms: int | None = None,
    ) -> np.ndarray:
        """Return all B-splines at `x`, continued outside by Taylor series.

        Parameters
        ----------
        x : numpy.ndarray, shape (n,)
        lower_pivot, upper_pivot : tuple of float
            A point and its weight against the boundary knot: where the series is expanded.
        terms : int, optional
            Number of terms of the series; as many as the degree has by default.
        """
        low, high = self.boundary
        inside = (x >= low) & (x <= high)
        basis = np.empty((len(x), len(self.all_knots) - self.degree - 1))
        basis[inside] = self.derivative(x[inside], 0)
        for outside, edge, (point, weight) in (
            (x < low, low, lower_pivot),
            (x > high, high, upper_pivot),
        ):
            if outside.any():
                pivot = (1.0 - weight) * edge + weight * point
                basis[outside] = self._taylor(x[outside], pivot, terms or self.degree + 1)
        return basis

    def _taylor(self, x: np.ndarray, pivot: float, terms: int) -> np.ndarray:
        at = np.array([pivot])
        return sum(
            np.outer((x - pivot) ** k / math.factorial(k), self.derivative(at, k)[0])
            for k in range(terms)
        )  # type: ignore[return-value]

    def derivative(self, x: np.ndarray, order: int) -> np.ndarray:
        """Return a derivative of all B-splines at points between the boundary knots."""
        unit = np.eye(len(self.all_knots) - self.degree - 1)
        from scipy.interpolate import BSpline  # loaded by formulas that ask for splines only

        return np.asarray(BSpline(self.all_knots, unit, self.degree)(x, nu=order))


@dataclass(frozen=True, eq=False)
class NaturalSplineBasis:
    """Natural cubic splines: cubic B-splines without curvature at the boundary knots.

    Attributes
    ----------
    knots : numpy.ndarray
        Inner knots.
    boundary : tuple of float
    intercept : bool
    """

    knots: np.ndarray
    boundary: tuple[float, float]
    intercept: bool = False

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Return the basis at `x`, shape (n, columns), linear outside; nan stays nan."""
        return _at_known(x, self._evaluate)

    def _evaluate(self, x: np.ndarray) -> np.ndarray:
        cubic = BSplineBasis(self.knots, self.boundary)
        low, high = self.boundary
        basis = cubic.full(x, lower_pivot=(low, 0.0), upper_pivot=(high, 0.0), terms=2)
        curvature = cubic.derivative(np.array(self.boundary), 2)
        first = 0 if self.intercept else 1
        directions = np.linalg.qr(curvature[:, first:].T, mode="complete")[0]
        return basis[:, first:] @ directions[:, 2:]


def _at_known(x: np.ndarray, evaluate: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Evaluate where `x` is not nan."""
    known = ~np.isnan(x)
    if known.all():
        return evaluate(x)
    inner = evaluate(x[known])
    basis = np.full((len(x), inner.shape[1]), np.nan)
    basis[known] = inner
    return basis
