"""`DenseLaplace`: Laplace's criterion at many parameters side by side, for designs of few rows.

The formulas are those of `pymackay.solve.pirls.criteria`, with ``A = ZΛ = Σ_i λ_i G_i`` as dense
matrices, (n, N), so that they hold for any number of grouping factors. Only rough ends of searches
are made of it: the random effects are at one mode, which need not be the lowest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pymackay.family.family import Expansion, Observations
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.search.limits import LARGEST_LOG, LOG_STEP

_ROUNDS, _HALVINGS = 40, 12
_STALLED = (
    1e-13  # Newton decrement by 1 + |u|², from which decrements that shrink no more are rounding
)
_RISE = 1e-13  # of the penalised deviance: a rise that rounding makes


@dataclass(frozen=True, eq=False)
class DenseLaplace:
    """Laplace's criterion of one response, for B parameters at a time.

    Attributes
    ----------
    laplace : Laplace
        Without structures of covariance matrices, and without an estimated shape.
    G : numpy.ndarray, shape (k, n, N)
        Derivative of A by each element of the factors.
    count : int
        B.
    """

    laplace: Laplace
    G: np.ndarray
    count: int

    @classmethod
    def of(cls, laplace: Laplace, count: int) -> DenseLaplace:
        """Return the criterion for a number of parameters."""
        return cls(laplace, _element_designs(laplace.rows), count)

    def __len__(self) -> int:
        return self.count

    def take(self, which: np.ndarray) -> DenseLaplace:
        """Return the criterion for some of the parameters."""
        return replace(self, count=len(np.arange(self.count)[which]))

    @property
    def levels(self) -> tuple[int, int]:
        """Shape of the effects of one member, (N, 1)."""
        return self.G.shape[2], 1

    def at(self, psi: np.ndarray, u: np.ndarray, still: float | np.ndarray) -> DensePoints:
        """Evaluate at parameters of shape (B, P); modes are searched from u, (N, 1, B).

        `still` is the Newton decrement by 1 + |u|² that ends the search for a mode, or one for each
        of them.
        """
        rows, p = self.laplace.rows, self.laplace.rows.p
        phi = np.ones(len(psi))
        if self.laplace.extra == "dispersion":
            phi = np.exp(np.clip(psi[:, -1], -LARGEST_LOG, LARGEST_LOG))
        A = np.tensordot(psi[:, p : p + len(self.G)], self.G, axes=1)
        held = _Held(self.laplace, psi[:, :p] @ rows.basis.Q.T + rows.offset, A, phi)
        limit = np.broadcast_to(still, len(psi))
        return DensePoints(self.laplace, self.G, held, _modes(held, u[:, 0].T.copy(), limit))


def _element_designs(rows: Rows) -> np.ndarray:
    """Return the derivative of ZΛ by each element of the factors, (k, n, N)."""
    made = np.zeros((len(rows.places), rows.n, rows.n_effects))
    for G, (k, a, b) in zip(made, rows.places, strict=True):
        block = rows.blocks[k]
        columns = rows.spans[k].start + b * block.n_levels + block.codes
        G[np.arange(rows.n), columns] = block.columns[a]
    return made


@dataclass(frozen=True, eq=False)
class _Held:
    """What is held while modes are searched: ``Xβ + offset``, (B, n), A, (B, n, N), and φ, (B,)."""

    laplace: Laplace
    fixed: np.ndarray
    A: np.ndarray
    phi: np.ndarray

    def take(self, which: np.ndarray) -> _Held:
        return _Held(self.laplace, self.fixed[which], self.A[which], self.phi[which])

    def expand(self, u: np.ndarray) -> tuple[Expansion, np.ndarray]:
        """Return the half deviances at u, (B, N), fields (B, n), and the penalised deviance, (B,).

        The penalised deviance is infinite where a mean is one that the family cannot have.
        """
        family, observed = self.laplace.family, self.laplace.rows.observed
        eta = self.fixed + _times(self.A, u)
        legal = np.isfinite(eta).all(axis=1)
        if family.is_bounded:
            legal &= (eta > 0.0).all(axis=1)
        eta = np.where(legal[:, None], eta, 1.0)
        copies = (np.tile(v, len(u)) for v in (observed.y, observed.weights, observed.totals))
        at = family.expand(Observations(*copies), eta.ravel())
        at = Expansion(**{k: getattr(at, k).reshape(eta.shape) for k in at.__dataclass_fields__})
        value = at.value.sum(axis=1) / self.phi + 0.5 * (u * u).sum(axis=1)
        return at, np.where(legal & np.isfinite(value), value, np.inf)

    def information(self, weights: np.ndarray) -> np.ndarray:
        """Return ``A'WA/φ + I``, (B, N, N), for weights of shape (B, n)."""
        made = self.A.swapaxes(1, 2) @ ((weights / self.phi[:, None])[:, :, None] * self.A)
        diagonal = np.arange(made.shape[1])
        made[:, diagonal, diagonal] += 1.0
        return made

    def slope(self, at: Expansion, u: np.ndarray) -> np.ndarray:
        """Return ``A'D'/φ + u``, (B, N)."""
        return _times(self.A.swapaxes(1, 2), at.d1 / self.phi[:, None]) + u


