"""`ResidualPath`: coordinates of a model with a residual structure in which one parameter is held.

The effects of a held random term, and the visits of an unstructured matrix, are put in an order in
which the parameter depends on the first two rows of a factor; sigma belongs to the first visit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymackay.covariance.chart import correlated, is_factor
from pymackay.covariance.layout import lower_factor
from pymackay.covariance.residual.structure import Unstructured
from pymackay.infer.intervals.held import HeldCoordinate
from pymackay.infer.intervals.parameters import Parameter, Values
from pymackay.infer.intervals.profile_curve import Curve
from pymackay.infer.intervals.profile_path import PathPoint
from pymackay.infer.residual.problem import residual_problem
from pymackay.infer.residual.refit import ML_MESSAGE, refit_by
from pymackay.results import Fit
from pymackay.solve.assemble import user_factors
from pymackay.solve.marginal.clusters import find_clusters
from pymackay.solve.marginal.criterion import Marginal
from pymackay.solve.marginal.held import Held
from pymackay.solve.marginal.problem import ResidualProblem
from pymackay.solve.marginal.random_part import TermPart

_AT_OPTIMUM = 1e-8  # Newton decrement, criterion units


class ResidualPath:
    """Coordinates in which one parameter is held.

    The held coordinate is as that of `pymackay.infer.intervals.profile_path.Path`; of a residual
    structure it is the parameter of the search, with the sign that makes it rise with the
    reported one; of an unstructured matrix the ratio of standard deviations itself, or the angle
    whose sine is the correlation.

    Parameters
    ----------
    fit : Fit
        By maximum likelihood, at its optimum.
    parameter : Parameter
    """

    def __init__(self, fit: Fit, parameter: Parameter) -> None:
        problem = residual_problem(fit, "a likelihood profile")
        self.parameter = parameter
        self.order = _order_of_visits(problem, parameter)
        self.marginal = _arranged(problem.marginal, parameter, self.order)
        self.coordinate = self._coordinate()
        row = None
        if parameter.kind == "beta":
            row = np.linalg.inv(self.marginal.basis.R)[parameter.first]
        self.deviance = Held(self.marginal, row)
        x = self._estimates(problem)
        self.psi = x[:-2]
        self.sign = self._direction()
        held, self.start = self.coordinate.split(x)
        self.held = float(np.clip(self.sign * held, *self.bounds))

    @property
    def n(self) -> int:
        """Number of rows: rounding of the deviance grows with it."""
        return len(self.marginal.model.y)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value of the held coordinate."""
        parameter, structure = self.parameter, self.marginal.residual.structure
        if parameter.kind == "cor":
            return -0.5 * np.pi, 0.5 * np.pi
        if parameter.kind == "residual" and not isinstance(structure, Unstructured):
            low, high = structure.range_of(parameter.first, _least_lag(self.marginal))
            return (low, high) if self.sign > 0.0 else (-high, -low)
        return self.coordinate.bounds

    def outside(self, held: float) -> float:
        """Return the parameter in the user's units at a value of the held coordinate."""
        kind, marginal, scale = self.parameter.kind, self.marginal, self.marginal.response.scale
        if kind == "beta":
            return float(marginal.response.beta[self.parameter.first] + held * scale)
        if kind == "sigma":
            return float(np.exp(held) * scale)
        if kind == "residual" and self.coordinate.kind == "itself":
            psi = self.psi.copy()
            psi[self.coordinate.place] = self.sign * held
            own = psi[marginal.n_theta :]
            return float(marginal.residual.structure.values(own)[self.parameter.first])
        if kind == "residual":
            return float(np.sin(held) if self.coordinate.kind == "angle" else held)
        return self._of_effects(held)

    def _of_effects(self, held: float) -> float:
        """Return a standard deviation, or a correlation, of random effects."""
        layout, first = self.marginal.layouts[self.parameter.term], self.parameter.first
        if self.parameter.kind == "sd":
            unit = float(self.marginal.transforms[self.parameter.term][first].max())
            return held * unit * self.marginal.response.scale
        if is_factor(layout.structure):
            return float(np.sin(held))
        bounds = correlated(layout.structure).bounds(layout.q)
        low, high = (bound[first - 1] for bound in bounds)
        return float(0.5 * (low + high) + 0.5 * (high - low) * np.sin(held))

    def at(self, held: float, free: np.ndarray) -> PathPoint:
        """Evaluate the deviance and its derivatives.

        Raises
        ------
        numpy.linalg.LinAlgError
            If there is no such model.
        """
        x, J = self.coordinate.expand(self.sign * held, free)
        self._refuse_negative(x)
        local = self.deviance.at(x[:-2], float(x[-2]), float(x[-1]))
        bend = self.coordinate.bend(self.sign * held, x, local.gradient)
        turn = np.ones(1 + len(free))
        turn[0] = self.sign
        return PathPoint(
            value=local.value,
            gradient=turn * (J.T @ local.gradient),
            hessian=np.outer(turn, turn) * (J.T @ local.hessian @ J + bend),
            x=x,
            local=local,
        )

    def values(self, point: PathPoint) -> Values:
        """Return all parameters at a point, user's units."""
        marginal, psi = self.marginal, point.x[:-2]
        scale, cut = marginal.response.scale, marginal.n_theta
        sigma = float(np.exp(point.x[-2])) * scale
        factors = user_factors(marginal, [part.factor for part in marginal.parts(psi)])
        covariances = [sigma**2 * factor @ factor.T for factor in factors]
        beta = marginal.response.beta + marginal.basis.from_basis(point.local.beta) * scale
        structure, own = marginal.residual.structure, psi[cut:]
        if self.order is not None and isinstance(structure, Unstructured):
            back = np.argsort(self.order)
            S = structure.covariance(own)[np.ix_(back, back)]
            sigma *= float(np.sqrt(S[0, 0]))
            structure = Unstructured(tuple(structure.levels[i] for i in back))
            own = structure.of_covariance(S)
        return Values(covariances, sigma, beta, structure.values(own))

    def _coordinate(self) -> HeldCoordinate:
        """Return which coordinate is held."""
        parameter, marginal = self.parameter, self.marginal
        cut, first = marginal.n_theta, parameter.first
        m = cut + marginal.residual.structure.n_par
        if parameter.kind in ("sigma", "beta"):
            return HeldCoordinate("itself", m + (parameter.kind == "beta"), m)
        if parameter.kind == "residual":
            if self.order is None:
                return HeldCoordinate("itself", cut + first, m)
            is_ratio = first < len(self.order) - 1
            return HeldCoordinate("length" if is_ratio else "angle", cut, m, cut + 1)
        layout = marginal.layouts[parameter.term]
        if not is_factor(layout.structure) and parameter.kind == "cor":
            place = layout.start + correlated(layout.structure).n_sd(layout.q) + first - 1
            return HeldCoordinate("itself", place, m)
        if parameter.kind == "cor":
            return HeldCoordinate("angle", layout.start + 1, m, layout.start + layout.q)
        shared = is_factor(layout.structure) or correlated(layout.structure).hom
        return HeldCoordinate("sd", layout.start + (0 if shared else first), m)

    def _estimates(self, problem: ResidualProblem) -> np.ndarray:
        """Return ψ in the order of the path, log sigma and c at the optimum, (P + 2,)."""
        marginal, own = self.marginal, problem.psi[problem.marginal.n_theta :]
        former, size = problem.marginal.residual.structure, 1.0
        if self.order is not None and isinstance(former, Unstructured):
            S = former.covariance(own)[np.ix_(self.order, self.order)]
            size, own = float(np.sqrt(S[0, 0])), former.of_covariance(S)
        parts = [
            TermPart.of(layout, lower_factor(np.linalg.solve(T, user)) / size).x
            for layout, T, user in zip(
                marginal.layouts, marginal.transforms, problem.users, strict=True
            )
        ]
        log_sigma, c = 0.5 * np.log(problem.point.sigma2) + np.log(size), 0.0
        if self.parameter.kind == "beta":
            least_squares = float(marginal.response.beta[self.parameter.first])
            c = (self.parameter.estimate - least_squares) / marginal.response.scale
        return np.concatenate([*parts, own, [log_sigma, c]])

    def _direction(self) -> float:
        """Return 1, or −1 where the reported parameter falls with that of the search."""
        if self.parameter.kind != "residual" or self.order is not None:
            return 1.0
        structure, own = self.marginal.residual.structure, self.psi[self.marginal.n_theta :]
        k, further = self.parameter.first, own.copy()
        further[k] += 0.1
        return float(np.sign(structure.values(further)[k] - structure.values(own)[k]))

    def _refuse_negative(self, x: np.ndarray) -> None:
        """Refuse negative standard deviations where their sign matters: another model."""
        for layout in self.marginal.layouts:
            if is_factor(layout.structure):
                continue
            structure = correlated(layout.structure)
            if structure.hom or not structure.n_rho(layout.q):
                continue
            if (x[layout.start : layout.start + structure.n_sd(layout.q)] < 0.0).any():
                raise np.linalg.LinAlgError


