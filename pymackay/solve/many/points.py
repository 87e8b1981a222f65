"""Points of many searches: each response's factor in its principal axes, with a quadratic model.

`pymackay.solve.search.axes` and `pymackay.solve.search.trust_region`, for all responses at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pymackay.solve.linalg.batch import lower_factors
from pymackay.solve.many.evaluation import evaluate_many
from pymackay.solve.many.kinds import Kinds, ResponseSums

__all__ = ["Points", "after_steps", "evaluate_points", "moved_roots"]


@dataclass(frozen=True, eq=False)
class Points:
    """One point for each of B responses; the arrays may be written to.

    Attributes
    ----------
    factor : numpy.ndarray, shape (B, q, q)
        Relative factor of the block, lower.
    turn : numpy.ndarray, shape (B, q, q)
        Principal axes, term by term on the diagonal.
    sizes : numpy.ndarray, shape (B, q)
        Relative standard deviations along them, descending within a term.
    criterion, sigma2 : numpy.ndarray, each (B,)
        The criterion is infinite where a point is too far out for float64.
    beta : numpy.ndarray, shape (B, p)
    root : numpy.ndarray, shape (B, p, p)
    score : numpy.ndarray, shape (B, q, q)
        See `ManyEvaluations`.
    scale : numpy.ndarray, shape (B, m)
        Units of the steps.
    values, vectors, along : numpy.ndarray, shapes (B, m), (B, m, m), (B, m)
        Curvatures, ascending, their directions, and the gradient along them.
    """

    factor: np.ndarray
    turn: np.ndarray
    sizes: np.ndarray
    criterion: np.ndarray
    sigma2: np.ndarray
    beta: np.ndarray
    root: np.ndarray
    score: np.ndarray
    scale: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    along: np.ndarray

    def __len__(self) -> int:
        return len(self.criterion)

    def take(self, which: np.ndarray) -> Points:
        """Return copies of some points."""
        return Points(*(getattr(self, field.name)[which] for field in fields(self)))

    def put(self, which: np.ndarray, others: Points) -> None:
        """Replace some points."""
        for field in fields(self):
            getattr(self, field.name)[which] = getattr(others, field.name)

    @property
    def size(self) -> np.ndarray:
        """Largest curvature, at least 1."""
        return np.maximum(np.maximum(-self.values[:, 0], self.values[:, -1]), 1.0)

    @property
    def decrement(self) -> np.ndarray:
        """By how much the model says the criterion could still fall."""
        floor = 1e-10 * self.size[:, None]
        return 0.5 * (self.along**2 / np.maximum(np.abs(self.values), floor)).sum(axis=1)

    def steps(self, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minimise each model in its ball: steps, (B, m), and what they should gain, (B,)."""
        values, along = self.values, self.along
        floor = 1e-12 * self.size
        safe = np.where(values == 0.0, 1.0, values)
        step = np.where(np.abs(values) > floor[:, None], -along / safe, 0.0)
        out = np.flatnonzero((values[:, 0] < -floor) | ((step**2).sum(axis=1) > radius**2))
        if len(out):
            step[out] = _on_spheres(values[out], along[out], radius[out], floor[out])
        predicted = -(along * step + 0.5 * values * step**2).sum(axis=1)
        return np.einsum("bij,bj->bi", self.vectors, step), predicted


def _on_spheres(
    values: np.ndarray, along: np.ndarray, radius: np.ndarray, floor: np.ndarray
) -> np.ndarray:
    """Solve ``(values + shift) step = -along`` with shifts that put the steps on their spheres."""
    low = np.maximum(0.0, -values[:, 0])
    tiny = floor + 1e-12 * low
    step = -along / (values + (low + tiny)[:, None])
    hard = np.linalg.norm(step, axis=1) < radius  # no slope along the direction that curves down
    left = np.sqrt(np.maximum(radius**2 - (step[:, 1:] ** 2).sum(axis=1), 0.0))
    sign = np.where(along[:, 0] > 0.0, -1.0, 1.0)
    step[hard, 0] = (sign * left)[hard]
    todo = np.flatnonzero(~hard)
    high = low + np.linalg.norm(along, axis=1) / radius + tiny
    for _ in range(100):
        if not len(todo):
            break
        shift = 0.5 * (low + high)[todo]
        step[todo] = -along[todo] / (values[todo] + (shift + tiny[todo])[:, None])
        length, aim = np.linalg.norm(step[todo], axis=1), radius[todo]
        long = length > aim
        low[todo] = np.where(long, shift, low[todo])
        high[todo] = np.where(long, high[todo], shift)
        todo = todo[np.abs(length - aim) >= 1e-3 * aim]
    return step


