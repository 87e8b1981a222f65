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
from typing import Protocol, Self

import numpy as np

from pymackay.model.sums.gram import Bases
from pymackay.results import Convergence
from pymackay.solve.search import limits
from pymackay.solve.search.correlations import other_correlations
from pymackay.solve.search.flat_chart import flat_parameters
from pymackay.solve.search.limits import Control
from pymackay.solve.search.points import Certificates, Factors, Points, Values, rounding
from pymackay.solve.search.ridge import flat_ridge, named_once
from pymackay.solve.search.runaway import Height, follow
from pymackay.solve.search.start import (
    further_starts,
    may_scan,
    moment_start,
    noise_level,
    within_reach,
)
from pymackay.solve.search.trust_region import Batch, Ground, descend
from pymackay.solve.search.valleys import Profile, follows_basins
from pymackay.solve.solver import Evaluation, Optimum, Solver, criterion_value

LOCAL = "local optimum, reached from starting values computed from the data"
VALLEYS = "local optimum, the lowest that starting values spread over all variances lead to"
GLOBAL = "global optimum: the whole profile was scanned"


_ENDLESS = (
    "the criterion falls as sigma goes to zero, without end as far as float64 can tell, so that "
    "there is no optimum: take random effects out"
)
_BEYOND_DIGITS = (
    "the random effects are so large beside the residuals that float64 cannot tell where the "
    "criterion is lowest: subtract known differences between the levels from the response, or "
    "check it for values that do not belong there"
)


class Landscape(Protocol):
    """The criteria of B responses to one design, as a search needs them."""

    @property
    def gram(self) -> Bases:
        """The design's cross-products; its response is not used."""
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
        """Return the factors to start from, by the data: term by term (B, q, q)."""
        ...

    def profile(self) -> Profile | None:
        """Return an evaluation of each criterion at many factors at once; None without sums."""
        ...


@dataclass(frozen=True, eq=False)
class Optima(Batch):
    """The ends of B searches.

    Attributes
    ----------
    points : Points
    certificates : Certificates
    iterations, evaluations : numpy.ndarray of int, each (B,)
        Steps of the search that ended there; evaluations of all searches for the response.
    n, columns : int
        Rows, and columns of the fixed and random design together.
    scope : str
        What else was searched, so that the certificate holds for it: `LOCAL`, `VALLEYS`, `GLOBAL`.
    """

    points: Points
    certificates: Certificates
    iterations: np.ndarray
    evaluations: np.ndarray
    n: int
    columns: int
    scope: str = LOCAL

    @property
    def certified(self) -> np.ndarray:
        """Which points are optima, shape (B,)."""
        return ~np.any(list(self.certificates.faults().values()), axis=0)

    @property
    def sure(self) -> np.ndarray:
        """Which points are optima inside the cone of covariance matrices, shape (B,)."""
        return self.certified & ~self.points.singular

    def convergence(self, which: int) -> Convergence:
        """Return how one search ended."""
        c = self.certificates
        problems = c.problems(which)
        sigma2 = float(self.points.sigma2[which])
        if problems and sigma2 < limits.VANISHING:
            remainder = f"{np.sqrt(sigma2 * self.n):.1g} of what the fixed effects leave"
            few = ", and float64 keeps few digits of that" if sigma2 < limits.LITTLE else ""
            problems.append(f"hardly anything is left over, {remainder}{few}")
            if c.decrement[which] > limits.STILL_FALLING:
                problems.append(_ENDLESS if self.n <= self.columns else _BEYOND_DIGITS)
        certified = f"optimum certified: gradient, curvature and boundary ({self.scope})"
        message = "; ".join(problems) or certified
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
    *,
    one_by_one: bool = True,
) -> Optima:
    """Minimise each response's criterion, from further starts where one may not be enough.

    An optimum that is singular, not certified, or worse than no random effects can be a local one:
    further starts are tried, and the lowest criterion is kept.

    Parameters
    ----------
    landscape : Landscape
        Of B responses.
    control : Control, optional
    start : sequence of numpy.ndarray, each (q, q), optional
        Factors from which every search starts. Where it ends on the boundary or is not certified,
        the starts by the data follow. Without `start` these are the first.
    one_by_one : bool
        Whether valleys of several responses are searched as those of one, as `_over_valleys` says;
        not where a start is given.
    """
    if start is None:
        return _from_data(landscape, control, one_by_one=one_by_one)
    everywhere = [np.broadcast_to(f, (len(landscape), *f.shape)) for f in start]
    best = optimise_many(landscape, tuple(everywhere), control)
    doubtful = np.flatnonzero(~best.sure)
    if not len(doubtful):
        return best
    evaluations = best.evaluations.copy()
    others = _from_data(landscape.take(doubtful), control, one_by_one=False)
    evaluations[doubtful] += others.evaluations
    keep_better(best, others, doubtful)
    return replace(best, evaluations=evaluations)


