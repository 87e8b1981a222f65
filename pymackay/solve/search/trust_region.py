"""`descend`: trust-region Newton steps, for any number of points side by side.

Each point has a quadratic model of the criterion in scaled steps, and a trust region of its own;
those that have arrived are taken out, so that a few do not hold up the rest. What the points are,
and how a step is made of one, only the `Ground` knows: covariances of one response or of many,
covariances known by probe vectors, or the free parameters of a profile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, Generic, Self, TypeVar

import numpy as np

from pymackay.solve.linalg.blas import eigen
from pymackay.solve.search import limits
from pymackay.solve.search.limits import Control

_LARGE = 32  # rows from which eigenvectors are left to SciPy's BLAS, one matrix after the other


@dataclass(frozen=True, eq=False)
class Batch:
    """Base of dataclasses of arrays whose first axis is the batch.

    A field may also be a batch itself, or a tuple of either; anything else is shared by all.
    """

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, which: np.ndarray) -> Self:
        """Return copies of some rows."""
        return type(self)(*(_taken(getattr(self, field.name), which) for field in fields(self)))

    def put(self, which: np.ndarray, others: Self) -> None:
        """Replace some rows, in place."""
        for field in fields(self):
            _put(getattr(self, field.name), which, getattr(others, field.name))


def _taken(value: Any, which: np.ndarray) -> Any:
    if isinstance(value, np.ndarray):
        return value[which]
    if isinstance(value, tuple):
        return tuple(_taken(part, which) for part in value)
    return value.take(which) if isinstance(value, Batch) else value


def _put(value: Any, which: np.ndarray, others: Any) -> None:
    if isinstance(value, np.ndarray):
        value[which] = others
    elif isinstance(value, tuple):
        for part, other in zip(value, others, strict=True):
            _put(part, which, other)
    elif isinstance(value, Batch):
        value.put(which, others)


@dataclass(frozen=True, eq=False)
class Quadratics(Batch):
    """Quadratic models of B points, each in the eigenbasis of its curvature.

    Attributes
    ----------
    values : numpy.ndarray, shape (B, m)
        Curvatures, ascending.
    vectors : numpy.ndarray, shape (B, m, m)
        Their directions, in columns.
    along : numpy.ndarray, shape (B, m)
        The gradient along them.
    """

    values: np.ndarray
    vectors: np.ndarray
    along: np.ndarray

    @classmethod
    def of(cls, gradient: np.ndarray, curvature: np.ndarray) -> Quadratics:
        """Return the models with gradients of shape (B, m), curvatures of shape (B, m, m)."""
        values, vectors = _eigen(curvature)
        return cls(values, vectors, (gradient[:, None, :] @ vectors)[:, 0])

    @property
    def size(self) -> np.ndarray:
        """Largest curvature, at least 1, shape (B,)."""
        return np.maximum(np.maximum(-self.values[:, 0], self.values[:, -1]), 1.0)

    @property
    def steepness(self) -> np.ndarray:
        """Gradient along each direction in units of its standard error, shape (B, m)."""
        floor = limits.FLOOR * self.size[:, None]
        return np.abs(self.along) / np.sqrt(np.maximum(np.abs(self.values), floor))

    @property
    def decrement(self) -> np.ndarray:
        """By how much each model says the criterion could still fall, shape (B,)."""
        return np.asarray(0.5 * (self.steepness**2).sum(axis=1))

    def steps(self, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minimise each model in its ball (Moré & Sorensen 1983, SIAM J. Sci. Stat. Comput. 4).

        Returns
        -------
        steps : numpy.ndarray, shape (B, m)
        predicted : numpy.ndarray, shape (B,)
            Decrease of each model, positive.
        """
        values, along = self.values, self.along
        floor = limits.FLAT * self.size
        safe = np.where(values == 0.0, 1.0, values)
        step = np.where(np.abs(values) > floor[:, None], -along / safe, 0.0)
        out = (values[:, 0] < -floor) | ((step**2).sum(axis=1) > radius**2)
        if out.any():
            step[out] = _on_spheres(values[out], along[out], radius[out], floor[out])
        predicted = -((along + 0.5 * values * step) * step).sum(axis=1)
        return (self.vectors @ step[:, :, None])[:, :, 0], predicted


