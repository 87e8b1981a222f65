"""`Curve`: the deviance as a function of one parameter, minimised over all others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.infer.intervals.parameters import Parameter, Values
from pymackay.solve.search import limits
from pymackay.solve.search.limits import Control
from pymackay.solve.search.trust_region import Ground, Modelled, Quadratics, descend

_STEPS = 100
_CONTROL = Control(max_iterations=_STEPS, spent=1e-11)  # stop when the deviance can fall no more
_FLAT = 1e-6  # of the largest curvature: the least that sets a coordinate's unit
_NEAR = 1e-9  # of zeta: largest distance between a solution and its target


class HeldPoint(Protocol):
    """The deviance at one point, with derivatives by the held coordinate and the k free ones."""

    @property
    def value(self) -> float: ...  # noqa: D102

    @property
    def gradient(self) -> np.ndarray: ...  # noqa: D102

    @property
    def hessian(self) -> np.ndarray: ...  # noqa: D102


class HeldPath(Protocol):
    """Coordinates of a deviance in which one parameter is held.

    That of linear models is `pymackay.infer.intervals.profile_path.Path`.
    """

    parameter: Parameter
    held: float
    start: np.ndarray

    @property
    def n(self) -> int: ...  # noqa: D102

    @property
    def bounds(self) -> tuple[float, float]: ...  # noqa: D102

    def outside(self, held: float) -> float:
        """Return the parameter in the user's units at a value of the held coordinate."""
        ...

    def at(self, held: float, free: np.ndarray) -> Any:
        """Return the deviance, a `HeldPoint`, at given coordinates."""
        ...

    def values(self, point: Any) -> Values:
        """Return all parameters at a point, user's units."""
        ...


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """A point of a profile.

    Attributes
    ----------
    held : float
        The held coordinate (see `HeldPath`).
    zeta : float
        Signed root of the rise of the deviance above its minimum.
    slope : float
        Derivative of the profiled deviance by the held coordinate.
    free : numpy.ndarray
        The other coordinates, where they minimise the deviance.
    point : HeldPoint
    """

    held: float
    zeta: float
    slope: float
    free: np.ndarray
    point: HeldPoint


class Curve:
    """The profile of one parameter.

    Parameters
    ----------
    path : HeldPath
    minimum : float
        The deviance at the optimum.
    """

    def __init__(self, path: HeldPath, minimum: float) -> None:
        self.path = path
        self.minimum = minimum
        self.peak = replace(self.point(path.held, path.start), zeta=0.0)

    def point(self, held: float, free: np.ndarray) -> CurvePoint:
        """Minimise over the free coordinates, shape (k,), starting at `free`, with `held` fixed."""
        here = self.path.at(held, free)
        if not len(free):
            return self._placed(held, free, here)
        start = _Places.of(here, free)
        best, arrived = descend(_Free(self.path, held), start, _CONTROL)
        if not arrived[0]:
            raise ConvergenceError(
                f"the deviance with {self.path.parameter.label} held at "
                f"{self.path.outside(held):.6g} was not minimised in {_STEPS} steps; use "
                f"method='wald' or 'boot' for it."
            )
        return self._placed(held, best.free[0], best.point)

    def _placed(self, held: float, free: np.ndarray, point: HeldPoint) -> CurvePoint:
        """Return the point of the profile where the free coordinates are at their best."""
        zeta = np.copysign(np.sqrt(max(point.value - self.minimum, 0.0)), held - self.path.held)
        return CurvePoint(held, float(zeta), float(point.gradient[0]), free, point)

    def solve(self, target: float, near: CurvePoint | None = None) -> CurvePoint | None:
        """Return the point where zeta is `target`, or None if the bound is reached first.

        Newton's method on zeta within a bracket. The derivative of the profiled deviance is the
        partial derivative by the held coordinate, because the derivatives by the free ones are
        zero. `near` is a point between the optimum and the target, by default the optimum.
        """
        sign = float(np.sign(target))
        bound = self.path.bounds[int(sign > 0)]
        if self.path.held == bound:
            return None
        far = None
        if near is None or near.zeta == 0.0:
            near, held = self.peak, self._first_step(target)
        else:
            held = self._next(near, None, near, target)
        for _ in range(_STEPS):
            held = _within(held, bound, sign)
            try:
                here = self.point(held, self._predict(near, held))
            except (np.linalg.LinAlgError, ConvergenceError):  # too far, nearly singular
                held = 0.5 * (near.held + held)
                continue
            if abs(here.zeta - target) < _NEAR:
                return here
            if sign * (here.zeta - target) < 0.0:
                if held == bound:
                    return None
                near = here
            else:
                far = here
            held = self._next(near, far, here, target)
        raise ConvergenceError(
            f"the profile of {self.path.parameter.label} did not reach zeta = {target:.4g} in "
            f"{_STEPS} steps; use method='wald' or 'boot' for it."
        )

    def at_bound(self, sign: float) -> CurvePoint:
        """Return the point at the lower or the upper bound, which must be finite."""
        bound = self.path.bounds[int(sign > 0)]
        return self.point(bound, self._predict(self.peak, bound))

    def _first_step(self, target: float) -> float:
        """Return the held value where the quadratic model at the optimum reaches the target."""
        curvature = _profiled(self.peak.point.hessian)
        held, floor = self.path.held, 1e-8 * abs(self.peak.point.hessian[0, 0])
        if curvature > floor:
            return held + target * float(np.sqrt(2.0 / curvature))
        low, high = self.path.bounds
        step = 0.25 * (high - low) if np.isfinite(high - low) else 0.1 * max(abs(held), 1e-3)
        return held + float(np.sign(target)) * step

    def _next(
        self, near: CurvePoint, far: CurvePoint | None, last: CurvePoint, target: float
    ) -> float:
        """Return the next value of the held coordinate.

        It is Newton's step on zeta. If that leaves the bracket of `near` (short of the target) and
        `far` (beyond it, None if not known), it is the middle of the bracket, or four times the
        step so far.
        """
        steep = 0.5 * last.slope / last.zeta if last.zeta else 0.0
        guess = last.held + (target - last.zeta) / steep if steep else np.nan
        if far is not None:
            low, high = sorted((near.held, far.held))
            return guess if low < guess < high else 0.5 * (low + high)
        step = near.held - self.path.held
        longest = near.held + 4.0 * step
        is_forward = (guess - near.held) * np.sign(target) > 0.0
        if is_forward and abs(guess - near.held) <= abs(4.0 * step):
            return float(guess)
        return longest if step else near.held + self._first_step(target) - self.path.held

    def _predict(self, near: CurvePoint, held: float) -> np.ndarray:
        """Return the free coordinates, (k,), for another held value, to first order.

        With H the Hessian, they move by ``−H_ff⁻¹ H_fh`` for each unit of the held coordinate.
        """
        return near.free - _following(near.point.hessian) * (held - near.held)


