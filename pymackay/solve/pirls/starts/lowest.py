"""`lowest_arrival` and `onward`: the lowest end of several searches, and where an end leads on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.solve.pirls.criterion import Criterion, Evaluated
from pymackay.solve.pirls.mode import is_lower
from pymackay.solve.pirls.search import NEAR, Arrival, Stopping, minimise

_SHRINKS, _SHRINK = 10, 0.3  # times that the factors of a start are made smaller, and by what
_ROUGH, _FEW = 1e-3, 50  # Newton decrement at which further searches end first, and evaluations
_FALL = 2.0  # criterion units that a search may still gain, at most, for it to go on
_LOWER = 1e-9  # of 1 + |C|: a gain that is more than rounding
_SURE = 2.0  # standard errors of a standard deviation: nearer to zero it is not determined well
_OFF_SADDLE = (0.3, -0.3)  # steps from a saddle point, in units of the parameters' curvature


def lowest_arrival(
    criterion: Criterion,
    starts: Iterable[np.ndarray],
    stopping: Stopping,
    factors: slice,
    variances: np.ndarray | None = None,
) -> Arrival:
    """Minimise from each start; return where the criterion is lowest.

    Searches from all starts but the first end early, and go on where they may undercut the others.
    The lowest goes on once more where it has run out of evaluations. The evaluations of all
    searches are counted.

    Parameters
    ----------
    criterion : Criterion
    starts : iterable of numpy.ndarray, each (P,)
        Asked for one after the other, as far as they are needed.
    stopping : Stopping
    factors : slice
        Places of the factors' elements among the parameters.
    variances : numpy.ndarray of int, optional
        Places of their diagonals. Where the first search determines all of them well, it is the
        only one: a log-concave density was not seen to have another minimum then.

    Raises
    ------
    ConvergenceError
        If the criterion has no value at any start.
    """
    arrivals, evaluations, searches = _first_ends(criterion, starts, stopping, factors, variances)
    best = arrivals[0]
    for each in sorted(arrivals[1:], key=_bound):
        level = best.point.criterion
        if _bound(each) <= level - _LOWER * (1.0 + abs(level)):
            led = _from(criterion, each.point.psi, stopping)
            if led is not None:
                evaluations += led.evaluations
                best = _lower_of(best, led)
    if searches > 1 and not best.arrived:
        longer = _from(criterion, best.point.psi, stopping)
        if longer is not None:
            evaluations += longer.evaluations
            best = longer if longer.arrived else _lower_of(best, longer)
    return replace(best, evaluations=evaluations)


def _determines(arrival: Arrival, places: np.ndarray) -> bool:
    """Whether parameters are well apart from zero by their standard errors."""
    values, vectors = np.linalg.eigh(arrival.point.curvature.hessian)
    if not arrival.arrived or values[0] <= 0.0:
        return False
    errors = np.sqrt(2.0 * (vectors[places] ** 2 / values).sum(axis=1))
    return bool((np.abs(arrival.point.psi[places]) > _SURE * errors).all())


def _lower_of(one: Arrival, other: Arrival) -> Arrival:
    """Return the lower of two ends; the first where they differ by rounding only."""
    level = one.point.criterion
    return other if other.point.criterion < level - _LOWER * (1.0 + abs(level)) else one


def _first_ends(
    criterion: Criterion,
    starts: Iterable[np.ndarray],
    stopping: Stopping,
    factors: slice,
    variances: np.ndarray | None,
) -> tuple[list[Arrival], int, int]:
    """Return different ends of searches, how often these evaluated, and how many there were.

    The first end is that of a whole search. Arguments as of `lowest_arrival`.
    """
    arrivals: list[Arrival] = []
    evaluations = searches = 0
    reason: ConvergenceError | None = None
    for start in starts:
        searches += 1
        ends = tuple(each.point.psi for each in arrivals)
        rough = Stopping(_ROUGH, min(stopping.max_evaluations, _FEW), stopping.radius, ends)
        try:
            end = _from_start(criterion, start.copy(), rough if arrivals else stopping, factors)
        except ConvergenceError as error:
            reason = reason or error
            continue
        evaluations += end.evaluations
        if not arrivals and variances is not None and _determines(end, variances):
            return [end], evaluations, searches
        if not any(_is_near(each, end) for each in arrivals):
            arrivals.append(end)
    if not arrivals:
        assert reason is not None  # there is one start at least
        raise reason
    return arrivals, evaluations, searches


def _bound(arrival: Arrival) -> float:
    """Return what the criterion may still fall to.

    Where the search has not arrived, a decrement says little, and may be enormous.
    """
    return arrival.point.criterion - min(arrival.decrement, _FALL)


def _is_near(one: Arrival, other: Arrival) -> bool:
    """Whether two ends differ by little more than the signs of their factors' columns."""
    size = np.sqrt(np.abs(one.point.curvature.hessian.diagonal()))
    apart = size * (np.abs(one.point.psi) - np.abs(other.point.psi))
    return bool(np.abs(apart).max() < NEAR)