@np.errstate(all="ignore")
def evaluate_points(kinds: Kinds, sums: ResponseSums, factors: np.ndarray) -> Points:
    """Return the points at these relative factors, shape (B, q, q)."""
    found = evaluate_many(kinds, sums, factors)
    turn, sizes = _principal_axes(kinds, factors)
    scale = np.sqrt(sizes**2 + kinds.noise)[:, kinds.rows]
    gradient, curvature = _in_axes(kinds, turn, sizes, found.score, found.curvature)
    gradient = gradient * scale
    curvature = curvature * (scale[:, :, None] * scale[:, None, :])
    criterion = np.where(
        np.isfinite(found.criterion)
        & np.isfinite(gradient).all(axis=1)
        & np.isfinite(curvature).all(axis=(1, 2)),
        found.criterion,
        np.inf,
    )
    bad = np.isinf(criterion)
    curvature[bad], gradient[bad] = np.eye(curvature.shape[1]), 0.0
    values, vectors = np.linalg.eigh(curvature)
    return Points(
        factor=factors,
        turn=turn,
        sizes=sizes,
        criterion=criterion,
        sigma2=found.sigma2,
        beta=found.beta,
        root=found.root,
        score=found.score,
        scale=scale,
        values=values,
        vectors=vectors,
        along=np.einsum("bij,bi->bj", vectors, gradient),
    )


def _principal_axes(kinds: Kinds, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each term's axes and its standard deviations along them, in the block's places."""
    turn, sizes = np.zeros_like(factors), np.empty(factors.shape[:2])
    for place in kinds.terms:
        term = factors[:, place, place]
        if term.shape[1] == 1:
            turn[:, place, place], sizes[:, place] = 1.0, np.abs(term[:, 0])
        elif term.shape[1] == 2:
            turn[:, place, place], sizes[:, place] = _axes_of_pairs(term)
        else:
            turn[:, place, place], sizes[:, place], _ = np.linalg.svd(term)
    return turn, sizes


def _axes_of_pairs(factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return left singular vectors and singular values of lower-triangular 2 × 2 matrices."""
    a, c, d = factors[:, 0, 0], factors[:, 1, 0], factors[:, 1, 1]
    plus, minus = np.hypot(a + d, c), np.hypot(a - d, c)
    large = 0.5 * (plus + minus)
    small = np.abs(a * d) / np.where(large > 0.0, large, 1.0)
    angle = 0.5 * (np.arctan2(c, a - d) + np.arctan2(c, a + d))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([cosine, -sine, sine, cosine], axis=1).reshape(-1, 2, 2)
    return turn, np.stack([large, small], axis=1)


def _in_axes(
    kinds: Kinds, turn: np.ndarray, sizes: np.ndarray, score: np.ndarray, curvature: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Carry score and curvature from the covariances to the roots' elements by the chain rule."""
    rows, columns = kinds.rows, kinds.columns
    first, second = turn[:, rows], turn[:, columns]
    straight = first[:, :, rows] * second[:, :, columns]
    crossed = first[:, :, columns] * second[:, :, rows]
    jacobian = sizes[:, None, columns] * (straight + crossed)
    turned = turn.transpose(0, 2, 1) @ score @ turn
    gradient = 2.0 * sizes[:, columns] * turned[:, rows, columns]
    bending = 2.0 * (columns[:, None] == columns) * turned[:, rows][:, :, rows]
    return gradient, jacobian.transpose(0, 2, 1) @ curvature @ jacobian + bending


def after_steps(kinds: Kinds, points: Points, steps: np.ndarray) -> np.ndarray:
    """Return the factors that scaled steps, shape (B, m), lead to."""
    root = np.zeros_like(points.factor)
    root[:, kinds.rows, kinds.columns] = points.scale * steps
    place = np.arange(kinds.q)
    root[:, place, place] += points.sizes
    return moved_roots(kinds, points.turn, root)


def moved_roots(kinds: Kinds, turn: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return the lower-triangular factors, in the terms' own columns, of roots in these axes."""
    moved = turn @ root
    found = np.zeros_like(moved)
    for place in kinds.terms:
        found[:, place, place] = lower_factors(moved[:, place, place])
    return found