@dataclass(frozen=True, eq=False)
class _Places(Modelled):
    """The free coordinates of a descent, as a batch of one.

    Attributes
    ----------
    model : Quadratics
        In steps of `unit`.
    free, unit : numpy.ndarray, each (1, k)
        The coordinates, and the length of a unit step in each, about its standard error.
    points : numpy.ndarray of HeldPoint, shape (1,)
        None where the deviance cannot be computed in float64.
    """

    free: np.ndarray
    unit: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, point: HeldPoint | None, free: np.ndarray) -> _Places:
        k = len(free)
        gradient, hessian, unit = np.zeros(k), np.eye(k), np.ones(k)
        if point is not None:
            diagonal = np.abs(np.diag(point.hessian)[1:])
            floor = _FLAT * max(float(diagonal.max(initial=0.0)), 1e-300)
            unit = 1.0 / np.sqrt(np.maximum(diagonal, floor))
            gradient, hessian = point.gradient[1:] * unit, point.hessian[1:, 1:]
            hessian = hessian * np.outer(unit, unit)
        points = np.empty(1, dtype=object)
        points[0] = point
        return cls(Quadratics.of(gradient[None], hessian[None]), free[None], unit[None], points)

    @property
    def point(self) -> HeldPoint:
        point: HeldPoint = self.points[0]
        return point

    @property
    def value(self) -> np.ndarray:
        return np.array([np.inf if self.points[0] is None else self.point.value])


@dataclass(frozen=True, eq=False)
class _Free(Ground[_Places]):
    """What a descent over the free coordinates asks for, with the parameter held."""

    path: HeldPath
    held: float

    def after(self, places: _Places, steps: np.ndarray, predicted: np.ndarray) -> _Places:
        free = (places.free + places.unit * steps)[0]
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                point = self.path.at(self.held, free)
        except np.linalg.LinAlgError:
            return _Places.of(None, free)
        usable = np.isfinite(point.value) and np.isfinite(point.hessian).all()
        return _Places.of(point if usable else None, free)

    def gain(self, before: _Places, after: _Places) -> np.ndarray:
        return before.value - after.value

    def rounding(self, places: _Places) -> np.ndarray:
        return limits.ROUNDING * np.maximum(np.abs(places.value), self.path.n)


def _profiled(hessian: np.ndarray) -> float:
    """Return the curvature of the profiled deviance at the optimum, ``H_hh − H_hf H_ff⁻¹ H_fh``."""
    return float(hessian[0, 0] - hessian[0, 1:] @ _following(hessian))


def _following(hessian: np.ndarray) -> np.ndarray:
    """Return ``H_ff⁻¹ H_fh``, (k,), from the Hessian, (1 + k, 1 + k), without flat directions."""
    if len(hessian) == 1:
        return np.zeros(0)
    values, vectors = np.linalg.eigh(hessian[1:, 1:])
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    along = vectors[:, kept]
    return np.asarray(along @ ((along.T @ hessian[1:, 0]) / values[kept]))


def _within(held: float, bound: float, sign: float) -> float:
    return min(held, bound) if sign > 0 else max(held, bound)
