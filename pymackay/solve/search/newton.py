"""The optimiser: trust-region Newton on the relative factors, with exact treatment of singularity.

The criterion is a smooth function of the lower-triangular factors, also where a column is zero:
there its gradient vanishes and its curvature is the score of the covariance matrix, so that
Newton's method walks onto the boundary, and off it, at the same quadratic rate as anywhere else.
Every step is taken in the principal axes of the covariance matrices it starts from.
A point is certified when the Newton decrement is spent, no free direction curves down, and the
score of every term is positive semidefinite where its covariance matrix is null (the
Karush-Kuhn-Tucker conditions on the cone of covariance matrices).

One search serves one response and thousands side by side: a `Landscape` evaluates the criterion
of each response at its own factors, by TensorFlow for one, by NumPy's batches for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pymackay.model.sums.gram import Gram
from pymackay.results import Convergence
from pymackay.solve.search import limits
from pymackay.solve.search.limits import Control
from pymackay.solve.search.points import Factors, Points, Values
from pymackay.solve.search.start import further_starts, moment_start, noise_level
from pymackay.solve.search.trust_region import Batch, descend
from pymackay.solve.solver import Evaluation, Solver, criterion_value

__all__ = [
    "Certificates",
    "Control",
    "Landscape",
    "Optima",
    "Optimum",
    "find_optima",
    "find_optimum",
    "keep_better",
    "optimise",
    "optimise_many",
    "rounding",
]


class Landscape(Protocol):
    """What a search asks about B responses to one design."""

    @property
    def gram(self) -> Gram:
        """The design's cross-products; its response is not asked for."""
        ...

    @property
    def without_effects(self) -> np.ndarray:
        """Each response's criterion where no random effect varies, shape (B,)."""
        ...

    def __len__(self) -> int: ...

    def take(self, which: np.ndarray) -> Landscape:
        """Return the landscape of some responses."""
        ...

    def evaluate(self, factors: Factors) -> Values:
        """Evaluate each response at its own factors."""
        ...

    def start(self) -> Factors:
        """Return where the data say that each search should start."""
        ...


@dataclass(frozen=True, eq=False)
class Certificates(Batch):
    """How far B points are from what an optimum must be.

    Attributes
    ----------
    decrement : numpy.ndarray, shape (B,)
        By how much the criterion could still fall, to second order.
    gradient : numpy.ndarray, shape (B,)
        Largest slope, in standard errors.
    curvature, relative : numpy.ndarray, each (B,)
        Lowest curvature, and by unit of the largest.
    boundary : numpy.ndarray, shape (B,)
        Lowest slope for growth of a covariance matrix by a noise level.
    finite : numpy.ndarray of bool, shape (B,)
    """

    decrement: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray
    relative: np.ndarray
    boundary: np.ndarray
    finite: np.ndarray

    @classmethod
    def of(cls, points: Points) -> Certificates:
        """Examine each point."""
        model = points.model
        slopes = [slope for slope, _ in points.growth()]
        return cls(
            decrement=model.decrement,
            gradient=model.steepness.max(axis=1),
            curvature=model.values[:, 0],
            relative=model.values[:, 0] / model.size,
            boundary=slopes[0] if len(slopes) == 1 else np.min(slopes, axis=0),
            finite=np.isfinite(points.criterion),
        )

    def good(
        self, decrement: float = limits.CERTIFIED, boundary: float = limits.WANTS_GROWTH
    ) -> np.ndarray:
        """Say which points are optima to these tolerances, shape (B,)."""
        straight = (self.relative >= -limits.CURVED) & (self.boundary >= -boundary)
        return self.finite & (self.decrement < decrement) & straight

    def problems(
        self,
        which: int,
        decrement: float = limits.CERTIFIED,
        boundary: float = limits.WANTS_GROWTH,
    ) -> list[str]:
        """Say in words what keeps one point from being certified; nothing where it is."""
        spent, curvature = float(self.decrement[which]), float(self.curvature[which])
        growth = float(self.boundary[which])
        problems = []
        if not self.finite[which]:
            problems.append("the criterion is not finite")
        if not spent < decrement:
            problems.append(f"the Newton decrement is {spent:.2g} criterion units")
        if self.relative[which] < -limits.CURVED:
            problems.append(f"a direction curves down (curvature {curvature:.2g})")
        if growth < -boundary:
            problems.append(f"a covariance matrix on the boundary wants to grow ({growth:.2g})")
        return problems


