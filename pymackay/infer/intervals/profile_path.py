"""`Path`: coordinates of the deviance in which one parameter is held and the others are free.

The free coordinates are log sigma and the elements of each term's lower-triangular relative factor
M. The effects of a term are ordered such that the held standard deviation or correlation depends on
the first one or two rows of M. The coordinates need no bounds, even where a variance is zero or a
correlation is ±1. A term with a structure has the coordinates of its chart instead: standard
deviations relative to sigma, and the angle of its correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.chart import correlated, is_factor
from pymackay.infer.intervals.deviance import Deviance
from pymackay.infer.intervals.held import HeldCoordinate
from pymackay.infer.intervals.parameters import Parameter, Values
from pymackay.infer.intervals.term_coordinates import ChartCoordinates, FactorCoordinates
from pymackay.model.sums.gram import Gram
from pymackay.solve.deviance import LocalDeviance


@dataclass(frozen=True, eq=False)
class PathPoint:
    """The deviance at one value of the held coordinate and the free ones.

    Attributes
    ----------
    value : float
    gradient, hessian : numpy.ndarray, shapes (1 + k,) and (1 + k, 1 + k)
        By the held coordinate, then the k free ones.
    x : numpy.ndarray, shape (m + 2,)
        Covariance parameters, log sigma, and ``l'beta``.
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
        self.held_term = gram.layouts[parameter.term] if parameter.term >= 0 else None
        self.terms = [self._coordinates(k) for k in range(len(gram.layouts))]
        row = None
        if parameter.kind == "beta":
            row = np.linalg.inv(gram.basis.R)[parameter.first]
        self.row = row
        self.deviance = Deviance(gram.without_structures(), row)
        self.coordinate = self._coordinate()
        self.held, self.start = self._split(factors, float(np.log(sigma / gram.y_scale)))

    def _coordinates(self, term: int) -> FactorCoordinates | ChartCoordinates:
        layout, T = self.gram.layouts[term], self.gram.transforms[term]
        if not is_factor(layout.structure):
            return ChartCoordinates.of(layout, T)
        is_held = term == self.parameter.term
        order = _order(self.parameter, layout.q) if is_held else np.arange(layout.q)
        return FactorCoordinates.of(layout, T, order)

    def _coordinate(self) -> HeldCoordinate:
        """Return which coordinate is held."""
        layout, m, kind = self.held_term, self.m, self.parameter.kind
        if layout is None:
            return HeldCoordinate("itself", m if kind == "sigma" else m + 1, m)
        if not is_factor(layout.structure):
            structure = correlated(layout.structure)
            if kind == "cor":
                place = layout.start + structure.n_sd(layout.q) + self.parameter.first - 1
                return HeldCoordinate("itself", place, m)
            if not structure.hom:
                return HeldCoordinate("sd", layout.start + self.parameter.first, m)
        elif kind == "cor":
            return HeldCoordinate("angle", layout.start + 1, m, layout.start + layout.q)
        return HeldCoordinate("sd", layout.start, m)

    @property
    def n(self) -> int:
        """Number of rows: rounding of the deviance grows with it."""
        return self.gram.n

    @property
    def kind(self) -> str:
        """What is held: ``"angle"`` for the correlation of a structure, else as the parameter."""
        structured = self.held_term is not None and not is_factor(self.held_term.structure)
        return "angle" if structured and self.parameter.kind == "cor" else self.parameter.kind

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value of the held coordinate."""
        angles = (-0.5 * np.pi, 0.5 * np.pi)
        return angles if self.kind == "angle" else self.coordinate.bounds

    def outside(self, held: float) -> float:
        """Return the parameter in the user's units at a value of the held coordinate."""
        kind = self.kind
        if kind == "angle":
            return self._correlation(held)
        if kind == "cor":
            return float(np.sin(held))
        if kind == "beta":
            least_squares = float(self.gram.response.beta[self.parameter.first])
            return least_squares + held * self.gram.y_scale
        return (float(np.exp(held)) if kind == "sigma" else held) * self.gram.y_scale

    def at(self, held: float, free: np.ndarray) -> PathPoint:
        """Evaluate the deviance and its derivatives."""
        x, J = self.coordinate.expand(held, free)
        m = self.m
        whitened = [
            term.whitened(x[layout.start : layout.stop])
            for term, layout in zip(self.terms, self.gram.layouts, strict=True)
        ]
        local = self.deviance.at(whitened, float(x[m]), float(x[m + 1]))
        plain = self.deviance.gram.layouts
        chained = np.zeros((plain[-1].stop + 2, m + 2))
        chained[-2:, -2:] = np.eye(2)
        extra = np.zeros((m + 2, m + 2))
        for term, layout, full in zip(self.terms, self.gram.layouts, plain, strict=True):
            span, elements = slice(layout.start, layout.stop), slice(full.start, full.stop)
            chained[elements, span], extra[span, span] = term.chain(
                x[span], local.gradient[elements]
            )
        gradient = chained.T @ local.gradient
        hessian = chained.T @ local.hessian @ chained + extra
        return PathPoint(
            value=local.value,
            gradient=J.T @ gradient,
            hessian=J.T @ hessian @ J + self.coordinate.bend(held, x, gradient),
            x=x,
            local=local,
        )

    def _correlation(self, angle: float) -> float:
        """Return the correlation of the held term's structure at an angle."""
        layout = self.held_term
        assert layout is not None
        low, high = correlated(layout.structure).bounds(layout.q)
        return float(0.5 * (low[0] + high[0]) + 0.5 * (high[0] - low[0]) * np.sin(angle))

    def values(self, point: PathPoint) -> Values:
        """Return all parameters at a point, user's units."""
        gram, x = self.gram, point.x
        sigma = float(np.exp(x[self.m])) * gram.y_scale
        covariances = [
            sigma**2 * term.covariance(x[layout.start : layout.stop])
            for term, layout in zip(self.terms, gram.layouts, strict=True)
        ]
        beta = gram.response.beta + gram.basis.from_basis(point.local.beta) * gram.y_scale
        return Values(covariances, sigma, beta)

    def _split(self, factors: list[np.ndarray], log_sigma: float) -> tuple[float, np.ndarray]:
        """Return the held coordinate and the free ones at the optimum."""
        parts = [term.split(factor) for term, factor in zip(self.terms, factors, strict=True)]
        c = 0.0
        if self.parameter.kind == "beta":
            least_squares = float(self.gram.response.beta[self.parameter.first])
            c = (self.parameter.estimate - least_squares) / self.gram.y_scale
        return self.coordinate.split(np.concatenate([*parts, [log_sigma, c]]))


def _order(parameter: Parameter, q: int) -> np.ndarray:
    """Return an order of the q effects in which those of the held parameter come first."""
    chosen = [parameter.second] if parameter.kind == "sd" else [parameter.second, parameter.first]
    return np.array(chosen + [k for k in range(q) if k not in chosen])