def _from_data(landscape: Landscape, control: Control | None, *, one_by_one: bool) -> Optima:
    """Search from the start by the data, and from further ones where `further_starts` says so.

    `one_by_one` as in `_over_valleys`.
    """
    first = optimise_many(landscape, landscape.start(), control)
    best, evaluations = first, first.evaluations.copy()
    improved = done = np.zeros(len(landscape), dtype=bool)
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
            best, improved = first.take(np.arange(len(landscape))), improved.copy()
        other = optimise_many(landscape.take(todo), tuple(f[todo] for f in start), control)
        evaluations[todo] += other.evaluations
        improved[todo[keep_better(best, other, todo)]] = True
        done = improved & best.sure
    best = replace(best, evaluations=evaluations)
    if landscape.gram.structured:
        best = _over_correlations(landscape, best, control)
    if not may_scan(landscape.gram):
        return best
    return _over_valleys(landscape, best, control, one_by_one=one_by_one)


def _over_correlations(landscape: Landscape, best: Optima, control: Control | None) -> Optima:
    """Search with correlations of structures elsewhere too, and keep the lowest."""
    reached = best
    for start, searched in other_correlations(landscape.gram, reached.points):
        todo = np.flatnonzero(searched)
        best = best.take(np.arange(len(landscape))) if best is reached else best
        others = optimise_many(landscape.take(todo), tuple(f[todo] for f in start), control)
        evaluations = best.evaluations[todo] + others.evaluations
        keep_better(best, others, todo)
        best.evaluations[todo] = evaluations
    return best


def _over_valleys(
    landscape: Landscape, best: Optima, control: Control | None, *, one_by_one: bool = True
) -> Optima:
    """Search from every valley of the profile that may be lower, and keep the lowest.

    Of many responses, `one_by_one` searches each as if it were the only one, which takes ten times
    as long with several variances. Without it, as in a bootstrap, searches begin at those points of
    one scan that are lower than their neighbours.
    """
    if one_by_one and len(landscape) > 1 and follows_basins(landscape.gram):
        return _one_by_one(landscape, best, control)
    profile = landscape.profile()
    if profile is None:
        return best
    best = best.take(np.arange(len(landscape)))
    starts = profile.starts(best.points.criterion, best.points.factors)
    for number in range(limits.VALLEYS):
        before = best.points.criterion.copy()
        for start, which in starts:
            others = optimise_many(landscape.take(which), start, control)
            evaluations = best.evaluations[which] + others.evaluations
            keep_better(best, others, which)
            best.evaluations[which] = evaluations
        if len(landscape) > 1 or (number and best.points.criterion[0] == before[0]):
            break
        starts = profile.beside(best.points.criterion[0], best.points.factors)
    return replace(best, scope=GLOBAL if landscape.gram.one_variance else VALLEYS)


def _one_by_one(landscape: Landscape, best: Optima, control: Control | None) -> Optima:
    """Search from the valleys of each response by itself, as if it were the only one."""
    best = best.take(np.arange(len(landscape)))
    for k in range(len(landscape)):
        which = np.array([k])
        best.put(which, _over_valleys(landscape.take(which), best.take(which), control))
    return replace(best, scope=VALLEYS)


def keep_better(best: Optima, others: Optima, which: np.ndarray) -> np.ndarray:
    """Put into `best` the others that are lower, or equal and certified where `best` is not.

    Parameters
    ----------
    best : Optima
        Written to.
    others : Optima
    which : numpy.ndarray of int, shape (number of others,)
        Their places in `best`.

    Returns
    -------
    numpy.ndarray of bool, shape (number of others,)
        Which of the others were put.
    """
    old = best.take(which)
    level = limits.LEVEL * old.points.rounding
    with np.errstate(invalid="ignore"):
        gain = old.points.criterion - others.points.criterion
    better = np.where(np.abs(gain) > level, gain > 0.0, others.certified & ~old.certified)
    if better.any():
        best.put(which[better], others.take(better))
    return better