@dataclass(frozen=True, eq=False)
class Optima(Batch):
    """Where B searches ended.

    Attributes
    ----------
    points : Points
    certificates : Certificates
    iterations, evaluations : numpy.ndarray of int, each (B,)
        Steps of the search that ended there; evaluations of all searches for it.
    n : int
        Rows.
    """

    points: Points
    certificates: Certificates
    iterations: np.ndarray
    evaluations: np.ndarray
    n: int

    @property
    def certified(self) -> np.ndarray:
        """Which points are optima, shape (B,)."""
        return self.certificates.good()

    @property
    def sure(self) -> np.ndarray:
        """Which points are optima inside the cone of covariance matrices, shape (B,)."""
        return self.certified & ~self.points.singular

    def convergence(self, which: int) -> Convergence:
        """Say how one search ended."""
        c = self.certificates
        problems = c.problems(which)
        sigma2 = float(self.points.sigma2[which])
        if problems and sigma2 < limits.LITTLE:
            problems.append(
                f"hardly anything is left over, {np.sqrt(sigma2 * self.n):.1g} of what the fixed "
                f"effects leave, and float64 keeps few digits of that"
            )
        message = "; ".join(problems) or "optimum certified: gradient, curvature and boundary"
        return Convergence(
            converged=not problems,
            message=message,
            iterations=int(self.iterations[which]),
            evaluations=int(self.evaluations[which]),
            decrement=float(c.decrement[which]),
            gradient=float(c.gradient[which]),
            curvature=float(c.curvature[which]),
        )


def find_optima(
    landscape: Landscape,
    control: Control | None = None,
    start: Sequence[np.ndarray] | None = None,
) -> Optima:
    """Minimise each response's criterion; look further where one start may not do.

    A singular answer, one that is not certified or one that is worse than no random effects can
    be a local optimum: further starts are tried, and the lowest criterion is kept.

    Parameters
    ----------
    landscape : Landscape
        Of B responses.
    control : Control, optional
    start : sequence of numpy.ndarray, each (q, q), optional
        Factors that every search starts from; the data's own starts are tried where it ends on
        the boundary or is not certified. By default they are the first.
    """
    if start is None:
        return _from_data(landscape, control)
    everywhere = [np.broadcast_to(f, (len(landscape), *f.shape)) for f in start]
    best = optimise_many(landscape, tuple(everywhere), control)
    doubtful = np.flatnonzero(~best.sure)
    if len(doubtful):
        keep_better(best, _from_data(landscape.take(doubtful), control), doubtful)
    return best


def _from_data(landscape: Landscape, control: Control | None) -> Optima:
    """Search from each response's own start, then from further ones where there is reason."""
    first = optimise_many(landscape, landscape.start(), control)
    best, evaluations = first, first.evaluations.copy()
    moved = done = np.zeros(len(landscape), dtype=bool)
    for start, searched in further_starts(
        landscape.gram,
        first.points.factors,
        sure=first.sure,
        worse_than_none=first.points.criterion > landscape.without_effects,
    ):
        todo = np.flatnonzero(searched & ~done)
        if not len(todo):
            continue
        if best is first:
            best, moved = first.take(np.arange(len(landscape))), moved.copy()
        other = optimise_many(landscape.take(todo), tuple(f[todo] for f in start), control)
        evaluations[todo] += other.evaluations
        moved[todo[keep_better(best, other, todo)]] = True
        done = moved & best.sure
    return replace(best, evaluations=evaluations)


def keep_better(best: Optima, others: Optima, which: np.ndarray) -> np.ndarray:
    """Put the others where they are lower; where they are level, where they alone are certified.

    Returns
    -------
    numpy.ndarray of bool, shape (number of others,)
        Which were put into `best`, whose places are `which`.
    """
    old = best.take(which)
    level = limits.LEVEL * rounding(old.points.criterion, old.points.sigma2, best.n)
    with np.errstate(invalid="ignore"):
        gain = old.points.criterion - others.points.criterion
    better = np.where(np.abs(gain) > level, gain > 0.0, others.certified & ~old.certified)
    if better.any():
        best.put(which[better], others.take(better))
    return better


