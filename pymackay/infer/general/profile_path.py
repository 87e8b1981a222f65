"""`GeneralPath`: coordinates of a generalised model's criterion in which one parameter is held.

The parameters ψ of the search are used themselves. For a standard deviation or a correlation the
effects of its term are ordered, and scaled but not whitened, such that it depends on the first one
or two rows of the term's factor: the standard deviation is the first element, and the correlation
the sine of an angle between two elements. Those of a term with a structure are parameters already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from pymackay.covariance.chart import correlated, is_factor
from pymackay.errors import PymackayError
from pymackay.infer.general.problem import general_problem, likelihood_part
from pymackay.infer.general.refit import optimal
from pymackay.infer.intervals.parameters import Parameter, Values
from pymackay.infer.intervals.profile_curve import Curve
from pymackay.results import Fit
from pymackay.solve.assemble import user_factors
from pymackay.solve.pirls.assemble import parameters
from pymackay.solve.pirls.criterion import Criterion
from pymackay.solve.pirls.fit import criterion_of
from pymackay.solve.pirls.hessian import exact_hessian
from pymackay.solve.pirls.parameters import TermParameters
from pymackay.solve.pirls.rows import Rows


@dataclass(frozen=True, eq=False)
class GeneralPathPoint:
    """The criterion at one value of the held coordinate and the free ones.

    Attributes
    ----------
    value : float
        −2 log likelihood.
    gradient, hessian : numpy.ndarray, shapes (1 + k,) and (1 + k, 1 + k)
        By the held coordinate, then the k free ones; the gradient is exact.
    psi : numpy.ndarray, shape (P,)
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    psi: np.ndarray