def optimise_many(landscape: Landscape, start: Factors, control: Control | None = None) -> Optima:
    """Minimise each response's criterion from `start`: factors term by term, each (B, q, q)."""
    B = len(landscape)
    noise = tuple(noise_level(landscape.gram, k) for k in range(len(start)))
    counts = np.zeros(B, dtype=int), np.zeros(B, dtype=int)
    search = _Search(landscape, noise, control or Control(), np.arange(B), *counts)
    points = search.run(start)
    gram = landscape.gram
    columns = gram.p + sum(block.size for block in gram.blocks)
    return Optima(points, Certificates.of(points), *counts, gram.n, columns)


@dataclass(frozen=True, eq=False)
class _Search(Ground[Points]):
    """The ground of some descents: evaluates points, and counts the evaluations.

    Attributes
    ----------
    landscape : Landscape
        Of B responses.
    noise : tuple of float
        Term by term.
    control : Control
    places : numpy.ndarray of int, shape (B,)
        The places of the responses among all.
    iterations, evaluations : numpy.ndarray of int
        Counts for all responses; written to.
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
        """Return the points at `start`, or nearer to zero where these have no digits."""
        start = within_reach(start, self.noise)
        points = self.points(start)
        for shrunken in range(1, limits.SHRINKS + 1):
            infinite = np.flatnonzero(np.isinf(points.criterion))
            if not len(infinite):
                break
            size = limits.SHRINK_START**shrunken if shrunken < limits.SHRINKS else 0.0
            nearer = tuple(size * factor[infinite] for factor in start)
            points.put(infinite, self.take(infinite).points(nearer))
        return points

    def descend(self, points: Points) -> Points:
        """Return where each point's descent ends."""
        control = self.control
        if not points.exact:
            control = replace(control, spent=control.spent_average)
        return descend(self, points, control)[0]

    def take(self, which: np.ndarray) -> Self:
        landscape, places = self.landscape.take(which), self.places[which]
        return replace(self, landscape=landscape, places=places)

    def after(self, points: Points, steps: np.ndarray, predicted: np.ndarray) -> Points:
        self.iterations[self.places] += 1
        return self.points(points.after(steps))

    def gain(self, before: Points, after: Points) -> np.ndarray:
        return before.criterion - after.criterion

    def rounding(self, points: Points) -> np.ndarray:
        return points.rounding

    def escape(self, points: Points, which: np.ndarray) -> np.ndarray:
        """Move points off the boundary where the score says that the criterion falls.

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
            waiting = ~(slope > -limits.LEAVES)
            waiting[moved] = False
            for size in limits.GROWTHS:
                todo = np.flatnonzero(waiting)
                if not len(todo):
                    break
                old = now.take(todo)
                trial = self.take(which[todo]).points(old.grown(term, direction[todo], size))
                lower = trial.criterion < old.criterion - limits.LEVEL * old.rounding
                points.put(which[todo[lower]], trial.take(lower))
                waiting[todo[lower]] = False
                moved += todo[lower].tolist()
        return which[np.sort(np.array(moved, dtype=int))]

    def snap(self, points: Points) -> Points:
        """Set variances that are zero but for rounding to zero, unless the criterion rises."""
        factors, changed = points.snapped(limits.DEAD)
        which = np.flatnonzero(changed)
        if len(which):
            old = points.take(which)
            trial = self.take(which).points(tuple(factor[which] for factor in factors))
            agrees = trial.criterion <= old.criterion + limits.LEVEL * old.rounding
            points.put(which[agrees], trial.take(agrees))
        return points


# ---- one response


def optimise(
    solver: Solver, start: Sequence[np.ndarray], control: Control | None = None
) -> Optimum:
    """Minimise the solver's criterion from `start`, one relative factor per term."""
    factors = tuple(factor[None] for factor in start)
    landscape = _OneResponse(solver)
    return landscape.optimum(optimise_many(landscape, factors, control))


def find_optimum(
    solver: Solver,
    control: Control | None = None,
    start: Sequence[np.ndarray] | None = None,
) -> Optimum:
    """Minimise the solver's criterion as `find_optima` does."""
    landscape = _OneResponse(solver)
    optima = find_optima(landscape, control, start)
    if landscape.gram.structured and optima.points.sigma2[0] < limits.VANISHING:
        followed = landscape.followed(optima)
        if followed is not None:
            return followed
    return landscape.optimum(optima)


