"""`Laplace`: the criterion at given parameters, with its exact gradient.

The derivatives follow from the implicit function theorem (Skaug & Fournier 2006, Comput. Stat.
Data Anal. 51, sec. 2; Kristensen et al. 2016, J. Stat. Softw. 70(5), eq. 5), written for blocks.
With ``v = s w'/φ``, ``r = H⁻¹A'v`` and ``t = v − (D''/φ) A r``:

- by β: ``X'(2D'/φ + t)``;
- by Λ: ``Σ_j (Z'(2D'/φ + t))_j u_j' + 2 Σ_j T_j Λ − Σ_j (Z'D'/φ)_j r_j'``;
- by log φ: ``−2ΣD/φ + c' − Σ s w/φ − r'u``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pymackay.family.family import Constant, Family
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.pirls.criteria.second import second_derivatives
from pymackay.solve.pirls.mode import (
    Given,
    Mode,
    NoMode,
    RowsAt,
    find_mode,
    lowest_mode,
    mode_at,
    step_from,
    total_at,
)
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.system import system_of
from pymackay.solve.search.limits import LARGEST_LOG

DISPERSIONS = ("ml", "lme4")
DETERMINANTS = ("expected", "observed")


@dataclass(frozen=True, eq=False)
class Laplace:
    """Laplace's criterion of a generalised model.

    Attributes
    ----------
    rows : Rows
    family : Family
    determinant : {"expected", "observed"}
        Weights of log|H|; lme4 takes expected ones.
    dispersion : {"ml", "lme4"}
        Of a family with a dispersion: by maximum likelihood, or lme4's criterion, in which φ is
        the deviance over the sum of weights, and one in the mode and in H.
    effects : numpy.ndarray of shape (N,), or None
        Random effects b near which modes are searched first, if there is but one.
    """

    rows: Rows
    family: Family
    determinant: str = "expected"
    dispersion: str = "ml"
    effects: np.ndarray | None = None

    @cached_property
    def extra(self) -> str:
        """What ψ holds besides β and factors: "dispersion", "shape" or nothing."""
        if self.family.has_dispersion and self.dispersion == "ml":
            return "dispersion"
        return "shape" if _shape_is_free(self.family) else ""

    def without_effects(self) -> Laplace:
        """Return the criterion without effects to begin at; it may be given other rows then."""
        if self.effects is None:
            return self
        made = replace(self, effects=None)
        made.__dict__["saturated"] = self.saturated  # the rows may be gone
        return made

    @property
    def is_lme4s(self) -> bool:
        """Whether it is lme4's criterion of a family with a dispersion, which is no likelihood."""
        return self.family.has_dispersion and self.dispersion == "lme4"

    @cached_property
    def saturated(self) -> float | None:
        """−2 log likelihood of the saturated model, where no parameter changes it."""
        if self.extra or self.family.has_dispersion:
            return None
        return self.constant(self.family).value

    @property
    def size(self) -> int:
        """Number of parameters ψ."""
        return self.rows.p + self.rows.n_theta + bool(self.extra)

    def given(self, psi: np.ndarray) -> Given:
        """Return what ψ, shape (size,), holds fixed in the search for the mode."""
        rows, p, k = self.rows, self.rows.p, self.rows.n_theta
        family, phi = self.family, 1.0
        if self.extra:
            value = float(np.exp(np.clip(psi[-1], -LARGEST_LOG, LARGEST_LOG)))
            if isinstance(family, NegativeBinomial):
                family = family.with_shape(value)
            else:
                phi = value
        fixed = rows.basis.Q @ psi[:p] + rows.offset
        return Given(rows, family, fixed, rows.block_factors(psi[p : p + k]), phi, psi[:p])

    def constant(self, family: Family, phi: float = 1.0) -> Constant:
        """Return −2 log likelihood of the saturated model, and its slope by log φ."""

        def of(rows: Rows) -> tuple[float, float]:
            made = family.constant(rows.observed, phi)
            return made.value, made.slope

        return Constant(*self.rows.total(of))

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> Point:
        """Evaluate at ψ; the mode is searched from u, shape (N,).

        By default it is searched from `effects`, or from zero; if a density is not log-concave, the
        lowest of several modes is taken.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the criterion has no value there.
        """
        given = self.given(psi)
        if u is not None:
            return Point(self, psi, given, find_mode(given, u))
        zero = np.zeros(self.rows.n_effects)
        if not self.family.is_log_concave:
            return Point(self, psi, given, lowest_mode(given, zero))
        begin = zero if self.effects is None else given.unscaled(self.effects)
        try:
            return Point(self, psi, given, find_mode(given, begin))
        except NoMode:  # fixed effects so far out that a row's deviance has no slope in float64
            from_response = step_from(given)
            if from_response is None:
                raise
            return Point(self, psi, given, find_mode(given, from_response))

    def with_mode(self, psi: np.ndarray, u: np.ndarray) -> Point:
        """Evaluate at ψ with u, shape (N,), for the mode, without a search.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the criterion has no value there.
        """
        given = self.given(psi)
        return Point(self, psi, given, mode_at(given, u))