def _eigen(curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, (B, m), ascending, and eigenvectors, (B, m, m), in columns."""
    if curvature.shape[1] < _LARGE:
        values, vectors = np.linalg.eigh(curvature)
        return values, vectors
    pairs = [eigen(matrix) for matrix in curvature]
    return np.stack([values for values, _ in pairs]), np.stack([vectors for _, vectors in pairs])


def _on_spheres(
    values: np.ndarray, along: np.ndarray, radius: np.ndarray, floor: np.ndarray
) -> np.ndarray:
    """Solve ``(values + shift) step = -along``, (B, m), with shifts that put steps on spheres."""
    low = np.maximum(0.0, -values[:, 0])
    tiny = floor + limits.FLAT * low
    step = -along / (values + (low + tiny)[:, None])
    hard = np.linalg.norm(step, axis=1) < radius  # no slope along the direction that curves down
    rest = np.sqrt(np.maximum(radius**2 - (step[:, 1:] ** 2).sum(axis=1), 0.0))
    step[hard, 0] = (np.where(along[:, 0] > 0.0, -1.0, 1.0) * rest)[hard]
    todo = np.flatnonzero(~hard)
    high = low + np.linalg.norm(along, axis=1) / radius + tiny
    for _ in range(limits.BISECTIONS):
        if not len(todo):
            break
        shift = 0.5 * (low + high)[todo]
        step[todo] = -along[todo] / (values[todo] + (shift + tiny[todo])[:, None])
        length, aim = np.linalg.norm(step[todo], axis=1), radius[todo]
        long = length > aim
        low[todo] = np.where(long, shift, low[todo])
        high[todo] = np.where(long, high[todo], shift)
        todo = todo[np.abs(length - aim) >= limits.ON_SPHERE * aim]
    return step


@dataclass(frozen=True, eq=False)
class Modelled(Batch):
    """Base of B points, each with the criterion's quadratic model in scaled steps."""

    model: Quadratics


P = TypeVar("P", bound=Modelled)


class Ground(ABC, Generic[P]):
    """What a descent walks on: makes points of steps, and says what a step gained."""

    def take(self, which: np.ndarray) -> Self:
        """Return the ground of some of the points; by default there is one, and it is the same."""
        return self

    @abstractmethod
    def after(self, points: P, steps: np.ndarray, predicted: np.ndarray) -> P:
        """Return the points that scaled steps, (B, m), lead to; predicted gains, (B,)."""

    @abstractmethod
    def gain(self, before: P, after: P) -> np.ndarray:
        """Return by how much the criterion falls, (B,); not finite where it is not known."""

    def rounding(self, points: P) -> np.ndarray:
        """Return the size of the criterion's own rounding error, (B,); by default there is none."""
        return np.zeros(len(points))


def descend(ground: Ground[P], points: P, control: Control) -> tuple[P, np.ndarray]:
    """Move each point downhill until its model promises less than `control.spent`.

    Returns
    -------
    points
        The argument is written over.
    arrived : numpy.ndarray of bool, shape (B,)
        False where the iterations ran out.
    """
    B = len(points)
    arrived, place = np.zeros(B, dtype=bool), np.arange(B)
    now, radius = points, np.full(B, limits.FIRST_RADIUS)
    ended = np.zeros(B, dtype=bool)
    for _ in range(control.max_iterations):
        steps, predicted = now.model.steps(radius)
        ended |= ~(predicted > control.spent)
        if ended.any():
            arrived[place[ended]] = True
            if ended.all():
                break
            going = np.flatnonzero(~ended)
            points.put(place[ended], now.take(ended))
            now, ground, place = now.take(going), ground.take(going), place[going]
            radius, steps, predicted = radius[going], steps[going], predicted[going]
        trial = ground.after(now, steps, predicted)
        length = np.linalg.norm(steps, axis=1)
        taken, ended = _judge(ground, now, trial, (predicted, length, radius), control)
        if taken.all():
            now = trial
        elif taken.any():
            now.put(taken, trial.take(taken))
    arrived[place[ended]] = True
    if len(place) == B:
        return now, arrived
    points.put(place, now)
    return points, arrived


def _judge(
    ground: Ground[P],
    now: P,
    trial: P,
    step: tuple[np.ndarray, np.ndarray, np.ndarray],
    control: Control,
) -> tuple[np.ndarray, np.ndarray]:
    """Say which trials are taken, (B,), and which searches have ended, (B,).

    `step` holds predicted gain, length and radius, each (B,); radii are changed in place. Near
    the optimum the decrement judges, which is known better than the criterion.
    """
    predicted, length, radius = step
    gain, rounding = ground.gain(now, trial), ground.rounding(now)
    failed = ~np.isfinite(gain)
    before, after = now.model.decrement, trial.model.decrement
    near = ~failed & (predicted < np.maximum(control.quadratic, limits.LEVEL * rounding))
    halved = near & (after < limits.HALVED * before)
    ended = near & ~halved & (predicted < limits.EXHAUSTED * rounding)
    far = ~(failed | halved | ended)
    ratio = np.where(far, gain, 0.0) / predicted
    poor = failed | (far & (ratio < limits.POOR))
    grow = far & (ratio > limits.GOOD) & (length > limits.EDGE * radius)
    radius[poor] = limits.SHRINK * length[poor]
    radius[grow] = np.minimum(limits.GROW * radius[grow], limits.LARGEST_RADIUS)
    return halved | (ended & (after < before)) | (far & (ratio > limits.ENOUGH)), ended
