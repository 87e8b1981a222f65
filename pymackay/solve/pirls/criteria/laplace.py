"""`Laplace`: the criterion at given parameters, with its exact gradient.

The derivatives follow from the implicit function theorem (Skaug & Fournier 2006, Comput. Stat.
Data Anal. 51, sec. 2; Kristensen et al. 2016, J. Stat. Softw. 70(5), eq. 5), written for blocks.
With ``v = s w'/φ``, ``r = H⁻¹A'v`` and ``t = v − (D''/φ) A r``:

- by β: ``X'(2D'/φ + t)``;
- by Λ: ``Σ_j (Z'(2D'/φ + t))_j u_j' + 2 Σ_j T_j Λ − Σ_j (Z'D'/φ)_j r_j'``;
- by log φ: ``−2ΣD/φ + c' − Σ s w/φ − r'u``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pymackay.family.family import Family
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.solve.pirls.criteria.curvature import Curvature
from pymackay.solve.pirls.mode import Given, Mode, find_mode, lowest_mode, mode_at
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.system import system_of

DISPERSIONS = ("ml", "lme4")
DETERMINANTS = ("expected", "observed")
_LARGEST_LOG = 100.0  # of a dispersion or shape: where a search may look, far from any estimate


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
    """

    rows: Rows
    family: Family
    determinant: str = "expected"
    dispersion: str = "ml"

    @property
    def extra(self) -> str:
        """What ψ holds besides β and factors: "dispersion", "shape" or nothing."""
        if self.family.has_dispersion and self.dispersion == "ml":
            return "dispersion"
        return "shape" if _shape_is_free(self.family) else ""

    @property
    def is_lme4s(self) -> bool:
        """Whether it is lme4's criterion of a family with a dispersion, which is no likelihood."""
        return self.family.has_dispersion and self.dispersion == "lme4"

    @cached_property
    def saturated(self) -> float | None:
        """−2 log likelihood of the saturated model, where no parameter changes it."""
        if self.extra or self.family.has_dispersion:
            return None
        return self.family.constant(self.rows.observed).value

    @property
    def size(self) -> int:
        """Number of parameters ψ."""
        return self.rows.p + self.rows.n_theta + bool(self.extra)

    def given(self, psi: np.ndarray) -> Given:
        """Return what ψ, shape (size,), holds fixed in the search for the mode."""
        rows, p, k = self.rows, self.rows.p, self.rows.n_theta
        family, phi = self.family, 1.0
        if self.extra:
            value = float(np.exp(np.clip(psi[-1], -_LARGEST_LOG, _LARGEST_LOG)))
            if isinstance(family, NegativeBinomial):
                family = family.with_shape(value)
            else:
                phi = value
        fixed = rows.basis.Q @ psi[:p] + rows.offset
        return Given(rows, family, fixed, rows.block_factors(psi[p : p + k]), phi)

    def at(self, psi: np.ndarray, u: np.ndarray | None = None) -> Point:
        """Evaluate at ψ; the mode is searched from u, shape (N,).

        By default it is searched from zero; if a density is not log-concave, the lowest of several
        modes is taken.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the criterion has no value there.
        """
        given = self.given(psi)
        if u is not None:
            return Point(self, psi, given, find_mode(given, u))
        search = find_mode if self.family.is_log_concave else lowest_mode
        return Point(self, psi, given, search(given, np.zeros(self.rows.n_effects)))

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
        weights = self.mode.at.expected / self.given.phi
        return system_of(self.laplace.rows, weights, self.given.factors)

    @property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The determinant's weights times φ, and their derivatives by η, each (n,)."""
        at = self.mode.at
        if self.laplace.determinant == "observed":
            return at.d2, at.d3
        return at.expected, at.expected_d1

    @cached_property
    def deviance(self) -> float:
        """2ΣD at the mode."""
        return 2.0 * float(self.mode.at.value.sum())

    @property
    def phi(self) -> float:
        """The dispersion; with lme4's criterion the deviance over the sum of the weights."""
        if self.laplace.is_lme4s:
            return self.deviance / self._denominator
        return self.given.phi

    @property
    def _denominator(self) -> float:
        observed = self.laplace.rows.observed
        if self.given.family.name == "gaussian":
            return float(len(observed.y))
        return float(observed.weights.sum())

    @cached_property
    def criterion(self) -> float:
        """−2 log likelihood by Laplace's approximation, all constants included."""
        u = self.mode.u
        constant = self.laplace.saturated
        if constant is None:
            constant = self.given.family.constant(self.laplace.rows.observed, self.phi).value
        value = self.deviance / self.phi + constant + float(u @ u) + self.determinant.logdet
        return (
            value + 2.0 * self.laplace.is_lme4s
        )  # lme4's aic() counts the dispersion as a parameter

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

    @cached_property
    def leverages(self) -> np.ndarray:
        """Conditional variance of each row's η given β, (n,)."""
        return self.determinant.leverages()

    @cached_property
    def movement(self) -> tuple[np.ndarray, np.ndarray]:
        """``r = H⁻¹A'v``, (N,), and t, (n,): what the weights' movement adds to the gradient."""
        given, at, system = self.given, self.mode.at, self.mode.system
        v = self.leverages * self.weights[1] / given.phi
        v = v + 2.0 * (self._deviance_share - 1.0) * at.d1
        r = system.solve(given.scaled_back(given.rows.spread(v))[:, None])[:, 0]
        Ar = given.rows.predictor(given.scaled(r))
        return r, v - at.d2 / given.phi * Ar

    @property
    def _deviance_share(self) -> float:
        """Derivative of −2 log f by the deviance: 1/φ at φ = 1, or lme4's."""
        if not self.laplace.is_lme4s:
            return 1.0
        slope = self.given.family.constant(self.laplace.rows.observed, self.phi).slope
        return slope / self.deviance

    @cached_property
    def factor_slopes(self) -> list[np.ndarray]:
        """Derivative of the criterion by each block's Λ, (q, q)."""
        rows, given, at = self.laplace.rows, self.given, self.mode.at
        r, t = self.movement
        total = 2.0 * at.d1 / given.phi + t
        spread, slopes = rows.parts(rows.spread(total)), rows.parts(rows.spread(at.d1 / given.phi))
        parts = zip(
            spread,
            rows.parts(self.mode.u),
            slopes,
            rows.parts(r),
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
        r, t = self.movement
        by_beta = rows.basis.Q.T @ (2.0 * self.mode.at.d1 / self.given.phi + t)
        made = [by_beta, rows.slopes(self.psi[p : p + rows.n_theta], self.factor_slopes)]
        if self.laplace.extra:
            made.append(np.array([self._extra_slope(r)]))
        return np.concatenate(made)

    def _extra_slope(self, r: np.ndarray) -> float:
        """Return the derivative by log φ or by the log of the shape."""
        rows, given = self.laplace.rows, self.given
        if self.laplace.extra == "dispersion":
            constant = given.family.constant(rows.observed, given.phi).slope
            leverage = float(self.leverages @ self.weights[0]) / given.phi
            return float(-self.deviance / given.phi + constant - leverage - r @ self.mode.u)
        family = given.family
        if not isinstance(family, NegativeBinomial):
            return 0.0
        slopes = family.shape_slopes(rows.observed, self.mode.eta)
        observed = self.laplace.determinant == "observed"
        weights = slopes.d2 if observed else slopes.expected
        carried = r @ given.scaled_back(rows.spread(slopes.d1))
        return float(slopes.criterion + self.leverages @ weights - carried)