def rounding(criterion: np.ndarray, sigma2: np.ndarray, n: int) -> np.ndarray:
    """Return the size of a criterion's own rounding error, in the shape of the arrays.

    Parameters
    ----------
    criterion, sigma2 : numpy.ndarray
        As in `pymackay.solve.solver.Evaluation`: the residual sum of squares is what is left of
        the response's, which has length one.
    n : int
        Rows.
    """
    share = np.maximum(sigma2, np.finfo(np.float64).tiny)
    size = limits.ROUNDING * np.maximum(np.abs(criterion), n)
    return np.maximum(size, limits.ROUNDING_LEFT / share)


def optimise_many(landscape: Landscape, start: Factors, control: Control | None = None) -> Optima:
    """Minimise each response's criterion from `start`: factors term by term, each (B, q, q)."""
    B = len(landscape)
    noise = tuple(noise_level(landscape.gram, k) for k in range(len(start)))
    counts = np.zeros(B, dtype=int), np.zeros(B, dtype=int)
    search = _Search(landscape, noise, control or Control(), np.arange(B), *counts)
    points = search.run(start)
    return Optima(points, Certificates.of(points), *counts, landscape.gram.n)


@dataclass(frozen=True, eq=False)
class _Search:
    """The ground of some descents: evaluates points, and counts what is paid.

    Attributes
    ----------
    landscape : Landscape
        Of B responses.
    noise : tuple of float
        Term by term.
    control : Control
    places : numpy.ndarray of int, shape (B,)
        Where the responses stand among all.
    iterations, evaluations : numpy.ndarray of int
        Of all responses; written to.
    """

    landscape: Landscape
    noise: tuple[float, ...]
    control: Control
    places: np.ndarray
    iterations: np.ndarray
    evaluations: np.ndarray

    def run(self, start: Factors) -> Points:
        """Return where each search ends."""
        points = self.descend(self.begin(tuple(np.array(factor) for factor in start)))
        moving = np.arange(len(points))
        for _ in range(points.unit.shape[1] + 1):
            moving = self.escape(points, moving)
            if not len(moving):
                break
            if len(moving) == len(points):
                points = self.descend(points)
            else:
                points.put(moving, self.take(moving).descend(points.take(moving)))
        return self.snap(points)

    def points(self, factors: Factors) -> Points:
        """Evaluate each response at its own factors."""
        self.evaluations[self.places] += 1
        values = self.landscape.evaluate(factors)
        return Points.of(factors, values, self.landscape.gram.layouts, self.noise)

    def begin(self, start: Factors) -> Points:
        """Return the points at `start`, or nearer to zero where float64 has digits."""
        points = self.points(start)
        for shrunken in range(1, limits.SHRINKS + 1):
            lost = np.flatnonzero(np.isinf(points.criterion))
            if not len(lost):
                break
            size = limits.SHRINK_START**shrunken if shrunken < limits.SHRINKS else 0.0
            nearer = tuple(size * factor[lost] for factor in start)
            points.put(lost, self.take(lost).points(nearer))
        return points

    def descend(self, points: Points) -> Points:
        """Return where each point's descent ends."""
        control = self.control
        if not points.exact:
            control = replace(control, spent=control.spent_average)
        return descend(self, points, control)[0]

    def take(self, which: np.ndarray) -> _Search:
        """Return the ground of some of the points."""
        landscape, places = self.landscape.take(which), self.places[which]
        return replace(self, landscape=landscape, places=places)

    def after(self, points: Points, steps: np.ndarray, predicted: np.ndarray) -> Points:
        """Return the points that scaled steps, (B, m), lead to."""
        self.iterations[self.places] += 1
        return self.points(points.after(steps))

    def gain(self, before: Points, after: Points) -> np.ndarray:
        """Return by how much the criterion falls, (B,)."""
        return before.criterion - after.criterion

    def rounding(self, points: Points) -> np.ndarray:
        """Return the size of the criterion's own rounding error, (B,)."""
        return rounding(points.criterion, points.sigma2, self.landscape.gram.n)

    def escape(self, points: Points, which: np.ndarray) -> np.ndarray:
        """Move points off the boundary where the score says that lower ones are there.

        Parameters
        ----------
        points : Points
            Of all responses here; written to.
        which : numpy.ndarray of int
            The points that may have to move.

        Returns
        -------
        numpy.ndarray of int
            Those that have moved.
        """
        moved: list[int] = []
        now = points if len(which) == len(points) else points.take(which)
        for term, (slope, direction) in enumerate(now.growth()):
            held = ~(slope > -limits.LEAVES)
            held[moved] = False
            for size in limits.GROWTHS:
                todo = np.flatnonzero(held)
                if not len(todo):
                    break
                old = now.take(todo)
                trial = self.take(which[todo]).points(old.grown(term, direction[todo], size))
                lower = trial.criterion < old.criterion - limits.LEVEL * self.rounding(old)
                points.put(which[todo[lower]], trial.take(lower))
                held[todo[lower]] = False
                moved += todo[lower].tolist()
        return which[np.sort(np.array(moved, dtype=int))]

    def snap(self, points: Points) -> Points:
        """Set what is zero but for rounding along its axis to zero, if the criterion agrees."""
        factors, changed = points.snapped(limits.DEAD)
        some = np.flatnonzero(changed)
        if len(some):
            old = points.take(some)
            trial = self.take(some).points(tuple(factor[some] for factor in factors))
            agrees = trial.criterion <= old.criterion + limits.LEVEL * self.rounding(old)
            points.put(some[agrees], trial.take(agrees))
        return points


