"""`Measured`: Laplace's criterion of many responses at their modes, with gradient and curvature.

The formulas are those of `pymackay.solve.pirls.criteria`, for designs with one grouping factor and
covariance matrices without structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymackay.solve.linalg.batch import product
from pymackay.solve.pirls.batch.points import STILL
from pymackay.solve.pirls.many.design import OneFactor
from pymackay.solve.pirls.many.mode import Held, Places, Samples, Systems, find_modes
from pymackay.solve.search.limits import LARGEST_LOG, LOG_STEP


@dataclass(frozen=True, eq=False)
class ManyLaplace:
    """Laplace's criterion of many responses to one design.

    Attributes
    ----------
    samples : Samples
    observed_weights : bool
        Whether log|H| takes observed weights, not expected ones.
    """

    samples: Samples
    observed_weights: bool

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def design(self) -> OneFactor:
        """The design."""
        return self.samples.design

    @property
    def levels(self) -> tuple[int, int]:
        """Effects per level and number of levels, (q, J)."""
        return self.design.levels

    def take(self, which: np.ndarray) -> ManyLaplace:
        """Return the criterion of some responses."""
        made = ManyLaplace(self.samples.take(which), self.observed_weights)
        if "saturated" in self.__dict__:
            made.__dict__["saturated"] = self.saturated[which]
        return made

    @property
    def places(self) -> list[tuple[int, int]]:
        """Row and column of each element of the factor, in the order of the parameters."""
        return [(a, b) for _, a, b in self.design.rows.places]

    @property
    def size(self) -> int:
        """Number of parameters, P."""
        return self.design.rows.p + len(self.places) + self.samples.family.has_dispersion

    @cached_property
    def saturated(self) -> np.ndarray:
        """−2 log likelihoods of the saturated models at dispersion one, (B,)."""
        family = self.samples.family
        each = (family.constant(self.samples.observed(k)).value for k in range(len(self)))
        return np.fromiter(each, float, len(self))

    def constants(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what dispersions, (B,), add to `saturated`, and the slopes by their logs, (B,).

        In the families that have a dispersion it does not depend on the response.
        """
        family = self.samples.family
        if not family.has_dispersion:
            return np.zeros(len(self)), np.zeros(len(self))
        first = self.samples.observed(0)
        at = [family.constant(first, value) for value in phi.tolist()]
        base = family.constant(first).value
        return np.array([c.value - base for c in at]), np.array([c.slope for c in at])

    def held(self, psi: np.ndarray) -> Held:
        """Return what parameters of shape (B, P) hold fixed."""
        rows, p = self.design.rows, self.design.rows.p
        factor = np.zeros((self.design.block.q,) * 2 + (len(psi),))
        for i, (a, b) in enumerate(self.places):
            factor[a, b] = psi[:, p + i]
        phi = np.ones(len(psi))
        if self.samples.family.has_dispersion:
            phi = np.exp(np.clip(psi[:, -1], -LARGEST_LOG, LARGEST_LOG))
        fixed = self.design.Q @ psi[:, :p].T + rows.offset[:, None]
        return Held(self.samples, fixed, factor, phi)

    def at(self, psi: np.ndarray, u: np.ndarray, still: float | np.ndarray = STILL) -> Measured:
        """Evaluate at parameters of shape (B, P); modes are searched from u, (q, J, B).

        `still` is the Newton decrement that ends the search for a mode.
        """
        held = self.held(psi)
        return Measured(self, held, find_modes(held, u, still))

    def with_modes(self, psi: np.ndarray, u: np.ndarray) -> Measured:
        """Evaluate with u, (q, J, B), for the modes."""
        held = self.held(psi)
        return Measured(self, held, held.at(u))