def ml_optimum(fit: Fit) -> tuple[Fit, tuple[str, ...]]:
    """Return the fit at the maximum of the likelihood, and a message if it was refitted."""
    residual_problem(fit, "a likelihood profile")
    if fit.reml:
        return refit_by(fit, reml=False), (ML_MESSAGE,)
    if fit.convergence.decrement < _AT_OPTIMUM:
        return fit, ()
    return refit_by(fit, reml=False), ("refitted by ML: the fit was not at its optimum",)


def curve_of(fit: Fit, parameter: Parameter) -> Curve:
    """Return the profile of one parameter of an ML fit."""
    return Curve(ResidualPath(fit, parameter), fit.criterion)


def _order_of_visits(problem: ResidualProblem, parameter: Parameter) -> np.ndarray | None:
    """Return the order of the visits, (q,), in which those of a held parameter come first."""
    structure = problem.marginal.residual.structure
    if parameter.kind != "residual" or not isinstance(structure, Unstructured):
        return None
    q, k = len(structure.levels), parameter.first
    rows, columns = np.tril_indices(q, -1)
    first = [0, k + 1] if k < q - 1 else [int(columns[k - q + 1]), int(rows[k - q + 1])]
    return np.array(first + [i for i in range(q) if i not in first])


def _arranged(marginal: Marginal, parameter: Parameter, order: np.ndarray | None) -> Marginal:
    """Return the criterion with effects, or visits, in the order that a parameter asks for."""
    if order is not None:
        rows, places = marginal.residual, np.argsort(order)
        levels = tuple(rows.structure.levels[i] for i in order)
        moved = replace(
            rows,
            structure=Unstructured(levels),
            strata=places[rows.strata],
            times=places[rows.times.astype(np.intp)].astype(np.float64),
        )
        return replace(marginal, residual=moved, clusters=find_clusters(marginal.model, moved))
    term = parameter.term
    if term < 0 or marginal.layouts[term].structure is not None:
        return marginal
    chosen = [parameter.second] if parameter.kind == "sd" else [parameter.second, parameter.first]
    q = marginal.layouts[term].q
    sequence = chosen + [k for k in range(q) if k not in chosen]
    raw = marginal.columns[term] @ np.linalg.inv(marginal.transforms[term])
    size = np.sqrt(np.mean(raw**2, axis=0))
    T = np.zeros((q, q))
    T[sequence, np.arange(q)] = 1.0 / np.where(size > 0.0, size, 1.0)[sequence]
    transforms, columns = list(marginal.transforms), list(marginal.columns)
    transforms[term], columns[term] = T, raw @ T
    return replace(marginal, transforms=tuple(transforms), columns=tuple(columns))


def _least_lag(marginal: Marginal) -> float:
    """Return the least time between two rows of a group."""
    least = np.inf
    for clusters in marginal.clusters:
        lag = np.abs(clusters.times[:, :, None] - clusters.times[:, None, :])
        least = min(least, float(lag[clusters.same & (lag > 0.0)].min(initial=np.inf)))
    return least