def _from_start(
    criterion: Criterion, start: np.ndarray, stopping: Stopping, factors: slice
) -> Arrival:
    """Minimise from a start whose factors are made smaller until the criterion has a value there.

    With links whose predictors are bounded, large effects lead to means that do not exist.
    """
    for _ in range(_SHRINKS):
        try:
            return minimise(criterion, start, stopping)
        except np.linalg.LinAlgError as error:
            reason = error
        start[factors] *= _SHRINK
    raise ConvergenceError(
        f"the criterion has no value where the search starts ({reason}); give start, the elements "
        f"of theta, or another link"
    )


def _from(criterion: Criterion, psi: np.ndarray, stopping: Stopping) -> Arrival | None:
    """Minimise from ψ, (P,); None where the criterion has no value there."""
    try:
        return minimise(criterion, psi, stopping)
    except np.linalg.LinAlgError:
        return None


def onward(
    criterion: Criterion,
    point: Evaluated,
    hessian: np.ndarray,
    stopping: Stopping,
    *,
    jumps: bool,
) -> Arrival | None:
    """Return where a search leads from an end that is no minimum; None if nowhere lower.

    If the random effects have a lower mode there, the search goes on at that mode, even if the
    criterion is higher: that at the mode of the end has no meaning. From a saddle point it goes
    down on both sides.

    Parameters
    ----------
    criterion : Criterion
    point : Evaluated
    hessian : numpy.ndarray, shape (P, P)
        Second derivatives there; nan where there are none.
    stopping : Stopping
    jumps : bool
        Whether the random effects have a lower mode there.
    """
    if jumps:
        return _from(criterion, point.psi, stopping)
    if not np.isfinite(hessian).all():
        return None
    scale = 1.0 / np.sqrt(np.maximum(np.abs(hessian.diagonal()), 1e-300))
    values, axes = np.linalg.eigh(scale[:, None] * hessian * scale)
    if values[0] >= 0.0:
        return None
    steps = [size * scale * axes[:, 0] for size in _OFF_SADDLE]
    tried = [_from(criterion, point.psi + step, stopping) for step in steps]
    ends = [each for each in tried if each is not None]
    if not ends:
        return None
    best = min(ends, key=lambda each: each.point.criterion)
    lower = best.point.criterion < point.criterion - _LOWER * (1.0 + abs(point.criterion))
    return best if lower else None


def has_lower_mode(criterion: Criterion, point: Any) -> bool:
    """Whether the random effects have a mode lower than that of a point, at its parameters.

    Parameters
    ----------
    criterion : Criterion
    point : Evaluated
        With a `center`, which is Laplace's approximation there.
    """
    given = point.center.given
    if given.family.is_log_concave:
        return False
    try:
        again: Any = criterion.at(point.psi)
    except np.linalg.LinAlgError:
        return False
    return is_lower(given, again.center.mode, point.center.mode)
