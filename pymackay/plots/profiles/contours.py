"""`Trace` and `contour`: regions of two parameters, from their profiles alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from pymackay.infer.intervals.profile import Profile

_POINTS = 201  # of a contour


@dataclass(frozen=True, eq=False)
class Trace:
    """How the other parameter of a pair moves while one is held.

    Attributes
    ----------
    held, other : numpy.ndarray, shape (points,)
        Zeta of the parameter that is held, increasing; and zeta of the other one at its best.
    """

    held: np.ndarray
    other: np.ndarray

    @classmethod
    def of(cls, profile: Profile, held: str, other: str) -> Trace:
        """Read it off the profiles of two parameters."""
        points = profile.frame[profile.frame["parameter"] == held]
        values = points[other].to_numpy(dtype=np.float64)
        known = np.isfinite(values)
        zeta = points["zeta"].to_numpy(dtype=np.float64)
        return cls(zeta[known], zeta_of(profile, other, values[known]))

    def at(self, zeta: float) -> float:
        """Return the other zeta; beyond the ends of the profile, along the line of its end."""
        inside = float(np.clip(zeta, self.held[0], self.held[-1]))
        curve = PchipInterpolator(self.held, self.other)
        return float(curve(inside) + curve.derivative()(inside) * (zeta - inside))


def zeta_of(profile: Profile, name: str, values: np.ndarray) -> np.ndarray:
    """Return zeta at values of a parameter, (points,), its profile's ends beyond them."""
    points = profile.frame[profile.frame["parameter"] == name]
    value, zeta = (points[c].to_numpy(dtype=np.float64) for c in ("value", "zeta"))
    return np.asarray(PchipInterpolator(value, zeta)(np.clip(values, value[0], value[-1])))


def value_of(profile: Profile, name: str, zeta: np.ndarray) -> np.ndarray:
    """Return the values of a parameter at zeta, (points,), nan beyond its profile's ends."""
    points = profile.frame[profile.frame["parameter"] == name]
    curve = PchipInterpolator(points["zeta"].to_numpy(float), points["value"].to_numpy(float))
    return np.asarray(curve(zeta, extrapolate=False))


def contour(first: Trace, second: Trace, radius: float) -> np.ndarray:
    """Return a contour of the likelihood in the plane of two zetas, shape (points, 2).

    The contour touches its box at ζ₁ = ±r, where ζ₂ is the trace of the first parameter, and at
    ζ₂ = ±r, where ζ₁ is that of the second. With ζ₁ = r cos(a + d/2), ζ₂ = r cos(a − d/2), these
    four points give the phase difference d at four angles a; a periodic spline gives the others.

    Parameters
    ----------
    first, second : Trace
        With the first and the second parameter held.
    radius : float
        r, the root of a quantile of χ²(2).

    References
    ----------
    Bates, D. M., Watts, D. G. (1988). Nonlinear regression analysis and its applications,
    section 6.1.2.
    """
    angles = [
        (held, np.arccos(np.clip(first.at(sign * radius) / radius, -1.0, 1.0)))
        for sign, held in ((1.0, 0.0), (-1.0, np.pi))
    ]
    angles += [
        (np.arccos(np.clip(second.at(sign * radius) / radius, -1.0, 1.0)), held)
        for sign, held in ((1.0, 0.0), (-1.0, np.pi))
    ]
    one, two = np.array(angles).T
    difference = one - two
    turned = np.where(difference < 0.0, -1.0, 1.0)  # the cosine is even: (a, d) is (−a, −d)
    mean, difference = turned * 0.5 * (one + two), turned * difference
    order = np.argsort(mean)
    mean, difference = mean[order], difference[order]
    curve = CubicSpline(
        np.append(mean, mean[0] + 2.0 * np.pi), np.append(difference, difference[0]),
        bc_type="periodic",
    )  # fmt: skip
    a = np.linspace(mean[0], mean[0] + 2.0 * np.pi, _POINTS)
    d = curve(a)
    return radius * np.column_stack([np.cos(a + 0.5 * d), np.cos(a - 0.5 * d)])
