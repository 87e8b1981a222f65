"""`Points`: covariance factors in their principal axes, with the criterion's quadratic model.

A lower-triangular factor is a poor coordinate where its first effect hardly varies: a turn of the
covariance matrix is then a long arc in the other elements, which Newton's straight steps follow
by inches. With the axes turned so that the factor is diagonal, the largest first, every such turn
is short, and a covariance matrix that loses rank loses its last column.

All arrays hold B points side by side, one of each response: the batch is the first axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pymackay.covariance.kinds.reduced import ReducedRank
from pymackay.covariance.layout import SINGULAR, TermLayout, lower_factor
from pymackay.covariance.loadings import LoadingsChart, spread_out
from pymackay.solve.search import limits
from pymackay.solve.search.structured import StructuredAxes
from pymackay.solve.search.trust_region import Batch, Modelled, Quadratics
from pymackay.solve.search.values import Factors, Values


def one_of_each(matrices: Sequence[np.ndarray]) -> Factors:
    """Return matrices of one point, each (q, q), as a batch of one, each (1, q, q)."""
    return tuple(matrix[None] for matrix in matrices)


@dataclass(frozen=True, eq=False)
class Axes(Batch):
    """The axes of one term: what the search needs of the shape of its covariance.

    Attributes
    ----------
    layout : TermLayout
    turn : numpy.ndarray, shape (B, q, q)
        Orthogonal: ``factor = turn @ root`` up to a rotation from the right.
    sizes : numpy.ndarray, shape (B, q)
        Relative standard deviations along the axes, descending.
    """

    layout: TermLayout
    turn: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, factor: np.ndarray, layout: TermLayout) -> Axes:
        """Return the principal axes of ``factor factor'``, shape (B, q, q)."""
        if layout.q == 1:
            return cls(layout, np.ones_like(factor), np.abs(factor[:, 0]))
        if layout.q == 2:
            return cls(layout, *_axes_of_pairs(factor))
        turn, sizes, _ = np.linalg.svd(factor)
        return cls(layout, turn, sizes)

    def factor(self, sizes: np.ndarray, step: np.ndarray | None = None) -> np.ndarray:
        """Return the factors with these sizes, (B, q), along the axes.

        Parameters
        ----------
        sizes : numpy.ndarray, shape (B, q)
        step : numpy.ndarray, shape (B, m), optional
            Added to the elements of the root, among the parameters of all terms.
        """
        root = np.zeros_like(self.turn) if step is None else self.layout.filled(step)
        place = np.arange(self.layout.q)
        root[:, place, place] += sizes
        return lower_factor(root if self.layout.q == 1 else self.turn @ root)

    @property
    def least(self) -> np.ndarray:
        """The smallest size, (B,)."""
        return np.asarray(self.sizes.min(axis=1))

    def after(self, step: np.ndarray) -> np.ndarray:
        """Return the factors, (B, q, q), after a step in the parameters of all terms, (B, m)."""
        return self.factor(self.sizes, step)

    def snapped(self, least: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the factors without axes whose size is below `least`, and which change, (B,)."""
        dead = self.sizes < least
        changed = np.asarray((dead & (self.sizes > 0.0)).any(axis=1))
        return self.factor(np.where(dead, 0.0, self.sizes)), changed

    def growth(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest slope, (B,), for growth of the covariance, and its direction, (B, q).

        The slope is negative only on the boundary, or where the search has not ended.
        """
        values, vectors = np.linalg.eigh(score)
        return values[:, 0], vectors[:, :, 0]

    def grown(self, factor: np.ndarray, direction: np.ndarray, size: float) -> np.ndarray:
        """Return factors, (B, q, q), whose covariance is larger by `size` in a `direction`."""
        step = np.sqrt(size) * direction[:, :, None]
        return lower_factor(np.concatenate([factor, step], axis=2))

    def units(self, noise: float) -> np.ndarray:
        """Return what a step of one is in the root's elements, shape (B, m of the term)."""
        return np.asarray(np.sqrt(self.sizes**2 + noise)[:, self.layout.rows])

    def jacobian(self) -> np.ndarray:
        """Return the derivatives of the covariance's elements by those of the root, (B, m, m).

        With u the axes and s their sizes: by element (a, b), ``s_b (u_a u_b' + u_b u_a')``.
        """
        rows, columns = self.layout.rows, self.layout.columns
        first, second = self.turn[:, rows], self.turn[:, columns]
        straight = first[:, :, rows] * second[:, :, columns]
        crossed = first[:, :, columns] * second[:, :, rows]
        return np.asarray(self.sizes[:, None, columns] * (straight + crossed))

    def tamed(self, bending: np.ndarray) -> np.ndarray:
        """Return what the score adds, (B, m, m), to an average information."""
        return bending

    def slopes(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient by the root, (B, m), and what the score adds to the curvature.

        The latter has shape (B, m, m): elements of one column of the root share the score's part.
        """
        rows, columns = self.layout.rows, self.layout.columns
        turned = self.turn.swapaxes(1, 2) @ score @ self.turn
        bending = 2.0 * (columns[:, None] == columns) * turned[:, rows][:, :, rows]
        return 2.0 * self.sizes[:, columns] * turned[:, rows, columns], bending


def axes_of(factor: np.ndarray, layout: TermLayout, noise: float) -> Axes | StructuredAxes:
    """Return what the search needs of the shapes of one term's covariances, (B, q, q)."""
    if layout.structure is None:
        return Axes.of(factor, layout)
    if isinstance(layout.structure, ReducedRank):
        return ReducedAxes.of(factor, layout)
    return StructuredAxes.of(factor, layout, noise)


@dataclass(frozen=True, eq=False)
class ReducedAxes(Axes):
    """The axes of a term whose covariance has a reduced rank d: the others have no size.

    The solver knows the derivatives by the root's elements, the trapezoid of
    `pymackay.covariance.loadings.LoadingsChart.around`.
    """

    @classmethod
    def of(cls, factor: np.ndarray, layout: TermLayout) -> ReducedAxes:
        """Return the principal axes of ``factor factor'``, shape (B, q, q)."""
        chart = LoadingsChart.around(factor, _rank(layout))
        place = np.arange(chart.d)
        sizes = np.zeros(factor.shape[:2])
        sizes[:, place] = spread_out(chart.x, chart.q, chart.d, chart.d)[:, place, place]
        return cls(layout, chart.axes, sizes)

    @property
    def least(self) -> np.ndarray:
        """The smallest size of the d axes, (B,)."""
        return np.asarray(self.sizes[:, _rank(self.layout) - 1])

    def growth(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest slope, (B,), for growth, and its direction, (B, q).

        A covariance matrix of full rank d does not grow, but turns: its slope is zero.
        """
        slope, direction = super().growth(score)
        return np.where(self.least > 0.0, 0.0, slope), direction

    def tamed(self, bending: np.ndarray) -> np.ndarray:
        """Return the positive semidefinite part of what the score adds, (B, m, m).

        The score is not zero at the optimum, where a larger rank would be better. The observed
        curvature makes up for this; the average information, an expectation at a model that holds,
        does not.
        """
        values, vectors = np.linalg.eigh(bending)
        return (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.swapaxes(1, 2)

    def jacobian(self) -> np.ndarray:
        """Return derivatives, (B, k, k), of the chart, which the solver knows, by the root."""
        k = len(self.layout.rows)
        return np.broadcast_to(np.eye(k), (len(self.sizes), k, k))


def _rank(layout: TermLayout) -> int:
    assert isinstance(layout.structure, ReducedRank)
    return layout.structure.rank_of(layout.q)


def _axes_of_pairs(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return left singular vectors and singular values of lower-triangular 2 × 2 matrices."""
    a, c, d = factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1]
    plus, minus = np.hypot(a + d, c), np.hypot(a - d, c)
    large = 0.5 * (plus + minus)
    small = np.abs(a * d) / np.where(large > 0.0, large, 1.0)
    angle = 0.5 * (np.arctan2(c, a - d) + np.arctan2(c, a + d))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([cosine, -sine, sine, cosine], axis=1).reshape(-1, 2, 2)
    return turn, np.stack([large, small], axis=1)


@dataclass(frozen=True, eq=False)
class Points(Modelled):
    """B points.

    Attributes
    ----------
    model : Quadratics
        In steps of `unit`.
    factors : tuple of numpy.ndarray, each (B, q, q)
        Relative factors, lower, whitened columns.
    axes : tuple of Axes or StructuredAxes
    noise : tuple of float
        Term by term, the relative variance of one level's least-squares effect.
    criterion, sigma2, rounding, score, answers, exact
        As in `Values`; the criterion is infinite, and the score zero, where a point is too far
        out for float64.
    unit : numpy.ndarray, shape (B, m)
        What a step of one is in the elements of the roots.
    """

    factors: Factors
    axes: tuple[Axes | StructuredAxes, ...]
    noise: tuple[float, ...]
    criterion: np.ndarray
    sigma2: np.ndarray
    rounding: np.ndarray
    score: tuple[np.ndarray, ...]
    answers: tuple[np.ndarray, ...]
    exact: bool
    unit: np.ndarray

    @classmethod
    @np.errstate(all="ignore")
    def of(
        cls,
        factors: Factors,
        values: Values,
        layouts: Sequence[TermLayout],
        noise: tuple[float, ...],
    ) -> Self:
        """Put the criterion's quadratic model beside the values at these factors."""
        axes = tuple(axes_of(*term) for term in zip(factors, layouts, noise, strict=True))
        unit = _joined([a.units(size) for a, size in zip(axes, noise, strict=True)])
        gradient, curvature = in_axes(values.score, values.curvature, axes, exact=values.exact)
        gradient, curvature = gradient * unit, curvature * (unit[:, :, None] * unit[:, None, :])
        usable = np.isfinite(values.criterion) & np.isfinite(gradient).all(axis=1)
        lost = ~(usable & np.isfinite(curvature).all(axis=(1, 2)))
        criterion, score = values.criterion, values.score
        if lost.any():
            gradient[lost], curvature[lost] = 0.0, np.eye(curvature.shape[1])
            score = tuple(np.where(lost[:, None, None], 0.0, S) for S in score)
            criterion = np.where(lost, np.inf, criterion)
        unchanged = (criterion, values.sigma2, values.rounding, score, values.answers, values.exact)
        return cls(Quadratics.of(gradient, curvature), factors, axes, noise, *unchanged, unit)

    @property
    def singular(self) -> np.ndarray:
        """Whether a covariance matrix is singular (`covariance.layout.is_singular`), shape (B,)."""
        return np.asarray(np.min([axes.least for axes in self.axes], axis=0) < SINGULAR)

    def growth(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each term's `Axes.growth`, its slope by noise level."""
        pairs = [a.growth(S) for a, S in zip(self.axes, self.score, strict=True)]
        return [(slope * size, v) for (slope, v), size in zip(pairs, self.noise, strict=True)]

    def after(self, steps: np.ndarray) -> Factors:
        """Return the factors that scaled steps, (B, m), lead to."""
        moved = self.unit * steps
        return tuple(a.after(moved) for a in self.axes)

    def grown(self, term: int, direction: np.ndarray, size: float) -> Factors:
        """Return the factors with one term's covariance grown by `size` noise levels."""
        axes, level = self.axes[term], size * self.noise[term]
        grown = axes.grown(self.factors[term], direction, level)
        return (*self.factors[:term], grown, *self.factors[term + 1 :])

    def snapped(self, share: float) -> tuple[Factors, np.ndarray]:
        """Set axes of less than `share` noise levels to zero.

        Returns
        -------
        factors : tuple of numpy.ndarray, each (B, q, q)
        changed : numpy.ndarray of bool, shape (B,)
        """
        factors, changed = list(self.factors), np.zeros(len(self), dtype=bool)
        for k, axes in enumerate(self.axes):
            snapped, moved = axes.snapped(share * np.sqrt(self.noise[k]))
            if moved.any():
                factors[k] = np.where(moved[:, None, None], snapped, factors[k])
                changed |= moved
        return tuple(factors), changed


def rounding(criterion: np.ndarray, sigma2: np.ndarray, n: int) -> np.ndarray:
    """Return the size of a criterion's own rounding error, in the shape of the arrays.

    Parameters
    ----------
    criterion, sigma2 : numpy.ndarray
        As in `pymackay.solve.solver.Evaluation`: the residual sum of squares is what is left of
        the response's, which has length one.
    n : int
        Rows.
    """
    share = np.maximum(sigma2, np.finfo(np.float64).tiny)
    size = limits.ROUNDING * np.maximum(np.abs(criterion), n)
    return np.maximum(size, limits.ROUNDING_LEFT / share)


@dataclass(frozen=True, eq=False)
class Certificates(Batch):
    """How far B points are from what an optimum must be.

    Attributes
    ----------
    decrement, gradient : numpy.ndarray, each (B,)
        By how much the criterion could still fall; the largest slope, in standard errors.
    curvature, relative : numpy.ndarray, each (B,)
        Lowest curvature, and by unit of the largest.
    growth : numpy.ndarray, shape (B,)
        Lowest slope for growth of a covariance matrix by a noise level.
    finite : numpy.ndarray of bool, shape (B,)
    """

    decrement: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray
    relative: np.ndarray
    growth: np.ndarray
    finite: np.ndarray

    @classmethod
    def of(cls, points: Points) -> Certificates:
        """Examine each point."""
        model, slopes = points.model, [slope for slope, _ in points.growth()]
        return cls(
            decrement=model.decrement,
            gradient=model.steepness.max(axis=1),
            curvature=model.values[:, 0],
            relative=model.values[:, 0] / model.size,
            growth=slopes[0] if len(slopes) == 1 else np.min(slopes, axis=0),
            finite=np.isfinite(points.criterion),
        )

    def faults(
        self,
        decrement: float = limits.CERTIFIED,
        growth: float = limits.WANTS_GROWTH,
        curved: float = limits.CURVED,
    ) -> dict[str, np.ndarray]:
        """Return what no optimum has, as a text, and which points have it, (B,).

        The text takes the point's `decrement`, `curvature` and `growth`.
        """
        return {
            "the criterion is not finite": ~self.finite,
            "the Newton decrement is {decrement:.2g} criterion units": ~(
                self.decrement < decrement
            ),
            "a direction curves down (curvature {curvature:.2g})": self.relative < -curved,
            "a covariance matrix on the boundary wants to grow ({growth:.2g})": (
                self.growth < -growth
            ),
        }

    def problems(self, which: int, **tolerances: float) -> list[str]:
        """Say in words what keeps one point from being an optimum; nothing where it is."""
        numbers = {
            "decrement": self.decrement[which],
            "curvature": self.curvature[which],
            "growth": self.growth[which],
        }
        faults = self.faults(**tolerances)
        return [text.format(**numbers) for text, having in faults.items() if having[which]]


def in_axes(
    score: tuple[np.ndarray, ...],
    curvature: np.ndarray,
    axes: Sequence[Axes | StructuredAxes],
    *,
    exact: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Carry score and curvature from the covariances to the roots' elements by the chain rule.

    Parameters
    ----------
    score : tuple of numpy.ndarray, each (B, q, q)
    curvature : numpy.ndarray, shape (B, m, m)
    axes : sequence of Axes or StructuredAxes
    exact : bool
        Whether `curvature` is the observed one.

    Returns
    -------
    gradient : numpy.ndarray, shape (B, m)
    curvature : numpy.ndarray, shape (B, m, m)
        At the roots that `axes` hold, in theta's order.
    """
    slopes = [a.slopes(S) for a, S in zip(axes, score, strict=True)]
    jacobian = _on_diagonal([a.jacobian() for a in axes])
    bends = [bend if exact else a.tamed(bend) for a, (_, bend) in zip(axes, slopes, strict=True)]
    bending = _on_diagonal(bends)
    turned = jacobian.swapaxes(1, 2) @ curvature @ jacobian
    return _joined([slope for slope, _ in slopes]), turned + bending


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _on_diagonal(parts: list[np.ndarray]) -> np.ndarray:
    """Put matrices, each (B, k, k), on one diagonal."""
    if len(parts) == 1:
        return parts[0]
    m = sum(part.shape[1] for part in parts)
    joined, start = np.zeros((len(parts[0]), m, m)), 0
    for part in parts:
        span = slice(start, start + part.shape[1])
        joined[:, span, span] = part
        start = span.stop
    return joined