# ---- one response


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the optimiser ended.

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
        Relative factors, whitened bases.
    evaluation : Evaluation
    convergence : Convergence
    """

    factors: list[np.ndarray]
    evaluation: Evaluation
    convergence: Convergence


def optimise(
    solver: Solver, start: Sequence[np.ndarray], control: Control | None = None
) -> Optimum:
    """Minimise the solver's criterion from `start`, one relative factor per term."""
    factors = tuple(factor[None] for factor in start)
    return _single(optimise_many(OneResponse(solver), factors, control))


def find_optimum(solver: Solver, control: Control | None = None) -> Optimum:
    """Minimise the solver's criterion as `find_optima` does."""
    return _single(find_optima(OneResponse(solver), control))


def _single(optima: Optima) -> Optimum:
    points = optima.points
    factors = [factor[0] for factor in points.factors]
    return Optimum(factors, points.answers[0][0], optima.convergence(0))


@dataclass(frozen=True, eq=False)
class OneResponse:
    """The landscape of a solver's one response."""

    solver: Solver

    @property
    def gram(self) -> Gram:
        """The cross-products."""
        return self.solver.gram

    @property
    def without_effects(self) -> np.ndarray:
        """The criterion where no random effect varies, shape (1,)."""
        solver = self.solver
        value = criterion_value(solver.gram, reml=solver.reml, logdet_v=0.0, logdet_x=0.0, r2=1.0)
        return np.array([value])

    def __len__(self) -> int:
        return 1

    def take(self, which: np.ndarray) -> OneResponse:
        """Return itself: there is nothing to choose from."""
        return self

    def start(self) -> Factors:
        """Return the start that the moments tell."""
        return tuple(f[None] for f in moment_start(self.solver.gram, reml=self.solver.reml))

    def evaluate(self, factors: Factors) -> Values:
        """Evaluate, if float64 reaches there."""
        answer = np.empty(1, dtype=object)
        try:
            answer[0] = evaluation = self.solver.evaluate([factor[0] for factor in factors])
        except np.linalg.LinAlgError:
            m = self.solver.gram.n_theta
            score = tuple(np.zeros_like(factor) for factor in factors)
            return Values(np.array([np.inf]), np.ones(1), score, np.zeros((1, m, m)), (answer,))
        return Values(
            criterion=np.array([evaluation.criterion]),
            sigma2=np.array([evaluation.sigma2]),
            score=tuple(score[None] for score in evaluation.score),
            curvature=evaluation.curvature[None],
            answers=(answer,),
            exact=evaluation.exact,
        )
