"""`find_mode`: where the penalised deviance of the random effects is least; `lowest_mode`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.family.family import Expansion, Family, expand_in_parts
from pymackay.solve.pirls.moves import FALL, moved
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.system import system_of

_ROUNDS = 200
_HALVINGS = 30  # a step of a billionth: a mean stands at a bound
_STALLED = (
    1e-13  # Newton decrement by 1 + |u|², from which decrements that shrink no more are rounding
)
_MOVES = 6  # rounds in which single levels move to lower modes
_RISE = 1e-13  # of the penalised deviance: a rise that rounding makes


class NoMode(ConvergenceError, np.linalg.LinAlgError):
    """No mode of the random effects was found: there, the criterion has no value."""


@dataclass(frozen=True, eq=False)
class Mode:
    """The mode of the random effects at some parameters.

    Attributes
    ----------
    u : numpy.ndarray, shape (N,)
    eta : numpy.ndarray, shape (n,)
    at : Expansion
        Of the half deviances at `eta`.
    system : System or LargeSystem
        H at the observed weights.
    rounds : int
        Newton steps taken.
    """

    u: np.ndarray
    eta: np.ndarray
    at: Expansion
    system: Any
    rounds: int


@dataclass(frozen=True, eq=False)
class Given:
    """What is held while the mode is searched.

    Attributes
    ----------
    rows : Rows
    family : Family
    fixed : numpy.ndarray, shape (n,)
        ``Xβ + offset``.
    factors : list of numpy.ndarray, each (q, q)
        Λ of each block.
    phi : float
    """

    rows: Rows
    family: Family
    fixed: np.ndarray
    factors: list[np.ndarray]
    phi: float

    def scaled(self, u: np.ndarray) -> np.ndarray:
        """Return ``Λu``, (N,) or (N, k)."""
        parts = self.rows.parts(u)
        mixed = [_mixed(*pair) for pair in zip(self.factors, parts, strict=True)]
        return mixed[0] if len(mixed) == 1 else np.concatenate(mixed)

    def scaled_back(self, b: np.ndarray) -> np.ndarray:
        """Return ``Λ'b``, (N,) or (N, k)."""
        parts = self.rows.parts(b)
        pairs = zip(self.factors, parts, strict=True)
        mixed = [_mixed(factor.T, part) for factor, part in pairs]
        return mixed[0] if len(mixed) == 1 else np.concatenate(mixed)

    def predictor(self, u: np.ndarray) -> np.ndarray:
        """Return η, (n,)."""
        return self.fixed + self.rows.predictor(self.scaled(u))

    def expand(self, eta: np.ndarray) -> Expansion | None:
        """Return the half deviances, or None where a mean is one that the family cannot have."""
        if not self.family.is_legal(eta):
            return None
        at = expand_in_parts(self.family, self.rows.observed, eta)
        finite = np.isfinite(at.value.sum()) and np.isfinite(at.d2.sum())
        return at if finite and np.isfinite(at.d1.sum()) else None

    def penalised(self, at: Expansion, u: np.ndarray) -> float:
        """Return ``ΣD/φ + |u|²/2``."""
        return float(at.value.sum() / self.phi + 0.5 * u @ u)

    def slope(self, at: Expansion, u: np.ndarray) -> np.ndarray:
        """Return its derivative ``A'D'/φ + u``, (N,)."""
        return self.scaled_back(self.rows.spread(at.d1) / self.phi) + u


