"""`Path`: coordinates of the deviance in which one parameter is held and the others are free.

The free coordinates are log sigma and the elements of each term's lower-triangular relative factor
M. The effects of a term are ordered such that the held standard deviation or correlation depends on
the first one or two rows of M. The coordinates need no bounds, even where a variance is zero or a
correlation is ±1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.infer.intervals.deviance import Deviance, LocalDeviance
from pymackay.infer.intervals.parameters import Parameter
from pymackay.infer.significance.chain import bend, jacobian
from pymackay.model.sums.gram import Gram


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The deviance at one value of the held coordinate and the free ones.

    Attributes
    ----------
    value : float
    gradient, hessian : numpy.ndarray, shapes (1 + k,) and (1 + k, 1 + k)
        By the held coordinate, then the k free ones.
    x : numpy.ndarray, shape (m + 2,)
        Elements of the factors, log sigma, and ``l'beta``.
    local : LocalDeviance
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    x: np.ndarray
    local: LocalDeviance


class Path:
    """Coordinates in which one parameter is held.

    The held coordinate ω is, in units of a response of unit length: a standard deviation itself
    (``M₁₁ = ω / sigma``); the angle whose sine is a correlation (``M₂₁ = t sin ω``,
    ``M₂₂ = t cos ω``); log sigma; or a coefficient less its least-squares estimate.

    Parameters
    ----------
    gram : Gram
    parameter : Parameter
    factors : list of numpy.ndarray
        Relative factors of the user's columns at the optimum.
    sigma : float
        At the optimum, user's units.
    """

    def __init__(
        self, gram: Gram, parameter: Parameter, factors: list[np.ndarray], sigma: float
    ) -> None:
        self.gram, self.parameter, self.m = gram, parameter, gram.n_theta
        self.orders = [np.arange(layout.q) for layout in gram.layouts]
        if parameter.term >= 0:
            self.orders[parameter.term] = _order(parameter, gram.layouts[parameter.term].q)
        self.inverses = [
            np.linalg.inv(T)[:, order]
            for T, order in zip(gram.transforms, self.orders, strict=True)
        ]
        row = None
        if parameter.kind == "beta":
            row = np.linalg.inv(gram.basis.R)[parameter.first]
        self.row = row
        self.deviance = Deviance(gram, row)
        self.first = gram.layouts[parameter.term].start if parameter.term >= 0 else 0
        self.held, self.start = self._split(factors, float(np.log(sigma / gram.y_scale)))

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value of the held coordinate."""
        kinds = {"sd": (0.0, np.inf), "cor": (-0.5 * np.pi, 0.5 * np.pi)}
        return kinds.get(self.parameter.kind, (-np.inf, np.inf))

    def outside(self, held: float) -> float:
        """Return the parameter in the user's units at a value of the held coordinate."""
        kind = self.parameter.kind
        if kind == "cor":
            return float(np.sin(held))
        if kind == "beta":
            least_squares = float(self.gram.response.beta[self.parameter.first])
            return least_squares + held * self.gram.y_scale
        return (float(np.exp(held)) if kind == "sigma" else held) * self.gram.y_scale

    def at(self, held: float, free: np.ndarray) -> PathPoint:
        """Evaluate the deviance and its derivatives."""
        x, J = self._expand(held, free)
        factors = [layout.factor(x) for layout in self.gram.layouts]
        whitened = [
            lower_factor(inverse @ factor)
            for inverse, factor in zip(self.inverses, factors, strict=True)
        ]
        local = self.deviance.at(whitened, float(x[self.m]), float(x[self.m + 1]))
        m = self.m
        chained = np.eye(m + 2)
        extra = np.zeros((m + 2, m + 2))
        for layout, inverse, factor in zip(self.gram.layouts, self.inverses, factors, strict=True):
            span = slice(layout.start, layout.stop)
            chained[span, span] = jacobian(inverse, factor, layout)
            extra[span, span] = bend(inverse, local.gradient[span], layout)
        gradient = chained.T @ local.gradient
        hessian = chained.T @ local.hessian @ chained + extra
        return PathPoint(
            value=local.value,
            gradient=J.T @ gradient,
            hessian=J.T @ hessian @ J + self._bend(held, x, gradient),
            x=x,
            local=local,
        )

    def covariances(self, x: np.ndarray) -> list[np.ndarray]:
        """Return each term's covariance of effects, user's units and order, at a point's x."""
        scale = np.exp(2.0 * x[self.m]) * self.gram.y_scale**2
        matrices = []
        for layout, order in zip(self.gram.layouts, self.orders, strict=True):
            factor = np.empty((layout.q, layout.q))
            factor[order] = layout.factor(x)
            matrices.append(scale * factor @ factor.T)
        return matrices

    def _split(self, factors: list[np.ndarray], log_sigma: float) -> tuple[float, np.ndarray]:
        """Return the held coordinate and the free ones at the optimum."""
        elements = [
            layout.elements(lower_factor(factor[order]))
            for layout, factor, order in zip(self.gram.layouts, factors, self.orders, strict=True)
        ]
        x = np.append(np.concatenate(elements), log_sigma)
        kind, k = self.parameter.kind, self.first
        if kind == "sd":
            return float(x[k] * np.exp(log_sigma)), np.delete(x, k)
        if kind == "cor":
            end = self._second()
            angle = float(np.arctan2(x[k + 1], x[end])) if x[k + 1] or x[end] else 0.0
            length = float(np.hypot(x[k + 1], x[end]))
            x[k + 1] = length
            return angle, np.delete(x, end)
        if kind == "sigma":
            return log_sigma, x[:-1]
        estimate = self.parameter.estimate - self.gram.response.beta[self.parameter.first]
        return float(estimate / self.gram.y_scale), x

    def _second(self) -> int:
        """Return the position of the second diagonal element of the held term's factor."""
        return self.first + self.gram.layouts[self.parameter.term].q

    def _expand(self, held: float, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x (see `PathPoint`) and its derivatives by the held and the free coordinates."""
        m, k, kind = self.m, self.first, self.parameter.kind
        x, J = np.zeros(m + 2), np.zeros((m + 2, 1 + len(free)))
        if kind == "sd":
            places = np.delete(np.arange(m + 1), k)
            inverse = np.exp(-free[-1])
            x[k] = held * inverse
            J[k, 0], J[k, -1] = inverse, -x[k]
        elif kind == "cor":
            end = self._second()
            places = np.delete(np.arange(m + 1), end)
        elif kind == "sigma":
            places = np.arange(m)
            x[m], J[m, 0] = held, 1.0
        else:
            places = np.arange(m + 1)
            x[m + 1], J[m + 1, 0] = held, 1.0
        x[places] = free
        J[places, 1 + np.arange(len(free))] = 1.0
        if kind == "cor":
            length, sine, cosine = x[k + 1], np.sin(held), np.cos(held)
            column = 1 + int(np.flatnonzero(places == k + 1)[0])
            x[k + 1], x[end] = length * sine, length * cosine
            J[k + 1, column], J[end, column] = sine, cosine
            J[k + 1, 0], J[end, 0] = x[end], -x[k + 1]
        return x, J

    def _bend(self, held: float, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return ``Σ_i gradient_i d²x_i``, the part of the Hessian from second derivatives of x."""
        kind, k = self.parameter.kind, self.first
        size = 1 + self.m + (kind == "beta")
        added = np.zeros((size, size))
        if kind == "sd":
            added[0, -1] = added[-1, 0] = -np.exp(-x[self.m]) * gradient[k]
            added[-1, -1] = x[k] * gradient[k]
        elif kind == "cor":
            end = self._second()
            column = 1 + k + 1
            across = np.cos(held) * gradient[k + 1] - np.sin(held) * gradient[end]
            added[0, column] = added[column, 0] = across
            added[0, 0] = -(x[k + 1] * gradient[k + 1] + x[end] * gradient[end])
        return added


def _order(parameter: Parameter, q: int) -> np.ndarray:
    """Return an order of the q effects in which those of the held parameter come first."""
    chosen = [parameter.second] if parameter.kind == "sd" else [parameter.second, parameter.first]
    return np.array(chosen + [k for k in range(q) if k not in chosen])
