"""The profile of one parameter: the deviance, all else minimised out, and where it has risen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.infer.intervals.profile_path import Path, PathPoint
from pymackay.solve.search.trust_region import trust_region_step

__all__ = ["Curve", "CurvePoint"]

_SPENT = 1e-11  # of the deviance: what a further step could gain
_STEPS = 100
_NEAR = 1e-9  # of zeta: how near a solution is brought to its target


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """A point of a profile.

    Attributes
    ----------
    held : float
        The held coordinate (see `Path`).
    zeta : float
        Signed root of the rise of the deviance above its minimum.
    slope : float
        Derivative of the profiled deviance by the held coordinate.
    free : numpy.ndarray
        The other coordinates, at their best.
    point : PathPoint
    """

    held: float
    zeta: float
    slope: float
    free: np.ndarray
    point: PathPoint


class Curve:
    """The profile of one parameter.

    Parameters
    ----------
    path : Path
    minimum : float
        The deviance at the optimum.
    """

    def __init__(self, path: Path, minimum: float) -> None:
        self.path = path
        self.minimum = minimum
        self.peak = replace(self.point(path.held, path.start), zeta=0.0)

    def point(self, held: float, free: np.ndarray) -> CurvePoint:
        """Minimise over the free coordinates, from these."""
        best, found = self._descend(held, free)
        rise = max(found.value - self.minimum, 0.0)
        zeta = float(np.copysign(np.sqrt(rise), held - self.path.held))
        return CurvePoint(held, zeta, float(found.gradient[0]), best, found)

    def solve(self, target: float, near: CurvePoint | None = None) -> CurvePoint | None:
        """Return the point where zeta is `target`; None where the bound comes first.

        Newton's method on zeta, within a bracket; the slope is the deviance's own derivative,
        because the free coordinates are at their best. `near` is a point on the way, by default
        the optimum.
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
            found = self.point(held, self._predict(near, held))
            if abs(found.zeta - target) < _NEAR:
                return found
            if sign * (found.zeta - target) < 0.0:
                if held == bound:
                    return None
                near = found
            else:
                far = found
            held = self._next(near, far, found, target)
        raise ConvergenceError(
            f"the profile of {self.path.parameter.label} did not reach zeta = {target:.4g} in "
            f"{_STEPS} steps; use method='wald' or 'boot' for it."
        )

    def at_bound(self, sign: float) -> CurvePoint:
        """Return the point at the lower or the upper bound, which must be finite."""
        bound = self.path.bounds[int(sign > 0)]
        return self.point(bound, self._predict(self.peak, bound))

    def _first_step(self, target: float) -> float:
        """Go as far as the curvature at the optimum says."""
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
        """Take Newton's step on zeta; the middle of the bracket, or a longer step, if it leaves."""
        steep = 0.5 * last.slope / last.zeta if last.zeta else 0.0
        guess = last.held + (target - last.zeta) / steep if steep else np.nan
        if far is not None:
            low, high = sorted((near.held, far.held))
            return guess if low < guess < high else 0.5 * (low + high)
        step = near.held - self.path.held
        longest = near.held + 4.0 * step
        ahead = (guess - near.held) * np.sign(target) > 0.0
        if ahead and abs(guess - near.held) <= abs(4.0 * step):
            return float(guess)
        return longest if step else near.held + self._first_step(target) - self.path.held

    def _predict(self, near: CurvePoint, held: float) -> np.ndarray:
        """Return where the free coordinates go when the held one moves, to first order."""
        H = near.point.hessian
        values, vectors = np.linalg.eigh(H[1:, 1:])
        kept = values > 1e-10 * max(float(values[-1]), 1e-300)
        along = vectors[:, kept]
        drift = -along @ ((along.T @ H[1:, 0]) / values[kept])
        return near.free + drift * (held - near.held)

    def _descend(self, held: float, free: np.ndarray) -> tuple[np.ndarray, PathPoint]:
        """Minimise by trust-region Newton steps in scaled coordinates."""
        here, radius = self.path.at(held, free), 2.0
        for _ in range(_STEPS):
            scale = _scale(here.hessian[1:, 1:])
            step, predicted = trust_region_step(
                here.gradient[1:] * scale, here.hessian[1:, 1:] * np.outer(scale, scale), radius
            )
            if predicted < _SPENT:
                return free, here
            there = self._try(held, free + scale * step)
            gained = here.value - there.value if there is not None else -np.inf
            rounding = 1e-13 * max(abs(here.value), self.path.gram.n)
            length = float(np.linalg.norm(step))
            if there is None or gained < 0.25 * predicted - rounding:
                radius = 0.25 * length
            elif gained > 0.75 * predicted and length > 0.8 * radius:
                radius = 3.0 * radius
            if there is not None and gained > 0.05 * predicted - rounding:
                free, here = free + scale * step, there
        raise ConvergenceError(
            f"the deviance with {self.path.parameter.label} held at {self.path.outside(held):.6g} "
            f"was not minimised in {_STEPS} steps; use method='wald' or 'boot' for it."
        )

    def _try(self, held: float, free: np.ndarray) -> PathPoint | None:
        """Return the point, or None where it is too far out for float64."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                point = self.path.at(held, free)
        except np.linalg.LinAlgError:
            return None
        return point if np.isfinite(point.value) and np.isfinite(point.hessian).all() else None


def _scale(hessian: np.ndarray) -> np.ndarray:
    diagonal = np.abs(np.diag(hessian))
    floor = 1e-6 * max(float(diagonal.max(initial=0.0)), 1e-300)
    return 1.0 / np.sqrt(np.maximum(diagonal, floor))


def _profiled(hessian: np.ndarray) -> float:
    """Return the curvature of the profiled deviance at the optimum."""
    if len(hessian) == 1:
        return float(hessian[0, 0])
    values, vectors = np.linalg.eigh(hessian[1:, 1:])
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    across = vectors[:, kept].T @ hessian[1:, 0]
    return float(hessian[0, 0] - np.sum(across**2 / values[kept]))


def _within(held: float, bound: float, sign: float) -> float:
    return min(held, bound) if sign > 0 else max(held, bound)
