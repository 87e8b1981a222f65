"""The search of `pymackay.solve.search.newton` for many responses at once, each with its own end.

Every response has its own trust region; the ones that have ended are taken out of the batch, so
that a few on the boundary do not hold up the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.solve.linalg.batch import lower_factors, product
from pymackay.solve.many.kinds import Kinds, ResponseSums
from pymackay.solve.many.points import Points, after_steps, evaluate_points, moved_roots
from pymackay.solve.search.moments import MomentEquations
from pymackay.solve.search.newton import Control
from pymackay.solve.search.start import clipped_variances

__all__ = ["ManyOptima", "find_optima"]

_SINGULAR = 1e-4  # as in `pymackay.solve.search.newton`
_SPREADS = (10.0, 1.0)  # further starts: sd of every effect in units of its noise level


@dataclass(frozen=True, eq=False)
class ManyOptima:
    """Where the searches ended.

    Attributes
    ----------
    points : Points
    certified, singular : numpy.ndarray of bool, each (B,)
    """

    points: Points
    certified: np.ndarray
    singular: np.ndarray


def find_optima(kinds: Kinds, sums: ResponseSums, start: np.ndarray | None = None) -> ManyOptima:
    """Minimise the criterion of each response; look further where one start may not do.

    Parameters
    ----------
    kinds : Kinds
    sums : ResponseSums
    start : numpy.ndarray, shape (q, q), optional
        Relative factor to start from; by default each response's own moments.
    """
    search = _Search(kinds, sums)
    if start is None:
        first = _moment_starts(kinds, sums)
    else:
        first = np.repeat(start[None], len(sums), axis=0)
    everyone = np.arange(len(sums))
    points = search.run(first, everyone)
    for spread in _SPREADS:
        doubtful = np.flatnonzero(~search.certified(points) | _singular(kinds, points))
        if not len(doubtful):
            break
        wide = spread * np.sqrt(kinds.noise) * np.eye(kinds.q)
        others = search.run(np.repeat(wide[None], len(doubtful), axis=0), doubtful)
        better = search.better(points.take(doubtful), others)
        points.put(doubtful[better], others.take(np.flatnonzero(better)))
    return ManyOptima(points, search.certified(points), _singular(kinds, points))


def _singular(kinds: Kinds, points: Points) -> np.ndarray:
    return np.asarray(points.sizes.min(axis=1) < _SINGULAR)


def _moment_starts(kinds: Kinds, sums: ResponseSums) -> np.ndarray:
    """Return the factor of `search.start.moment_start` for each response, (B, q, q)."""
    equations = MomentEquations.of(
        kinds.A.transpose(2, 0, 1),
        kinds.X.transpose(2, 0, 1),
        kinds.nu,
        reml=kinds.reml,
        counts=kinds.counts,
    )
    shrinkage = equations.shrinkage.transpose(1, 2, 0)[..., None]
    half = product(shrinkage, sums.M)
    second = product(half, shrinkage).sum(axis=2).transpose(2, 0, 1)
    explained = half.trace().sum(axis=0) + equations.ridge * second.trace(axis1=1, axis2=2)
    covariance = equations.covariance(second)
    sigma2 = equations.variance(1.0 - explained, covariance)
    G = covariance / sigma2[:, None, None] - equations.noise
    found = np.zeros_like(G)
    for place in kinds.terms:
        values, vectors = np.linalg.eigh(_symmetric(G[:, place, place]))
        sd = np.sqrt(clipped_variances(values, kinds.noise))
        found[:, place, place] = lower_factors(vectors * sd[:, None, :])
    return found


def _symmetric(G: np.ndarray) -> np.ndarray:
    return 0.5 * (G + G.transpose(0, 2, 1))


class _Search:
    """Descents of some of the responses."""

    def __init__(self, kinds: Kinds, sums: ResponseSums) -> None:
        self.kinds = kinds
        self.sums = sums
        self.control = Control()

    def run(self, start: np.ndarray, who: np.ndarray) -> Points:
        """Return where responses `who` end from these factors."""
        points = self.points(start, who)
        self.descend(points, np.arange(len(who)), who)
        moving = np.arange(len(who))
        for _ in range(len(self.kinds.rows) + 1):
            moving = self.escape(points, moving, who)
            if not len(moving):
                break
            self.descend(points, moving, who)
        self.snap(points, who)
        return points

    def points(self, factors: np.ndarray, who: np.ndarray) -> Points:
        return evaluate_points(self.kinds, self.sums.take(who), factors)

    def rounding(self, points: Points) -> np.ndarray:
        """Size of the criterion's own rounding error."""
        return 1e-14 * np.maximum(np.abs(points.criterion), self.kinds.n)

    def descend(self, points: Points, which: np.ndarray, who: np.ndarray) -> None:
        """Move the points `which` of the responses `who` downhill until each has arrived."""
        now = points.take(which)
        sums = self.sums.take(who[which])
        radius = np.ones(len(which))
        for _ in range(self.control.max_iterations):
            steps, predicted = now.steps(radius)
            stay = predicted > self.control.spent
            if not stay.all():
                points.put(which[~stay], now.take(~stay))
                keep = np.flatnonzero(stay)
                now, sums, which = now.take(keep), sums.take(keep), which[keep]
                radius, steps, predicted = radius[keep], steps[keep], predicted[keep]
            if not len(which):
                return
            trial = evaluate_points(self.kinds, sums, after_steps(self.kinds, now, steps))
            accept, ended = self.judge(now, trial, steps, predicted, radius)
            now.put(accept, trial.take(accept))
            if ended.any():
                points.put(which[ended], now.take(ended))
                keep = np.flatnonzero(~ended)
                now, sums = now.take(keep), sums.take(keep)
                which, radius = which[keep], radius[keep]
        points.put(which, now)

    def judge(
        self,
        now: Points,
        trial: Points,
        steps: np.ndarray,
        predicted: np.ndarray,
        radius: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Say which trials are taken, and which searches have ended; radii are changed in place."""
        failed = np.isinf(trial.criterion)
        length = np.linalg.norm(steps, axis=1)
        close = ~failed & (
            predicted < np.maximum(self.control.quadratic, 10.0 * self.rounding(now))
        )
        before, after = now.decrement, trial.decrement
        ended = close & (after >= 0.5 * before)
        ratio = (now.criterion - trial.criterion) / predicted
        far = ~failed & ~close
        radius[failed | (far & (ratio < 0.25))] = 0.25 * length[failed | (far & (ratio < 0.25))]
        grow = far & (ratio > 0.75) & (length > 0.8 * radius)
        radius[grow] = np.minimum(3.0 * radius[grow], 8.0)
        return np.where(close, ~ended | (after < before), far & (ratio > 0.05)), ended

    def escape(self, points: Points, which: np.ndarray, who: np.ndarray) -> np.ndarray:
        """Move points off the boundary where the score says that lower ones are there."""
        noise = self.kinds.noise
        moved = np.zeros(len(points), dtype=bool)
        for place in self.kinds.terms:
            score = np.nan_to_num(points.score[which][:, place, place], posinf=0.0, neginf=0.0)
            values, vectors = np.linalg.eigh(_symmetric(score))
            wants = (values[:, 0] * noise <= -1e-7) & ~moved[which]
            for size in (1.0, 1e-2, 1e-4):
                todo = np.flatnonzero(wants & ~moved[which])
                if not len(todo):
                    break
                direction = np.sqrt(size * noise) * vectors[todo, :, 0]
                factors = points.factor[which[todo]]
                factors[:, place, place] = _grown(factors[:, place, place], direction)
                trial = self.points(factors, who[which[todo]])
                old = points.take(which[todo])
                lower = trial.criterion < old.criterion - 10.0 * self.rounding(old)
                points.put(which[todo[lower]], trial.take(lower))
                moved[which[todo[lower]]] = True
        return np.flatnonzero(moved)

    def snap(self, points: Points, who: np.ndarray) -> None:
        """Set what is zero but for rounding along its axis to zero, if the criterion agrees."""
        dead = points.sizes < 1e-5 * np.sqrt(self.kinds.noise)
        some = np.flatnonzero((dead & (points.sizes > 0.0)).any(axis=1))
        if not len(some):
            return
        old = points.take(some)
        root = np.where(dead[some], 0.0, old.sizes)[:, None, :] * np.eye(self.kinds.q)
        trial = self.points(moved_roots(self.kinds, old.turn, root), who[some])
        agrees = trial.criterion <= old.criterion + 10.0 * self.rounding(old)
        points.put(some[agrees], trial.take(agrees))

    def certified(self, points: Points) -> np.ndarray:
        """Say whether gradient, curvature and boundary certify each point, as `reml` does."""
        good = np.isfinite(points.criterion) & (points.decrement < 1e-8)
        good &= points.values[:, 0] >= -1e-6 * points.size
        score = np.where(np.isfinite(points.score), points.score, -np.inf)
        good &= np.isfinite(score).all(axis=(1, 2))
        checked = np.flatnonzero(good)
        for place in self.kinds.terms:
            lowest = np.linalg.eigvalsh(_symmetric(score[checked][:, place, place]))[:, 0]
            good[checked] &= lowest * self.kinds.noise >= -1e-6
        return good

    def better(self, first: Points, second: Points) -> np.ndarray:
        """Say where the second is lower; where they are level, where it alone is certified."""
        rounding = 1e-13 * np.maximum(np.abs(first.criterion), self.kinds.n)
        with np.errstate(invalid="ignore"):
            gain = first.criterion - second.criterion
        level = np.abs(gain) <= rounding
        certified = self.certified(second) & ~self.certified(first)
        return np.where(level, certified, gain > 0.0)


def _grown(factors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return the factors of ``L L' + d d'``, for directions d of shape (B, q)."""
    wide = np.concatenate([factors, direction[:, :, None]], axis=2)
    R = np.asarray(np.linalg.qr(wide.transpose(0, 2, 1), mode="r"))
    return lower_factors(R.transpose(0, 2, 1))
