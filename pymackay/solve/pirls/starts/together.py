"""`ends_of_further_starts`: where searches of few rows end that go on side by side."""

from __future__ import annotations

import numpy as np

from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.solve.pirls.batch.dense import DenseLaplace
from pymackay.solve.pirls.batch.points import Points, rough_ends
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.search import NEAR
from pymackay.solve.pirls.starts.further import further_starts, is_hard, spread_starts

_CELLS = 1_000_000  # elements of the factors × rows × effects²: what one start may cost, 10 ms
_WORK, _SPREAD = 2_000_000, (48, 96)  # cells of all starts besides, and their number
_ROUGH = 1e-3  # Newton decrement at which searches end
# Iterations after which only different ends go on, and what they may still fall by, at most
_STAGES = ((6, np.inf), (12, 10.0), (60, 2.0))
_SHRINKS, _SHRINK = 10, 0.3  # times that the factors of a start are made smaller, and by what
_MOST = 8  # different ends that are told


def may_search_together(laplace: Laplace) -> bool:
    """Say whether the criterion can be searched from many starts side by side."""
    rows, family = laplace.rows, laplace.family
    if rows.structured or rows.probing is not None or rows.source is not None:
        return False
    shaped = isinstance(family, NegativeBinomial) and family.theta is None
    return not shaped and _cells(rows) <= _CELLS


def ends_of_further_starts(laplace: Laplace, psi: np.ndarray) -> list[np.ndarray]:
    """Return where searches from `further_starts` and others end, each (P,), besides ψ, (P,)."""
    starts = further_starts(laplace, psi)
    if not starts:
        return []
    count = int(np.clip(_WORK / _cells(laplace.rows), *_SPREAD)) if is_hard(laplace) else 0
    return _different_ends(laplace, [*starts, *spread_starts(laplace, psi, count)])


def _cells(rows: Rows) -> int:
    return rows.n_theta * rows.n * rows.n_effects**2


def _different_ends(laplace: Laplace, starts: list[np.ndarray]) -> list[np.ndarray]:
    """Return where searches end that are different, each (P,), the most promising first."""
    dense = DenseLaplace.of(laplace, len(starts))
    psi = _with_values(dense, np.stack(starts))
    for iterations, fall in _STAGES:
        ends = rough_ends(DenseLaplace(laplace, dense.G, len(psi)), psi, _ROUGH, iterations)
        psi = ends.psi[_different(ends, fall)]
        if not len(psi):  # the criterion has a value nowhere
            return starts
    return list(psi[:_MOST])


def _different(ends: Points, fall: float) -> list[int]:
    """Return the places of ends that are apart from each other, the most promising first.

    Those are left out that cannot come below the lowest by falling by `fall` at most.
    """
    promise = ends.criterion - np.minimum(ends.model.decrement, fall)
    lowest = np.nanmin(ends.criterion, initial=np.inf)
    different: list[int] = []
    for k in np.argsort(promise, kind="stable"):
        if promise[k] <= lowest and not _is_near(ends, k, different):
            different.append(int(k))
    return different


def _with_values(dense: DenseLaplace, starts: np.ndarray) -> np.ndarray:
    """Return starts, (B, P), whose factors are made smaller until the criterion has a value."""
    rows = dense.laplace.rows
    factors, u = slice(rows.p, rows.p + rows.n_theta), np.zeros((*dense.levels, len(starts)))
    todo = np.arange(len(starts))
    with np.errstate(all="ignore"):
        for _ in range(_SHRINKS):
            at = dense.take(todo).at(starts[todo], u[:, :, todo], 1e-6)
            todo = todo[~np.isfinite(at.criterion)]
            if not len(todo):
                break
            starts[todo, factors] *= _SHRINK
    return starts


def _is_near(ends: Points, one: int, others: list[int]) -> bool:
    """Whether an end differs from one of others by little more than the signs of its factors."""
    size = np.sqrt(np.abs(np.diagonal(ends.curvature[others], axis1=1, axis2=2)))
    apart = size * (np.abs(ends.psi[one]) - np.abs(ends.psi[others]))
    return bool((np.abs(apart).max(axis=1) < NEAR).any())