@dataclass(frozen=True, eq=False)
class _Modes:
    """Effects, (B, N), expansions there, (B, n), and the penalised deviance, (B,), nan for none."""

    u: np.ndarray
    at: Expansion
    value: np.ndarray

    @classmethod
    def of(cls, held: _Held, u: np.ndarray) -> _Modes:
        return cls(u, *held.expand(u))

    def take(self, which: np.ndarray) -> _Modes:
        names = self.at.__dataclass_fields__
        at = Expansion(**{name: getattr(self.at, name)[which] for name in names})
        return _Modes(self.u[which], at, self.value[which])

    def put(self, which: np.ndarray, others: _Modes) -> None:
        self.u[which], self.value[which] = others.u, others.value
        for name in self.at.__dataclass_fields__:
            getattr(self.at, name)[which] = getattr(others.at, name)


def _modes(held: _Held, u: np.ndarray, still: np.ndarray) -> _Modes:
    """Minimise each penalised deviance by Newton steps from u, (B, N)."""
    made = _Modes.of(held, u)
    lost = np.flatnonzero(~np.isfinite(made.value))
    if len(lost):
        made.put(lost, _Modes.of(held.take(lost), np.zeros_like(u[lost])))
    going = np.flatnonzero(np.isfinite(made.value))
    made.value[~np.isfinite(made.value)] = np.nan
    here, now, before = held.take(going), made.take(going), np.full(len(going), np.inf)
    for _ in range(_ROUNDS):
        step, gain = _newton_steps(here, now.at, now.u)
        size = 1.0 + (now.u**2).sum(axis=1)
        ended = (gain < still[going] * size) | ((gain < _STALLED * size) & (gain > 0.25 * before))
        now.value[~np.isfinite(gain)] = np.nan
        ended |= np.isnan(now.value)
        if ended.any():
            made.put(going[ended], now.take(ended))
            moving = np.flatnonzero(~ended)
            if not len(moving):
                return made
            going, step, gain = going[moving], step[moving], gain[moving]
            here, now = here.take(moving), now.take(moving)
        now, before = _shortened(here, now, step), gain
    made.value[going] = np.nan
    return made