@dataclass(frozen=True, eq=False)
class Measured:
    """The criterion of B responses, each at its own parameters; nan where it has no value.

    Attributes
    ----------
    laplace : ManyLaplace
    held : Held
    mode : Places
    """

    laplace: ManyLaplace
    held: Held
    mode: Places

    @property
    def _design(self) -> OneFactor:
        return self.laplace.design

    @property
    def u(self) -> np.ndarray:
        """The modes, (q, J, B)."""
        return self.mode.u

    @cached_property
    def system(self) -> Systems:
        """H at the observed weights."""
        return Systems.of(self._design, self.mode.at.d2 / self.held.phi, self.held.factor)

    @cached_property
    def determinant(self) -> Systems:
        """H at the weights of the determinant."""
        if self.laplace.samples.family.is_canonical or self.laplace.observed_weights:
            return self.system
        weights = self.mode.at.expected / self.held.phi
        return Systems.of(self._design, weights, self.held.factor)

    @property
    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The determinant's weights times φ, and their derivatives by η, each (n, B)."""
        at = self.mode.at
        return (at.d2, at.d3) if self.laplace.observed_weights else (at.expected, at.expected_d1)

    @cached_property
    def deviance(self) -> np.ndarray:
        """2ΣD at the mode, (B,)."""
        return 2.0 * self.mode.at.value.sum(axis=0)

    @cached_property
    def _constants(self) -> tuple[np.ndarray, np.ndarray]:
        return self.laplace.constants(self.held.phi)

    @cached_property
    def criterion(self) -> np.ndarray:
        """−2 log likelihoods by Laplace's approximation, all constants included, (B,)."""
        constant = self.laplace.saturated + self._constants[0]
        squares = (self.mode.u**2).sum(axis=(0, 1))
        value = self.deviance / self.held.phi + constant + squares + self.determinant.logdet
        return np.where(np.isfinite(self.mode.value), value, np.nan)

    @cached_property
    def gradient(self) -> np.ndarray:
        """Derivatives by the parameters, (B, P)."""
        held, design, d1 = self.held, self._design, self.mode.at.d1 / self.held.phi
        leverages = design.quadratic(self.determinant.F)
        v = leverages * self._weights[1] / held.phi
        r = self.system.solve(held.scaled_back(design.spread(v))[:, None])[:, 0]
        total = 2.0 * d1 + v - self.mode.at.d2 / held.phi * design.gather(held.scaled(r))
        made = [design.Q.T @ total, self._factor_slopes(design.spread(total), d1, r)]
        if self.laplace.samples.family.has_dispersion:
            lost = (leverages * self._weights[0]).sum(axis=0) / held.phi
            lost = lost + (r * self.mode.u).sum(axis=(0, 1))
            made.append((self._constants[1] - self.deviance / held.phi - lost)[None])
        return np.ascontiguousarray(np.concatenate(made).T)

    def _factor_slopes(self, spread: np.ndarray, d1: np.ndarray, r: np.ndarray) -> np.ndarray:
        """Return the derivatives by the elements of Λ, (k, B).

        `spread`, (q, J, B), is Z' times the derivative by η, d1, (n, B), is D'/φ, r, (q, J, B), is
        ``H⁻¹A'v``.
        """
        system, u, slopes = self.determinant, self.mode.u, self._design.spread(d1)
        trace = product(system.A, product(system.half.swapaxes(0, 1), system.root)).sum(axis=2)
        rows = [
            (spread[a] * u[b] - slopes[a] * r[b]).sum(axis=0) + 2.0 * trace[a, b]
            for a, b in self.laplace.places
        ]
        return np.array(rows)

    @cached_property
    def _crosses(self) -> np.ndarray:
        """``h_uψ``, (q, P, J, B)."""
        held, design, u = self.held, self._design, self.mode.u
        weights = self.mode.at.d2 / held.phi
        slopes = design.spread(self.mode.at.d1 / held.phi)
        back = held.factor.swapaxes(0, 1)[:, :, None]
        parts = [product(back, design.crossed(weights))]
        for a, b in self.laplace.places:
            column = product(back, self.system.A[:, a, None] * u[b])
            column[b, 0] += slopes[a]
            parts.append(column)
        if self.laplace.samples.family.has_dispersion:
            parts.append(u[:, None])
        return np.concatenate(parts, axis=1)

    @cached_property
    def mode_slopes(self) -> np.ndarray:
        """Derivatives of the modes by the parameters, (q, P, J, B)."""
        return -self.system.solve(self._crosses)

    @cached_property
    def curvature(self) -> np.ndarray:
        """Approximate second derivatives by the parameters, (B, P, P)."""
        q, P, J, B = self._crosses.shape
        first = np.ascontiguousarray(self._crosses.transpose(3, 1, 0, 2)).reshape(B, P, q * J)
        second = np.ascontiguousarray(self.mode_slopes.transpose(3, 0, 2, 1)).reshape(B, q * J, P)
        made = 2.0 * (self._inner() + first @ second)
        p, k = self._design.rows.p, len(self.laplace.places)
        made[:, p : p + k, p : p + k] += self._of_determinant()
        return 0.5 * (made + made.swapaxes(1, 2))

    def _inner(self) -> np.ndarray:
        """Return half the second derivatives of the deviance at fixed u, (B, P, P)."""
        held, design, u, at = self.held, self._design, self.mode.u, self.mode.at
        p, places, P = design.rows.p, self.laplace.places, self.laplace.size
        weights, d1 = at.d2 / held.phi, at.d1 / held.phi
        crossed, A, slopes = design.crossed(weights), self.system.A, design.spread(d1)
        made = np.zeros((P, P, len(self.laplace)))
        made[:p, :p] = design.inner(weights)
        for i, (a, b) in enumerate(places):
            made[:p, p + i] = made[p + i, :p] = (crossed[a] * u[b]).sum(axis=1)
            for j, (c, d) in enumerate(places[: i + 1]):
                made[p + i, p + j] = made[p + j, p + i] = (A[a, c] * u[b] * u[d]).sum(axis=0)
        if self.laplace.samples.family.has_dispersion:
            elements = [(slopes[a] * u[b]).sum(axis=0) for a, b in places]
            made[-1, :-1] = made[:-1, -1] = -np.concatenate([design.Q.T @ d1, elements])
            above, below = (
                self.laplace.constants(held.phi * np.exp(d))[1] for d in (LOG_STEP, -LOG_STEP)
            )
            made[-1, -1] = 0.5 * self.deviance / held.phi + 0.25 * (above - below) / LOG_STEP
        return made.transpose(2, 0, 1)

    def _of_determinant(self) -> np.ndarray:
        """Return the second derivatives of log|H| by the factor at fixed weights, (B, k, k)."""
        system, places = self.determinant, self.laplace.places
        N = -product(system.A, system.F)
        diagonal = np.arange(len(N))
        N[diagonal, diagonal] += 1.0
        T = product(N, system.A)
        wide = system.factor[:, :, None]
        TL = product(T, wide)
        LTL = product(wide.swapaxes(0, 1), TL)
        made = np.empty((len(places), len(places), len(self.laplace)))
        for i, (a, b) in enumerate(places):
            for j, (c, d) in enumerate(places):
                value = -TL[c, b] * TL[a, d] - LTL[b, d] * T[a, c]
                made[i, j] = 2.0 * (value + T[a, c] * (b == d)).sum(axis=0)
        return made.transpose(2, 0, 1)
