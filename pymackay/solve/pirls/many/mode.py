"""`find_modes`: the modes of the random effects of many responses, found side by side.

What `pymackay.solve.pirls.mode` does for one response. A response whose mode is not found has nan
in its place; the single search, which has more remedies, is then asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from pymackay.family.family import Expansion, Family, Observations, expand_in_parts
from pymackay.solve.linalg.batch import cholesky, inverse_lower, product
from pymackay.solve.pirls.batch.points import STILL
from pymackay.solve.pirls.many.design import OneFactor

_ROUNDS, _HALVINGS = 40, 12
_STALLED = 1e-13  # the same, from which decrements that shrink no more are rounding
_RISE = 1e-13  # of the penalised deviance: a rise that rounding makes
_SPLIT = 0.3  # share of responses that have arrived, from which the others go on alone


@dataclass(frozen=True, eq=False)
class Samples:
    """Some responses to one design.

    Attributes
    ----------
    design : OneFactor
    family : Family
    y : numpy.ndarray, shape (n, B)
    """

    design: OneFactor
    family: Family
    y: np.ndarray

    def __len__(self) -> int:
        return self.y.shape[1]

    def take(self, which: np.ndarray) -> Samples:
        """Return some of the responses."""
        return replace(self, y=np.ascontiguousarray(self.y[:, which]))

    def observed(self, which: int) -> Observations:
        """Return one response."""
        return replace(self.design.rows.observed, y=self.y[:, which])

    @cached_property
    def flat(self) -> Observations:
        """All responses in one long vector, (n B,)."""
        shared, B = self.design.rows.observed, len(self)
        weights, totals = np.repeat(shared.weights, B), np.repeat(shared.totals, B)
        return Observations(self.y.ravel(), weights, totals)

    def expand(self, eta: np.ndarray) -> Expansion:
        """Return the half deviances, each field (n, B); nan for responses with illegal means."""
        with np.errstate(all="ignore"):
            at = expand_in_parts(self.family, self.flat, eta.ravel())
        if not self.family.is_legal(eta):
            illegal = [not self.family.is_legal(column) for column in eta.T]
            at.value.reshape(eta.shape)[:, illegal] = np.nan
        names = at.__dataclass_fields__
        return Expansion(**{name: getattr(at, name).reshape(eta.shape) for name in names})


@dataclass(frozen=True, eq=False)
class Systems:
    """H of each response, level by level; nan where it is not positive definite.

    Attributes
    ----------
    A : numpy.ndarray, shape (q, q, J, B)
        ``Z_j'WZ_j``.
    factor : numpy.ndarray, shape (q, q, B)
        Λ.
    root : numpy.ndarray, shape (q, q, J, B)
        Inverse of the Cholesky factor of ``I + Λ'A_jΛ``.
    logdet : numpy.ndarray, shape (B,)
        log |H|.
    """

    A: np.ndarray
    factor: np.ndarray
    root: np.ndarray
    logdet: np.ndarray

    @classmethod
    def of(cls, design: OneFactor, weights: np.ndarray, factor: np.ndarray) -> Systems:
        """Return H at weights of shape (n, B) and factors of shape (q, q, B)."""
        A = design.gram(weights)
        wide = factor[:, :, None]
        M = product(product(wide.swapaxes(0, 1), A), wide)
        diagonal = np.arange(len(M))
        M[diagonal, diagonal] += 1.0
        L = cholesky(M)
        logdet = 2.0 * np.log(L[diagonal, diagonal]).sum(axis=(0, 1))
        return cls(A, factor, inverse_lower(L), logdet)

    @cached_property
    def half(self) -> np.ndarray:
        """``root Λ'``, (q, q, J, B)."""
        return product(self.root, self.factor.swapaxes(0, 1)[:, :, None])

    @cached_property
    def F(self) -> np.ndarray:
        """``Λ (I + Λ'A_jΛ)⁻¹ Λ'``, (q, q, J, B)."""
        return product(self.half.swapaxes(0, 1), self.half)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return ``H⁻¹ right`` for right of shape (q, k, J, B)."""
        return product(self.root.swapaxes(0, 1), product(self.root, right))


@dataclass(frozen=True, eq=False)
class Held:
    """What is held while modes are searched.

    Attributes
    ----------
    samples : Samples
    fixed : numpy.ndarray, shape (n, B)
        ``Xβ + offset``.
    factor : numpy.ndarray, shape (q, q, B)
        Λ.
    phi : numpy.ndarray, shape (B,)
    """

    samples: Samples
    fixed: np.ndarray
    factor: np.ndarray
    phi: np.ndarray

    @property
    def design(self) -> OneFactor:
        """The design."""
        return self.samples.design

    def take(self, which: np.ndarray) -> Held:
        """Return that of some responses."""
        return Held(
            self.samples.take(which),
            np.ascontiguousarray(self.fixed[:, which]),
            self.factor[:, :, which],
            self.phi[which],
        )

    def scaled(self, u: np.ndarray) -> np.ndarray:
        """Return ``Λu``, (q, J, B)."""
        return product(self.factor[:, :, None], u[:, None])[:, 0]

    def scaled_back(self, b: np.ndarray) -> np.ndarray:
        """Return ``Λ'b``, (q, J, B)."""
        return product(self.factor.swapaxes(0, 1)[:, :, None], b[:, None])[:, 0]

    def slope(self, d1: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return ``A'D'/φ + u``, (q, J, B)."""
        return self.scaled_back(self.design.spread(d1) / self.phi) + u

    def at(self, u: np.ndarray) -> Places:
        """Return the half deviances at effects u, (q, J, B)."""
        eta = self.fixed + self.design.gather(self.scaled(u))
        at = self.samples.expand(eta)
        value = at.value.sum(axis=0) / self.phi + 0.5 * (u * u).sum(axis=(0, 1))
        return Places(u, eta, at, np.where(np.isfinite(value), value, np.inf))


@dataclass(frozen=True, eq=False)
class Places:
    """Some effects of each response: u, (q, J, B), η, (n, B), and the penalised deviance, (B,)."""

    u: np.ndarray
    eta: np.ndarray
    at: Expansion
    value: np.ndarray

    def take(self, which: np.ndarray) -> Self:
        """Return those of some responses."""
        names = self.at.__dataclass_fields__
        at = Expansion(**{k: np.ascontiguousarray(getattr(self.at, k)[:, which]) for k in names})
        return replace(
            self, u=self.u[:, :, which], eta=self.eta[:, which], at=at, value=self.value[which]
        )

    def put(self, which: np.ndarray, others: Places) -> None:
        """Replace those of some responses, in place."""
        self.u[:, :, which], self.eta[:, which] = others.u, others.eta
        self.value[which] = others.value
        for name in self.at.__dataclass_fields__:
            getattr(self.at, name)[:, which] = getattr(others.at, name)


@np.errstate(all="ignore")
def find_modes(held: Held, start: np.ndarray, still: float | np.ndarray = STILL) -> Places:
    """Minimise each response's penalised deviance from effects of shape (q, J, B).

    `still` is the Newton decrement by 1 + |u|² that ends a search, one for all or (B,). The
    penalised deviance is nan where no mode was found.
    """
    here = held.at(start)
    lost = np.flatnonzero(~np.isfinite(here.value))
    if len(lost):
        here.put(lost, held.take(lost).at(np.zeros_like(start[:, :, lost])))
    return _descend(held, here, np.broadcast_to(still, here.value.shape), _ROUNDS)


def _descend(held: Held, here: Places, still: np.ndarray, rounds: int) -> Places:
    """Take Newton steps until all have arrived."""
    before = np.full(len(here.value), np.inf)
    arrived = np.zeros(len(before), dtype=bool)
    while rounds:
        rounds -= 1
        system = _system(held, here.at)
        slope = held.slope(here.at.d1, here.u)
        step = -system.solve(slope[:, None])[:, 0]
        gain = -(step * slope).sum(axis=(0, 1))
        size = 1.0 + (here.u * here.u).sum(axis=(0, 1))
        arrived |= (gain < still * size) | ((gain < _STALLED * size) & (gain > 0.25 * before))
        failed = ~arrived & ~(gain > 0.0)
        here.value[failed] = np.nan
        arrived |= failed
        if arrived.all():
            return here
        if arrived.mean() > _SPLIT:
            break
        step[:, :, arrived] = 0.0
        here = _moved(held, here, step)
        arrived |= ~np.isfinite(here.value)
        before = gain
    going = np.flatnonzero(~arrived)
    if rounds:
        here.put(going, _descend(held.take(going), here.take(going), still[going], rounds))
    else:
        here.value[going] = np.nan
    return here


def _system(held: Held, at: Expansion) -> Systems:
    """Return H at observed weights; where it is not positive, at expected ones of their rows."""
    system = Systems.of(held.design, at.d2 / held.phi, held.factor)
    lost = np.isnan(system.logdet)
    if held.samples.family.is_canonical or not lost.any():
        return system
    weights = np.where(lost & ~(at.d2 > 0.0), at.expected, at.d2)
    return Systems.of(held.design, weights / held.phi, held.factor)


def _moved(held: Held, here: Places, step: np.ndarray) -> Places:
    """Take each response's step, (q, J, B), halved until its penalised deviance falls."""
    trial = held.at(here.u + step)
    most = here.value + _RISE * (1.0 + np.abs(here.value))
    risen = np.flatnonzero(trial.value > most)
    length = 1.0
    for _ in range(_HALVINGS):
        if not len(risen):
            break
        length *= 0.5
        nearer = held.take(risen).at(here.u[:, :, risen] + length * step[:, :, risen])
        trial.put(risen, nearer)
        risen = risen[nearer.value > most[risen]]
    trial.value[risen] = np.nan
    return trial