def _newton_steps(held: _Held, at: Expansion, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return steps, (B, N), and their decrements, (B,): by expected weights where others fail."""
    slope = held.slope(at, u)
    step = -_solved(held.information(at.d2), slope)
    gain = -(step * slope).sum(axis=1)
    if held.laplace.family.is_log_concave:
        return step, gain
    uphill = np.flatnonzero(~(gain >= 0.0))
    if len(uphill):
        weights = np.where(at.d2 > 0.0, at.d2, at.expected)[uphill]
        step[uphill] = -_solved(held.take(uphill).information(weights), slope[uphill])
        gain[uphill] = -(step[uphill] * slope[uphill]).sum(axis=1)
    return step, gain


def _shortened(held: _Held, before: _Modes, step: np.ndarray) -> _Modes:
    """Take steps, (B, N), halved until the penalised deviance falls; its value is nan if not."""
    most = before.value + _RISE * (1.0 + np.abs(before.value))
    made, length = _Modes.of(held, before.u + step), 1.0
    risen = np.flatnonzero(~(made.value <= most))
    for _ in range(_HALVINGS):
        if not len(risen):
            return made
        length *= 0.5
        nearer = _Modes.of(held.take(risen), before.u[risen] + length * step[risen])
        made.put(risen, nearer)
        risen = risen[~(nearer.value <= most[risen])]
    made.value[risen] = np.nan
    return made


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Multiply matrices, (B, n, N), by vectors, (B, N): (B, n)."""
    return np.asarray((matrices @ vectors[:, :, None])[:, :, 0])


def _solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve equations, (B, N, N), for right sides of shape (B, N); nan where they are singular."""
    try:
        return np.asarray(np.linalg.solve(matrices, right[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        return _times(_inverse(matrices), right)


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """Return inverses, (B, N, N); nan where there is none."""
    sign, _ = np.linalg.slogdet(matrices)
    usable = np.isfinite(sign) & (sign != 0.0)
    made = np.full_like(matrices, np.nan)
    made[usable] = np.linalg.inv(matrices[usable])
    return made


@dataclass(frozen=True, eq=False)
class DensePoints:
    """The criterion at B parameters, with gradient and curvature; nan where it has no value.

    Attributes
    ----------
    laplace : Laplace
    G : numpy.ndarray, shape (k, n, N)
    held : _Held
    modes : _Modes
    """

    laplace: Laplace
    G: np.ndarray
    held: _Held
    modes: _Modes

    @property
    def u(self) -> np.ndarray:
        """The modes, (N, 1, B)."""
        return self.modes.u.T[:, None]

    @cached_property
    def _deviance(self) -> np.ndarray:
        return 2.0 * self.modes.at.value.sum(axis=1)

    @cached_property
    def _dispersion(self) -> np.ndarray:
        """φ of the density, (B,): lme4's is the deviance over the sum of the weights."""
        if not self.laplace.is_lme4s:
            return self.held.phi
        observed = self.laplace.rows.observed
        gaussian = self.laplace.family.name == "gaussian"
        return self._deviance / (self.laplace.rows.n if gaussian else observed.weights.sum())

    def _constants(self, phi: np.ndarray) -> np.ndarray:
        """Return −2 log likelihoods of the saturated model at φ, (B,), and slopes by log φ."""
        if not self.laplace.family.has_dispersion:
            assert self.laplace.saturated is not None  # no parameter changes it
            return np.array([[self.laplace.saturated], [0.0]]) + np.zeros(len(phi))
        each = [self.laplace.constant(self.laplace.family, value) for value in phi.tolist()]
        return np.array([[c.value for c in each], [c.slope for c in each]])

    @cached_property
    def _constant(self) -> np.ndarray:
        return self._constants(self._dispersion)

    @cached_property
    def _inverse(self) -> np.ndarray:
        """H⁻¹ at the observed weights, (B, N, N)."""
        return _inverse(self.held.information(self.modes.at.d2))

    @property
    def _is_observed(self) -> bool:
        return self.laplace.family.is_canonical or self.laplace.determinant == "observed"

    @property
    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """The determinant's weights times φ, and their derivatives by η, each (B, n)."""
        at = self.modes.at
        return (at.d2, at.d3) if self._is_observed else (at.expected, at.expected_d1)

    @cached_property
    def _of_determinant(self) -> tuple[np.ndarray, np.ndarray]:
        """Log |H|, (B,), nan where it is not positive, and H⁻¹, at the determinant's weights."""
        H = self.held.information(self._weights[0])
        sign, value = np.linalg.slogdet(np.where(np.isfinite(H), H, 0.0))
        inverse = self._inverse if self._is_observed else _inverse(H)
        return np.where(sign > 0.0, value, np.nan), inverse

    @cached_property
    def criterion(self) -> np.ndarray:
        """−2 log likelihoods by Laplace's approximation, (B,)."""
        squares = (self.modes.u**2).sum(axis=1)
        made = self._deviance / self._dispersion + self._constant[0] + squares
        made = made + self._of_determinant[0] + 2.0 * self.laplace.is_lme4s
        return np.where(np.isfinite(self.modes.value), made, np.nan)

    @cached_property
    def gradient(self) -> np.ndarray:
        """Derivatives by the parameters, (B, P)."""
        held, at, u, phi = self.held, self.modes.at, self.modes.u, self.held.phi[:, None]
        leverages = np.einsum("bnm,bnm->bn", held.A @ self._of_determinant[1], held.A)
        weights, moved = self._weights
        share = 1.0
        if self.laplace.is_lme4s:
            share = (self._constant[1] / self._deviance)[:, None]
        v = leverages * moved / phi + 2.0 * (share - 1.0) * at.d1
        r = _times(self._inverse, _times(held.A.swapaxes(1, 2), v))
        d1 = at.d1 / phi
        total = 2.0 * d1 + v - at.d2 / phi * _times(held.A, r)
        made = [total @ self.laplace.rows.basis.Q, self._factor_slopes(total, d1, r)]
        if self.laplace.extra:
            lost = (leverages * weights / phi).sum(axis=1) + (r * u).sum(axis=1)
            made.append((self._constant[1] - self._deviance / self.held.phi - lost)[:, None])
        return np.concatenate(made, axis=1)

    def _factor_slopes(self, total: np.ndarray, d1: np.ndarray, r: np.ndarray) -> np.ndarray:
        """Return the derivatives by the elements of the factors, (B, k).

        ``(2D'/φ + t)'G u + 2 tr(H⁻¹A'WG) − (D'/φ)'G r``; `total`, (B, n), is 2D'/φ + t, d1 is D'/φ,
        and r, (B, N), is ``H⁻¹A'v``.
        """
        trace = np.einsum("bkmm->bk", self._crossed[1])
        u_part = np.einsum("bn,bkn->bk", total, self._moved(self.modes.u))
        r_part = np.einsum("bn,bkn->bk", d1, self._moved(r))
        return u_part + 2.0 * trace - r_part

    def _moved(self, u: np.ndarray) -> np.ndarray:
        """Return ``G_i u``, (B, k, n), for effects of shape (B, N)."""
        return np.moveaxis(self.G @ u.T, -1, 0)

    @cached_property
    def _crossed(self) -> tuple[np.ndarray, np.ndarray]:
        """``P_i = A'WG_i`` at the determinant's weights, and ``H⁻¹P_i``, each (B, k, N, N)."""
        weights = self._weights[0] / self.held.phi[:, None]
        weighted = (weights[:, :, None] * self.held.A).swapaxes(1, 2)
        P = weighted[:, None] @ self.G
        return P, self._of_determinant[1][:, None] @ P

    @cached_property
    def _slopes_of_eta(self) -> np.ndarray:
        """J = [X, G u], (B, n, p + k)."""
        Q = self.laplace.rows.basis.Q
        moved = self._moved(self.modes.u).swapaxes(1, 2)
        return np.concatenate([np.broadcast_to(Q, (len(moved), *Q.shape)), moved], axis=2)

    @cached_property
    def _mixed(self) -> np.ndarray:
        """``h_uψ``, (B, N, P)."""
        at, phi, p = self.modes.at, self.held.phi[:, None], self.laplace.rows.p
        weighted = (at.d2 / phi)[:, :, None] * self._slopes_of_eta
        made = self.held.A.swapaxes(1, 2) @ weighted
        made[:, :, p:] += np.einsum("knm,bn->bmk", self.G, at.d1 / phi)
        return np.concatenate([made, self.modes.u[:, :, None]], axis=2) if self._has_phi else made

    @property
    def _has_phi(self) -> bool:
        return self.laplace.extra == "dispersion"

    @cached_property
    def _mode_slopes(self) -> np.ndarray:
        """Derivatives of the modes by the parameters, (B, N, P)."""
        return np.asarray(-self._inverse @ self._mixed)

    @property
    def mode_slopes(self) -> np.ndarray:
        """Derivatives of the modes by the parameters, (N, P, 1, B)."""
        return np.moveaxis(self._mode_slopes, 0, -1)[:, :, None]

    @cached_property
    def curvature(self) -> np.ndarray:
        """Approximate second derivatives by the parameters, (B, P, P)."""
        p, k = self.laplace.rows.p, len(self.G)
        made = 2.0 * (self._inner() + self._mixed.swapaxes(1, 2) @ self._mode_slopes)
        made[:, p : p + k, p : p + k] += self._curvature_of_determinant()
        return 0.5 * (made + made.swapaxes(1, 2))

    def _inner(self) -> np.ndarray:
        """Return half the second derivatives of the deviance at fixed u, (B, P, P)."""
        at, phi, J = self.modes.at, self.held.phi[:, None], self._slopes_of_eta
        inner = J.swapaxes(1, 2) @ ((at.d2 / phi)[:, :, None] * J)
        if not self._has_phi:
            return np.asarray(inner)
        m = inner.shape[1]
        made = np.zeros((len(inner), m + 1, m + 1))
        made[:, :m, :m] = inner
        made[:, -1, :m] = made[:, :m, -1] = -np.einsum("bnm,bn->bm", J, at.d1 / phi)
        above, below = (
            self._constants(self.held.phi * np.exp(d))[1] for d in (LOG_STEP, -LOG_STEP)
        )
        made[:, -1, -1] = 0.5 * self._deviance / self.held.phi + 0.25 * (above - below) / LOG_STEP
        return made

    def _curvature_of_determinant(self) -> np.ndarray:
        """Return the second derivatives of log|H| by the factors at fixed weights, (B, k, k).

        ``2 tr(H⁻¹G_j'WG_i) − 2 tr(H⁻¹(P_j + P_j')H⁻¹P_i)``.
        """
        P, T = self._crossed
        inverse = self._of_determinant[1]
        weights = self._weights[0] / self.held.phi[:, None]
        spread = self.G @ inverse[:, None]
        first = np.einsum("bn,binm,jnm->bij", weights, spread, self.G, optimize=True)
        back = inverse[:, None] @ P.swapaxes(2, 3)
        second = np.einsum("bjac,bica->bij", T + back, T, optimize=True)
        return 2.0 * (first - second)