def _shape_is_free(family: Family) -> bool:
    return isinstance(family, NegativeBinomial) and family.theta is None


@dataclass(frozen=True, eq=False)
class Point:
    """Laplace's criterion at some parameters.

    Attributes
    ----------
    laplace : Laplace
    psi : numpy.ndarray, shape (P,)
    given : Given
    mode : Mode
    """

    laplace: Laplace
    psi: np.ndarray
    given: Given
    mode: Mode

    @cached_property
    def determinant(self) -> Any:
        """H at the weights of the determinant."""
        if self.given.family.is_canonical or self.laplace.determinant == "observed":
            return self.mode.system
        return system_of(self.laplace.rows, self.expected_products, self.given.factors)

    @cached_property
    def expected_products(self) -> Any:
        """`Rows.products` at the expected weights."""
        phi = self.given.phi
        return self.total(lambda here: here.given.rows.products(here.at.expected / phi))

    def total(self, of: Callable[[RowsAt], Any]) -> Any:
        """Return the sum over the partitions of what `of` computes from their rows at the mode."""
        return total_at(self.given, self.mode.u, self.mode.kept, of)

    def weights(self, here: RowsAt) -> tuple[np.ndarray, np.ndarray]:
        """Return the determinant's weights times φ, and their derivatives by η, each (n,)."""
        at = here.at
        if self.laplace.determinant == "observed":
            return at.d2, at.d3
        return at.expected, at.expected_d1

    @cached_property
    def deviance(self) -> float:
        """2ΣD at the mode."""
        return 2.0 * self.mode.value

    @cached_property
    def phi(self) -> float:
        """The dispersion; with lme4's criterion the deviance over the sum of the weights."""
        if self.laplace.is_lme4s:
            return self.deviance / self._denominator
        return self.given.phi

    @cached_property
    def pearson(self) -> float:
        """Pearson's statistic."""
        family = self.given.family

        def of(here: RowsAt) -> float:
            observed, mu = here.given.rows.observed, family.mean(here.eta)
            return float((observed.weights * (observed.y - mu) ** 2 / family.variance(mu)).sum())

        return float(self.total(of))

    @property
    def _denominator(self) -> float:
        rows = self.laplace.rows
        if self.given.family.name == "gaussian":
            return float(rows.n)
        return float(rows.total(lambda part: part.observed.weights.sum()))

    @cached_property
    def criterion(self) -> float:
        """−2 log likelihood by Laplace's approximation, all constants included."""
        u = self.mode.u
        constant = self.laplace.saturated
        if constant is None:
            constant = self.laplace.constant(self.given.family, self.phi).value
        value = self.deviance / self.phi + constant + float(u @ u) + self.determinant.logdet
        return (
            value + 2.0 * self.laplace.is_lme4s
        )  # lme4's aic() counts the dispersion as a parameter

    def closed(self) -> Point:
        """Return the point without the source of its rows; what a fit is asked for is computed.

        The point itself where the rows are kept, or where it has none already.
        """
        source = self.laplace.rows.source
        if source is None or source.closed() is source:
            return self
        known = ("criterion", "determinant", "curvature", "slopes", "movement", "factor_slopes")
        values = {name: getattr(self, name) for name in known}
        rows = self.laplace.rows.closed()
        laplace, given = replace(self.laplace, rows=rows), replace(self.given, rows=rows)
        laplace.__dict__["saturated"] = self.laplace.saturated
        mode = replace(self.mode, system=self.mode.system.closed(rows))
        same = self.determinant is self.mode.system
        values["determinant"] = mode.system if same else self.determinant.closed(rows)
        values["expected_products"] = None if same else self.expected_products
        values["phi"] = self.phi
        if laplace.dispersion == "lme4":
            values["pearson"] = self.pearson
        made = Point(laplace, self.psi, given, mode)
        made.__dict__.update(values)
        return made

    @property
    def noise(self) -> float:
        """Monte-Carlo standard error of the criterion; 0 where it is exact."""
        return float(self.determinant.logdet_error)

    @property
    def center(self) -> Point:
        """The point itself, as other criteria have one at their center."""
        return self

    @property
    def start(self) -> np.ndarray:
        """The mode, from which that of a neighbouring point is searched, (N,)."""
        return self.mode.u

    @cached_property
    def curvature(self) -> Curvature:
        """Approximate second derivatives, and how the mode moves."""
        return Curvature.of(self)

    def second_derivatives(self) -> np.ndarray | None:
        """Return the exact second derivatives by ψ, (P, P), where formulas give them; else None."""
        rows, family = self.laplace.rows, self.given.family
        direct = rows.probing is None and rows.source is None and not rows.structured
        if not direct or self.laplace.extra or family.has_dispersion:
            return None
        return second_derivatives(self)

    @cached_property
    def leverages(self) -> np.ndarray:
        """Conditional variance of each row's η given β, (n,)."""
        return np.asarray(self.determinant.leverages(self.mode.rows.given.rows))

    @cached_property
    def slopes(self) -> Slopes:
        """Sums over the rows at the mode, with the leverages."""
        share = self._deviance_share

        def of(here: RowsAt) -> tuple[Any, ...]:
            rows, at, phi = here.given.rows, here.at, here.given.phi
            kept = here is self.mode.kept
            s = self.leverages if kept else self.determinant.leverages(rows)
            weights, moved = self.weights(here)
            v = s * moved / phi + 2.0 * (share - 1.0) * at.d1
            Q = rows.basis.Q
            made = (rows.spread(v), Q.T @ v, Q.T @ at.d1, float(s @ weights))
            return (*made, self._shape_slopes(here, s)) if self.laplace.extra == "shape" else made

        return Slopes(*self.total(of))

    def _shape_slopes(self, here: RowsAt, s: np.ndarray) -> tuple[np.ndarray, float]:
        """Return Z' times the derivatives of D' by the log of the shape, and the criterion's."""
        family, rows = here.given.family, here.given.rows
        if not isinstance(family, NegativeBinomial):
            return np.zeros(rows.n_effects), 0.0
        slopes = family.shape_slopes(rows.observed, here.eta)
        weights = slopes.d2 if self.laplace.determinant == "observed" else slopes.expected
        return rows.spread(slopes.d1), float(slopes.criterion + s @ weights)

    @cached_property
    def movement(self) -> Movement:
        """What the weights' movement adds to the gradient."""
        given, sums = self.given, self.slopes
        r = self.mode.system.solve(given.scaled_back(sums.v)[:, None])[:, 0]
        moved = given.scaled(r)

        def of(here: RowsAt) -> tuple[np.ndarray, np.ndarray]:
            rows = here.given.rows
            carried = here.at.d2 / given.phi * rows.predictor(moved)
            return rows.spread(carried), rows.basis.Q.T @ carried

        by_effects, by_fixed = self.total(of)
        return Movement(r, sums.v - by_effects, sums.fixed_v - by_fixed)

    @property
    def _deviance_share(self) -> float:
        """Derivative of −2 log f by the deviance: 1/φ at φ = 1, or lme4's."""
        if not self.laplace.is_lme4s:
            return 1.0
        return self.laplace.constant(self.given.family, self.phi).slope / self.deviance

    @cached_property
    def factor_slopes(self) -> list[np.ndarray]:
        """Derivative of the criterion by each block's Λ, (q, q)."""
        rows, movement = self.laplace.rows, self.movement
        slopes = self.mode.slopes / self.given.phi
        parts = zip(
            rows.parts(2.0 * slopes + movement.by_effects),
            rows.parts(self.mode.u),
            rows.parts(slopes),
            rows.parts(movement.r),
            self.determinant.factor_slopes(),
            strict=True,
        )
        return [
            total_j @ u_j.T + 2.0 * trace - slope_j @ r_j.T
            for total_j, u_j, slope_j, r_j, trace in parts
        ]

    @cached_property
    def gradient(self) -> np.ndarray:
        """Derivative of the criterion by ψ, (P,)."""
        rows, p = self.laplace.rows, self.laplace.rows.p
        by_beta = 2.0 * self.slopes.fixed / self.given.phi + self.movement.by_fixed
        made = [by_beta, rows.slopes(self.psi[p : p + rows.n_theta], self.factor_slopes)]
        if self.laplace.extra:
            made.append(np.array([self._extra_slope(self.movement.r)]))
        return np.concatenate(made)

    def _extra_slope(self, r: np.ndarray) -> float:
        """Return the derivative by log φ or by the log of the shape."""
        given = self.given
        if self.laplace.extra == "dispersion":
            constant = self.laplace.constant(given.family, given.phi).slope
            leverage = self.slopes.leverage / given.phi
            return float(-self.deviance / given.phi + constant - leverage - r @ self.mode.u)
        carried, criterion = self.slopes.shape
        return float(criterion - r @ given.scaled_back(carried))


@dataclass(frozen=True, eq=False)
class Slopes:
    """Sums over the rows at a mode, of v as in the equations above.

    Attributes
    ----------
    v : numpy.ndarray, shape (N,)
        Z'v.
    fixed_v, fixed : numpy.ndarray, each (p,)
        X'v and X'D'.
    leverage : float
        Σ s w.
    shape : tuple of numpy.ndarray, (N,), and float
        Where the shape is estimated: Z' times the derivatives of D' by its log, and the
        derivative of the criterion at fixed u.
    """

    v: np.ndarray
    fixed_v: np.ndarray
    fixed: np.ndarray
    leverage: float
    shape: tuple[np.ndarray, float] = (np.zeros(0), 0.0)


@dataclass(frozen=True, eq=False)
class Movement:
    """What the movement of the weights adds to the gradient, with r and t as above.

    Attributes
    ----------
    r : numpy.ndarray, shape (N,)
    by_effects : numpy.ndarray, shape (N,)
        Z't.
    by_fixed : numpy.ndarray, shape (p,)
        X't.
    """

    r: np.ndarray
    by_effects: np.ndarray
    by_fixed: np.ndarray
