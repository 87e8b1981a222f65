"""`find_mode`: where the penalised deviance of the random effects is least; `lowest_mode`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pymackay.errors import ConvergenceError, PymackayError
from pymackay.family.family import Expansion, Family, expand_in_parts
from pymackay.solve.linalg.total import total
from pymackay.solve.pirls.moves import FALL, moved
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.system import system_of

_ROUNDS = 200
_HALVINGS = 30  # a step of a billionth: a mean stands at a bound
_STALLED = (
    1e-13  # Newton decrement by 1 + |u|², from which decrements that shrink no more are rounding
)
_FLAT = 1e-3  # of a factor's largest axis: along smaller ones effects begin at zero
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
    value : float
        ΣD.
    slopes : numpy.ndarray, shape (N,)
        Z'D'.
    system : System or LargeSystem
        H at the observed weights.
    rounds : int
        Newton steps taken.
    kept : RowsAt or None
        The rows; None where they are read again in every pass.
    products : Any
        `Rows.products` at the observed weights.
    """

    u: np.ndarray
    value: float
    slopes: np.ndarray
    system: Any
    rounds: int
    kept: RowsAt | None = None
    products: Any = None

    @property
    def rows(self) -> RowsAt:
        """The rows at the mode.

        Raises
        ------
        PymackayError
            If they were not kept.
        """
        if self.kept is None:
            raise PymackayError(
                "this needs the rows, but they were read part by part and not kept. Fit a data "
                "frame of the rows."
            )
        return self.kept

    @property
    def eta(self) -> np.ndarray:
        """η, (n,)."""
        return self.rows.eta

    @property
    def at(self) -> Expansion:
        """Half deviances at `eta`, and their derivatives."""
        return self.rows.at


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
    beta : numpy.ndarray of shape (p,), or None
        Of which `fixed` is made for the rows of a partition that is read.
    """

    rows: Rows
    family: Family
    fixed: np.ndarray
    factors: list[np.ndarray]
    phi: float
    beta: np.ndarray | None = None

    def partitions(self) -> Iterator[Given]:
        """Yield the same for the rows of each partition."""
        for rows in self.rows.partitions():
            if rows is self.rows:
                yield self
            else:
                fixed = rows.basis.Q @ self.beta + rows.offset
                yield replace(self, rows=rows, fixed=fixed)

    def at(self, b: np.ndarray) -> RowsAt | None:
        """Return the rows at effects b = Λu, (N,); None if a mean is not legal."""
        eta = self.fixed + self.rows.predictor(b)
        expansion = self.expand(eta)
        return None if expansion is None else RowsAt(self, eta, expansion)

    def rows_at(self, u: np.ndarray) -> Iterator[RowsAt | None]:
        """Yield each partition's rows at effects u, (N,); None if a mean is not legal."""
        b = self.scaled(u)
        for part in self.partitions():
            yield part.at(b)

    @cached_property
    def _scalar(self) -> float | None:
        """Λ where it is one number for all effects; otherwise None."""
        one = len(self.factors) == 1 and len(self.factors[0]) == 1
        return float(self.factors[0][0, 0]) if one else None

    def scaled(self, u: np.ndarray) -> np.ndarray:
        """Return ``Λu``, (N,) or (N, k)."""
        if self._scalar is not None:
            return self._scalar * u
        parts = self.rows.parts(u)
        mixed = [_mixed(*pair) for pair in zip(self.factors, parts, strict=True)]
        return mixed[0] if len(mixed) == 1 else np.concatenate(mixed)

    def scaled_back(self, b: np.ndarray) -> np.ndarray:
        """Return ``Λ'b``, (N,) or (N, k)."""
        if self._scalar is not None:
            return self._scalar * b
        parts = self.rows.parts(b)
        pairs = zip(self.factors, parts, strict=True)
        mixed = [_mixed(factor.T, part) for factor, part in pairs]
        return mixed[0] if len(mixed) == 1 else np.concatenate(mixed)

    def unscaled(self, b: np.ndarray) -> np.ndarray:
        """Return u, (N,), whose `scaled` effects are as near to b, (N,), as factors allow."""
        pairs = zip(self.factors, self.rows.parts(b), strict=True)
        return np.concatenate([_unmixed(*pair) for pair in pairs])

    def expand(self, eta: np.ndarray) -> Expansion | None:
        """Return the half deviances, or None where a mean is one that the family cannot have."""
        if not self.family.is_legal(eta):
            return None
        at = expand_in_parts(self.family, self.rows.observed, eta)
        return at if math.isfinite(at.value.sum() + at.d1.sum() + at.d2.sum()) else None

    def penalised(self, value: float, u: np.ndarray) -> float:
        """Return ``ΣD/φ + |u|²/2``, given ΣD."""
        return float(value / self.phi + 0.5 * u @ u)

    def slope(self, slopes: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return its derivative ``A'D'/φ + u``, (N,), given Z'D'."""
        return self.scaled_back(slopes / self.phi) + u


@dataclass(frozen=True, eq=False)
class RowsAt:
    """The rows of a partition at a linear predictor.

    Attributes
    ----------
    given : Given
        With the partition's rows.
    eta : numpy.ndarray, shape (n,)
    at : Expansion
        Of the half deviances at `eta`.
    """

    given: Given
    eta: np.ndarray
    at: Expansion

    @property
    def sums(self) -> tuple[float, np.ndarray, Any]:
        """ΣD, Z'D', (N,), and `Rows.products` at the observed weights."""
        rows, at = self.given.rows, self.at
        products = rows.products(at.d2 / self.given.phi)
        return float(at.value.sum()), rows.spread(at.d1), products


@dataclass(frozen=True, eq=False)
class Trial:
    """What one pass over the rows says of effects u; attributes as of `Mode`.

    Attributes
    ----------
    products : Any
        `Rows.products` at the observed weights.
    """

    u: np.ndarray
    value: float
    slopes: np.ndarray
    products: Any
    kept: RowsAt | None

    @classmethod
    def of(cls, given: Given, u: np.ndarray) -> Trial | None:
        """Pass over the rows at u, (N,); None if a mean is one that the family cannot have."""
        if given.rows.source is None:
            kept = given.at(given.scaled(u))
            made = None if kept is None else kept.sums
        else:
            kept = None
            made = total(None if here is None else here.sums for here in given.rows_at(u))
        if made is None:
            return None
        value, slopes, products = made
        return cls(u, value, slopes, products, kept)

    def mode(self, system: Any, rounds: int) -> Mode:
        """Return the mode that this is."""
        return Mode(self.u, self.value, self.slopes, system, rounds, self.kept, self.products)

    def total(self, given: Given, of: Callable[[RowsAt], Any]) -> Any:
        """Return the sum over the partitions of what `of` computes from their rows."""
        return total_at(given, self.u, self.kept, of)


def total_at(given: Given, u: np.ndarray, kept: RowsAt | None, of: Callable[[RowsAt], Any]) -> Any:
    """Return the sum over the partitions of what `of` computes from their rows at effects u, (N,).

    Rows that are kept are not computed again.
    """
    if kept is not None:
        return of(kept)
    return total(None if here is None else of(here) for here in given.rows_at(u))


def _mixed(factor: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Multiply effects, (q, J, ...), by a factor, and lay them out flat."""
    if len(factor) == 1:
        return factor[0, 0] * part[0]
    return np.tensordot(factor, part, axes=1).reshape(-1, *part.shape[2:])


def _unmixed(factor: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return effects, flat, that a factor multiplies to a part, (q, J), without small axes."""
    if len(factor) == 1:
        return part[0] / factor[0, 0] if factor[0, 0] else np.zeros_like(part[0])
    return np.asarray(np.linalg.pinv(factor, rcond=_FLAT) @ part).ravel()


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
        trial = Trial.of(given, u)
        if trial is None:
            raise NoMode("a mean is one that the family cannot have")
        return trial.mode(system_of(given.rows, trial.products, given.factors), 0)


def find_mode(given: Given, start: np.ndarray, enough: float = 0.0) -> Mode:
    """Minimise the penalised deviance by Newton steps, by expected weights where observed fail.

    The step solves ``H δ = −(A'D'/φ + u)``; it is halved until the penalised deviance falls and
    every mean is legal (Bates et al. 2015, J. Stat. Softw. 67(1), sec. 3, for the linear case).

    Parameters
    ----------
    given : Given
    start : numpy.ndarray, shape (N,)
    enough : float
        Newton decrement by 1 + |u|² at which the steps end. By default only rounding is left.

    Raises
    ------
    NoMode
        If none is found.
    """
    with np.errstate(all="ignore"):
        return _find_mode(given, start, enough)


def _find_mode(given: Given, start: np.ndarray, enough: float) -> Mode:
    trial = Trial.of(given, start)
    if trial is None:
        trial = Trial.of(given, np.zeros_like(start))
    if trial is None:
        raise NoMode("a mean is one that the family cannot have")
    before = np.inf
    for rounds in range(_ROUNDS):
        u = trial.u
        system, exact = _system(given, trial)
        slope = given.slope(trial.slopes, u)
        step = -system.solve(slope[:, None])[:, 0]
        gain, size = -float(step @ slope), 1.0 + float(u @ u)
        if gain < max(system.still, enough) * size or (
            gain < _STALLED * size and gain > 0.25 * before
        ):
            system = system if exact else system_of(given.rows, trial.products, given.factors)
            return trial.mode(system, rounds)
        trial = _shortened(given, trial, step)
        before = gain
    raise NoMode(f"the mode of the random effects is not reached in {_ROUNDS} steps")


def _system(given: Given, trial: Trial) -> tuple[Any, bool]:
    """Return H at observed weights, and True; where it is not positive, at expected ones, False.

    Single observed weights may be negative: near the mode their sum with the penalty is positive.
    """
    try:
        return system_of(given.rows, trial.products, given.factors), True
    except np.linalg.LinAlgError:
        if given.family.is_canonical:
            raise

    def of(here: RowsAt) -> Any:
        weights = np.where(here.at.d2 > 0.0, here.at.d2, here.at.expected)
        return here.given.rows.products(weights / given.phi)

    return system_of(given.rows, trial.total(given, of), given.factors), False


def _shortened(given: Given, before: Trial, step: np.ndarray) -> Trial:
    """Halve a step, (N,), until the penalised deviance falls; return the pass over the rows."""
    length, value = 1.0, given.penalised(before.value, before.u)
    for _ in range(_HALVINGS):
        trial = Trial.of(given, before.u + length * step)
        if trial is not None:
            there = given.penalised(trial.value, trial.u)
            if there <= value + _RISE * (1.0 + abs(value)):
                return trial
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
    modes: list[Mode] = []
    for u in (start, np.zeros_like(start), step_from(given)):
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
    return given.penalised(mode.value, mode.u)


def is_lower(given: Given, one: Mode, other: Mode) -> bool:
    """Whether one mode is lower than another by more than rounding."""
    level = height(given, other)
    return height(given, one) < level - FALL * (1.0 + abs(level))


def step_from(given: Given, eta: np.ndarray | None = None) -> np.ndarray | None:
    """Return u, (N,), after one weighted least-squares step from η, (n,); None if there is none.

    At the η of a mode it is that mode. By default η is that of the response itself.
    """

    def of(part: Given) -> Any:
        family, rows = part.family, part.rows
        there = family.predictor(family.start(rows.observed)) if eta is None else eta
        at = part.expand(there)
        if at is None:
            return None
        working = at.expected * (there - part.fixed) - at.d1
        return rows.products(at.expected / part.phi), rows.spread(working / part.phi)

    with np.errstate(all="ignore"):
        sums = total(of(part) for part in given.partitions())
        if sums is None:
            return None
        try:
            system = system_of(given.rows, sums[0], given.factors)
        except np.linalg.LinAlgError:
            return None
        u = system.solve(given.scaled_back(sums[1])[:, None])[:, 0]
    return u if np.isfinite(u).all() else None
