"""`HeldCoordinate`: which combination of coordinates a profile holds, and the free ones beside it.

The coordinates x are those of the covariance, m of them, then log sigma, then ``l'beta`` of a
coefficient that is held. A profile holds one number ω and minimises over the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldCoordinate:
    """What is held.

    Attributes
    ----------
    kind : {"itself", "sd", "angle", "length"}
        ``"itself"``: ω is x at `place`. ``"sd"``: it is that times sigma. ``"angle"`` and
        ``"length"``: x at `place` and at `end` are ``t sin a`` and ``t cos a``, and ω is a, or t.
    place : int
    m : int
    end : int
        -1 where there is none.
    """

    kind: str
    place: int
    m: int
    end: int = -1

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value of ω."""
        if self.kind in ("sd", "length"):
            return 0.0, np.inf
        if self.kind == "angle":
            return -0.5 * np.pi, 0.5 * np.pi
        return -np.inf, np.inf

    def split(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return ω and the free coordinates at x, (m + 2,)."""
        x, k = x.copy(), self.place
        if self.kind == "itself":
            return float(x[k]), x[self._free]
        if self.kind == "sd":
            return float(x[k] * np.exp(x[self.m])), x[self._free]
        angle = float(np.arctan2(x[k], x[self.end])) if x[k] or x[self.end] else 0.0
        length = float(np.hypot(x[k], x[self.end]))
        held, x[k] = (angle, length) if self.kind == "angle" else (length, angle)
        return held, x[self._free]

    @property
    def _free(self) -> list[int]:
        """Positions in x of the free coordinates; what is free of a pair stands at `place`."""
        gone = self.end if self.end >= 0 else self.place
        return [i for i in range(self.m + 1) if i != gone]

    def expand(self, held: float, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x, (m + 2,), and its derivatives by ω and the free coordinates."""
        m, k = self.m, self.place
        x, J = np.zeros(m + 2), np.zeros((m + 2, 1 + len(free)))
        x[self._free] = free
        J[self._free, 1 + np.arange(len(free))] = 1.0
        if self.kind == "itself":
            x[k], J[k, 0] = held, 1.0
        elif self.kind == "sd":
            inverse = np.exp(-x[m])
            x[k] = held * inverse
            J[k, 0], J[k, -1] = inverse, -x[k]
        else:
            of_angle, of_length = (0, self._column) if self.kind == "angle" else (self._column, 0)
            angle, length = (held, x[k]) if self.kind == "angle" else (x[k], held)
            sine, cosine = np.sin(angle), np.cos(angle)
            x[k], x[self.end] = length * sine, length * cosine
            J[k, of_length], J[self.end, of_length] = sine, cosine
            J[k, of_angle], J[self.end, of_angle] = x[self.end], -x[k]
        return x, J

    @property
    def _column(self) -> int:
        """Column in the derivatives of what is free of a pair."""
        return 1 + self._free.index(self.place)

    def bend(self, held: float, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return ``Σ_i gradient_i d²x_i`` by ω and the free coordinates; both (m + 2,)."""
        k, size = self.place, 1 + len(self._free)
        added = np.zeros((size, size))
        if self.kind == "sd":
            added[0, -1] = added[-1, 0] = -np.exp(-x[self.m]) * gradient[k]
            added[-1, -1] = x[k] * gradient[k]
        elif self.kind in ("angle", "length"):
            angle = held if self.kind == "angle" else float(np.arctan2(x[k], x[self.end]))
            column = self._column
            across = np.cos(angle) * gradient[k] - np.sin(angle) * gradient[self.end]
            added[0, column] = added[column, 0] = across
            turned = 0 if self.kind == "angle" else column
            added[turned, turned] = -(x[k] * gradient[k] + x[self.end] * gradient[self.end])
        return added