class GeneralPath:
    """Coordinates in which one parameter of a generalised model is held.

    The held coordinate ω is a standard deviation; the angle whose sine is a correlation; log
    sigma, half the log of the dispersion; or a coefficient, in the user's units.

    Parameters
    ----------
    fit : Fit
        At its optimum.
    parameter : Parameter
    """

    def __init__(self, fit: Fit, parameter: Parameter) -> None:
        problem = general_problem(fit, "a likelihood profile")
        self.parameter = parameter
        self.rows = _arranged(problem.laplace.rows, parameter)
        self.p = self.rows.p
        laplace = replace(problem.laplace, rows=self.rows)
        extra = None if not laplace.extra else float(problem.psi[-1])
        psi = parameters(laplace, fit.theta.to_numpy(), fit.beta.to_numpy(), extra)
        self.criterion: Criterion = criterion_of(laplace, problem.nagq, psi[: self.p])
        peak = self.criterion.at(psi)
        self.begin = peak.start
        self.correction = exact_hessian(self.criterion, peak) - peak.curvature.hessian
        self.slopes = self._affine(len(psi))
        self.held, self.start = self._split(psi)

    @property
    def n(self) -> int:
        """Number of rows: rounding of the criterion grows with it."""
        return self.rows.n

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value of the held coordinate."""
        kinds = {"sd": (0.0, np.inf), "cor": (-0.5 * np.pi, 0.5 * np.pi)}
        return kinds.get(self.parameter.kind, (-np.inf, np.inf))

    @property
    def _structured(self) -> TermParameters | None:
        """The held term, where its covariance has a structure."""
        term = self.rows.terms[self.parameter.term] if self.parameter.term >= 0 else None
        return term if term is not None and not is_factor(term.structure) else None

    def outside(self, held: float) -> float:
        """Return the parameter in the user's units at a value of the held coordinate."""
        term = self._structured
        if term is not None:
            k = self.parameter.first
            if self.parameter.kind == "sd":
                scale = self.rows.transforms[self.parameter.term][k, k]
                return float(scale * (held**2 if term.rooted else held))
            low, high = (bound[k - 1] for bound in correlated(term.structure).bounds(term.layout.q))
            return float(0.5 * (low + high) + 0.5 * (high - low) * np.sin(held))
        if self.parameter.kind == "cor":
            return float(np.sin(held))
        return float(np.exp(held)) if self.parameter.kind == "sigma" else held

    def at(self, held: float, free: np.ndarray) -> GeneralPathPoint:
        """Evaluate the criterion and its derivatives.

        The second derivatives are the approximate ones of the search, corrected by what these are
        off at the optimum.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the criterion has no value there.
        """
        x = np.concatenate([[held], free])
        psi, J = self.slopes @ x, self.slopes.copy()
        bend = np.zeros((len(x), len(x)))
        point = None
        if self._is_angle:
            across, end = self._angle_places
            length, sine, cosine = psi[across], np.sin(held), np.cos(held)
            psi[across], psi[end] = length * sine, length * cosine
            column = int(np.flatnonzero(self.slopes[across])[0])
            J[across, column], J[end, column] = sine, cosine
            J[across, 0], J[end, 0] = psi[end], -psi[across]
            point = self.criterion.at(psi, self.begin)
            gradient = point.gradient
            turned = cosine * gradient[across] - sine * gradient[end]
            bend[0, column] = bend[column, 0] = turned
            bend[0, 0] = -(psi[across] * gradient[across] + psi[end] * gradient[end])
        else:
            point = self.criterion.at(psi, self.begin)
        hessian = point.curvature.hessian + self.correction
        return GeneralPathPoint(
            float(point.criterion), J.T @ point.gradient, J.T @ hessian @ J + bend, psi
        )

    def values(self, point: GeneralPathPoint) -> Values:
        """Return all parameters at a point, user's units."""
        rows, psi = self.rows, point.psi
        factors = rows.term_factors(psi[self.p : self.p + rows.n_theta])
        covariances = [factor @ factor.T for factor in user_factors(rows, factors)]
        return Values(
            covariances, float(np.exp(0.5 * psi[-1])), rows.basis.from_basis(psi[: self.p])
        )

    @property
    def _is_angle(self) -> bool:
        """Whether the held coordinate is the angle between two elements of a factor."""
        return self.parameter.kind == "cor" and self._structured is None

    @property
    def _first(self) -> int:
        """Place in ψ of the held parameter of a structure, or of the term's first element."""
        layout, k = self.rows.layouts[self.parameter.term], self.parameter.first
        if is_factor(layout.structure):
            return self.p + layout.start
        structure = correlated(layout.structure)
        if self.parameter.kind == "cor":
            return self.p + layout.start + structure.n_sd(layout.q) + k - 1
        return self.p + layout.start + (0 if structure.hom else k)

    @property
    def _angle_places(self) -> tuple[int, int]:
        """Places in ψ of the two elements of the factor's second row."""
        return self._first + 1, self._first + self.rows.layouts[self.parameter.term].q

    def _affine(self, P: int) -> np.ndarray:
        """Return the slopes of ψ by the held and the free coordinates, (P, P or P less one).

        Those of the two elements that an angle turns are made by `at`: here the first of them
        stands for their length.
        """
        kind, first = self.parameter.kind, self._first
        if kind == "beta":
            row = np.linalg.inv(self.rows.basis.R)[self.parameter.first]
            made = np.zeros((P, P))
            made[: self.p, 0] = row / (row @ row)
            made[: self.p, 1 : self.p] = scipy.linalg.null_space(row[None])
            made[self.p :, self.p :] = np.eye(P - self.p)
            return made
        if self._is_angle:
            made = np.delete(np.eye(P), self._angle_places[1], axis=1)
            return np.column_stack([np.zeros(P), made])
        place, slope = P - 1, 2.0
        if self._structured is not None:
            place, slope = first, 1.0
        elif kind == "sd":
            term = self.parameter.term
            place, slope = first, 1.0 / self.rows.transforms[term][self.parameter.first, 0]
        held = np.zeros((P, 1))
        held[place] = slope
        return np.hstack([held, np.delete(np.eye(P), place, axis=1)])

    def _split(self, psi: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the held coordinate and the free ones at ψ."""
        psi = psi.copy()
        if self._structured is not None and self.parameter.kind == "sd":
            psi[self._first] = abs(psi[self._first])  # its sign changes nothing
        if not self._is_angle:
            x = np.linalg.solve(self.slopes, psi)
            return float(x[0]), x[1:]
        across, end = self._angle_places
        angle = float(np.arctan2(psi[across], psi[end])) if psi[across] or psi[end] else 0.0
        psi[across] = np.hypot(psi[across], psi[end])
        return angle, np.delete(psi, end)


def ml_optimum(fit: Fit) -> tuple[Fit, tuple[str, ...]]:
    """Return the fit at the maximum of the likelihood, and a message if it was refitted.

    Raises
    ------
    PymackayError
        If the fit holds no model, or its criterion is no likelihood of all parameters.
    """
    general_problem(fit, "a likelihood profile")
    if likelihood_part(fit, "a likelihood profile").nagq == 0:
        raise PymackayError(
            "a likelihood profile holds one parameter while all others are at their best, but "
            "nagq=0 takes the fixed effects from the joint mode; fit the model with nagq=1, or "
            "use fit.confint('wald')."
        )
    return optimal(fit)


def curve_of(fit: Fit, parameter: Parameter) -> Curve:
    """Return the profile of one parameter of a fit at its optimum."""
    return Curve(GeneralPath(fit, parameter), fit.criterion)


def _arranged(rows: Rows, parameter: Parameter) -> Rows:
    """Return rows in which the effects that a parameter is of come first in their term."""
    if parameter.term < 0 or not is_factor(rows.layouts[parameter.term].structure):
        return rows
    chosen = [parameter.second] if parameter.kind == "sd" else [parameter.second, parameter.first]
    columns = rows.model.terms[parameter.term].columns
    order = chosen + [k for k in range(columns.shape[1]) if k not in chosen]
    size = np.sqrt(np.mean(columns**2, axis=0))
    T = np.zeros((len(order), len(order)))
    T[order, np.arange(len(order))] = 1.0 / np.where(size > 0.0, size, 1.0)[order]
    transforms = tuple(T if k == parameter.term else old for k, old in enumerate(rows.transforms))
    blocks = []
    for block in rows.blocks:
        changed: dict[str, Any] = {}
        if parameter.term in block.terms:
            made = [rows.model.terms[i].columns @ transforms[i] for i in block.terms]
            changed["columns"] = np.ascontiguousarray(np.column_stack(made).T)
        blocks.append(replace(block, **changed))
    return replace(rows, transforms=transforms, blocks=tuple(blocks))