def _mixed(factor: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Multiply effects, (q, J, ...), by a factor, and lay them out flat."""
    if len(factor) == 1:
        return factor[0, 0] * part[0]
    return np.tensordot(factor, part, axes=1).reshape(-1, *part.shape[2:])


def mode_at(given: Given, u: np.ndarray) -> Mode:
    """Return the quantities of a mode at effects u, (N,), that are known to be near it.

    Raises
    ------
    NoMode
        If a mean is one that the family cannot have.
    numpy.linalg.LinAlgError
        If H is not positive definite there.
    """
    with np.errstate(all="ignore"):
        eta = given.predictor(u)
        at = given.expand(eta)
        if at is None:
            raise NoMode("a mean is one that the family cannot have")
        return Mode(u, eta, at, system_of(given.rows, at.d2 / given.phi, given.factors), 0)


def find_mode(given: Given, start: np.ndarray) -> Mode:
    """Minimise the penalised deviance by Newton steps, by expected weights where observed fail.

    The step solves ``H δ = −(A'D'/φ + u)``; it is halved until the penalised deviance falls and
    every mean is legal (Bates et al. 2015, J. Stat. Softw. 67(1), sec. 3, for the linear case).

    Parameters
    ----------
    given : Given
    start : numpy.ndarray, shape (N,)

    Raises
    ------
    NoMode
        If none is found.
    """
    with np.errstate(all="ignore"):
        return _find_mode(given, start)


def _find_mode(given: Given, start: np.ndarray) -> Mode:
    u = start
    eta = given.predictor(u)
    at = given.expand(eta)
    if at is None:
        u = np.zeros_like(start)
        eta = given.predictor(u)
        at = given.expand(eta)
    if at is None:
        raise NoMode("a mean is one that the family cannot have")
    value, before = given.penalised(at, u), np.inf
    for rounds in range(_ROUNDS):
        system, exact = _system(given, at)
        slope = given.slope(at, u)
        step = -system.solve(slope[:, None])[:, 0]
        gain, size = -float(step @ slope), 1.0 + float(u @ u)
        if gain < system.still * size or (gain < _STALLED * size and gain > 0.25 * before):
            system = system if exact else system_of(given.rows, at.d2 / given.phi, given.factors)
            return Mode(u, eta, at, system, rounds)
        u, eta, at, value = _shortened(given, u, step, value)
        before = gain
    raise NoMode(f"the mode of the random effects is not reached in {_ROUNDS} steps")


def _system(given: Given, at: Expansion) -> tuple[Any, bool]:
    """Return H at observed weights, and True; where it is not positive, at expected ones, False.

    Single observed weights may be negative: near the mode their sum with the penalty is positive.
    """
    try:
        return system_of(given.rows, at.d2 / given.phi, given.factors), True
    except np.linalg.LinAlgError:
        if given.family.is_canonical:
            raise
    weights = np.where(at.d2 > 0.0, at.d2, at.expected)
    return system_of(given.rows, weights / given.phi, given.factors), False


def _shortened(
    given: Given, u: np.ndarray, step: np.ndarray, value: float
) -> tuple[np.ndarray, np.ndarray, Expansion, float]:
    """Halve a step until the penalised deviance falls; return u, η, expansion and value there."""
    length = 1.0
    for _ in range(_HALVINGS):
        trial = u + length * step
        eta = given.predictor(trial)
        at = given.expand(eta)
        if at is not None:
            there = given.penalised(at, trial)
            if there <= value + _RISE * (1.0 + abs(value)):
                return trial, eta, at, there
        length *= 0.5
    raise NoMode("the mode lies where a mean reaches a bound")


def lowest_mode(given: Given, start: np.ndarray) -> Mode:
    """Return the mode with the lowest penalised deviance that is found.

    There may be several where a density is not a log-concave function of the linear predictor.

    Newton's steps begin at `start`, at zero, and where one weighted least-squares step from the
    response itself leads. Then single levels move.

    Parameters
    ----------
    given : Given
    start : numpy.ndarray, shape (N,)

    Raises
    ------
    NoMode
        If none is found.
    """
    reason: Exception | None = None
    response = given.family.predictor(given.family.start(given.rows.observed))
    modes: list[Mode] = []
    for u in (start, np.zeros_like(start), step_from(given, response)):
        if u is None or (modes and not u.any() and not start.any()):
            continue
        try:
            modes.append(find_mode(given, u))
        except np.linalg.LinAlgError as error:
            reason = error
    if not modes:
        assert reason is not None  # the first start is always tried
        raise reason
    best = min(modes, key=lambda mode: height(given, mode))
    for _ in range(_MOVES):
        trial_u = moved(given, best.u, [mode.u for mode in modes])
        if trial_u is None:
            break
        try:
            trial = find_mode(given, trial_u)
        except np.linalg.LinAlgError:
            break
        if not is_lower(given, trial, best):
            break
        best = trial
    return best


def height(given: Given, mode: Mode) -> float:
    """Return the penalised deviance at a mode."""
    return given.penalised(mode.at, mode.u)


def is_lower(given: Given, one: Mode, other: Mode) -> bool:
    """Whether one mode is lower than another by more than rounding."""
    level = height(given, other)
    return height(given, one) < level - FALL * (1.0 + abs(level))


def step_from(given: Given, eta: np.ndarray) -> np.ndarray | None:
    """Return u, (N,), after one weighted least-squares step from η, (n,); None if there is none.

    At the η of a mode it is that mode.
    """
    rows = given.rows
    with np.errstate(all="ignore"):
        at = given.expand(eta)
        if at is None:
            return None
        try:
            system = system_of(rows, at.expected / given.phi, given.factors)
        except np.linalg.LinAlgError:
            return None
        working = at.expected * (eta - given.fixed) - at.d1
        right = given.scaled_back(rows.spread(working / given.phi))
        u = system.solve(right[:, None])[:, 0]
    return u if np.isfinite(u).all() else None