def ridge_at(solver: Solver, factors: list[np.ndarray]) -> str:
    """Say which variances the data do not determine at an optimum; empty if there are none."""
    landscape = _OneResponse(solver)
    values = landscape.evaluate(tuple(factor[None] for factor in factors))
    return landscape.ridge(factors, values.answers[0][0], float(values.rounding[0]))


@dataclass(frozen=True, eq=False)
class _OneResponse:
    """The landscape of a solver's one response; its answers are `Evaluation`s."""

    solver: Solver

    @property
    def gram(self) -> Bases:
        return self.solver.bases

    @property
    def without_effects(self) -> np.ndarray:
        none = {"logdet_v": 0.0, "logdet_x": 0.0, "r2": 1.0}
        return np.array([criterion_value(self.gram, reml=self.solver.reml, **none)])

    def __len__(self) -> int:
        return 1

    def take(self, which: np.ndarray) -> _OneResponse:
        return self

    def start(self) -> Factors:
        return tuple(factor[None] for factor in moment_start(self.gram, reml=self.solver.reml))

    def optimum(self, optima: Optima) -> Optimum:
        """Return where the search ended, and say which variances are not determined there."""
        points, convergence = optima.points, optima.convergence(0)
        factors, evaluation = [factor[0] for factor in points.factors], points.answers[0][0]
        curved = optima.certificates.relative[0] > limits.RIDGE_CURVATURE
        if not convergence.converged or (curved and not points.singular[0]):
            return Optimum(factors, evaluation, convergence)

        def rises(moved: list[np.ndarray]) -> bool:
            return self._moves(moved, evaluation, points.rounding[0])

        if self.gram.structured:
            ridge = flat_parameters(self.gram, points, lambda f: optimise_many(self, f).points)
        else:
            ridge = self.ridge(factors, evaluation, points.rounding[0])
        if not ridge:
            return Optimum(factors, evaluation, convergence)
        flat = replace(convergence, message=f"{convergence.message}; {ridge}")
        return Optimum(factors, evaluation, flat, named_once(self.gram.model, ridge))

    def followed(self, optima: Optima) -> Optimum | None:
        """Return the limit of a criterion that falls as sigma goes to zero; None if it does not."""
        count = 0

        def height(factors: list[np.ndarray]) -> Height:
            nonlocal count
            count += 1
            at = self.evaluate(tuple(f[None] for f in factors))
            return Height(float(at.criterion[0]), float(at.rounding[0]), float(at.sigma2[0]))

        runaway = follow(height, [factor[0] for factor in optima.points.factors])
        if runaway is None:
            return None
        evaluation = self.solver.evaluate(runaway.factors)
        searched = optima.convergence(0)
        convergence = replace(
            searched,
            evaluations=searched.evaluations + count + 1,
            converged=True,
            message=runaway.message(),
        )
        return Optimum(runaway.factors, evaluation, convergence, (runaway.message(),))

    def ridge(self, factors: list[np.ndarray], at: Evaluation, error: float) -> str:
        """Say which variances are not determined at an optimum, whose criterion has this error."""

        def rises(moved: list[np.ndarray]) -> bool:
            return self._moves(moved, at, error)

        return flat_ridge(self.gram, factors, at.score, at.curvature, rises)

    def _moves(self, moved: list[np.ndarray], at: Evaluation, error: float) -> bool:
        """Whether the criterion at other factors differs by more than its rounding `error`."""
        gap = self.evaluate(tuple(f[None] for f in moved)).criterion[0] - at.criterion
        return bool(not np.abs(gap) < limits.EXHAUSTED * error)

    def profile(self) -> Profile | None:
        exact = self.solver.exact(0)
        if exact is None:
            return None
        return Profile.of(exact.sums, self.without_effects, reml=exact.reml)

    def evaluate(self, factors: Factors) -> Values:
        answer = np.empty(1, dtype=object)
        try:
            answer[0] = at = self.solver.evaluate([factor[0] for factor in factors])
        except np.linalg.LinAlgError:
            m = self.gram.n_theta
            score = tuple(np.zeros_like(factor) for factor in factors)
            one, curvature = np.ones(1), np.zeros((1, m, m))
            return Values(np.inf * one, one, one, score, curvature, (answer,))
        criterion, sigma2 = np.array([at.criterion]), np.array([at.sigma2])
        error = rounding(criterion, sigma2 if at.cancelled else np.ones(1), self.gram.n)
        score = tuple(part[None] for part in at.score)
        return Values(criterion, sigma2, error, score, at.curvature[None], (answer,), at.exact)
