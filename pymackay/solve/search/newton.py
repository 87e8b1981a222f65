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
from typing import Self

import numpy as np

from pymackay.model.sums.gram import Bases
from pymackay.results import Convergence
from pymackay.solve.search import limits
from pymackay.solve.search.correlations import other_correlations
from pymackay.solve.search.flat_chart import flat_parameters
from pymackay.solve.search.landscape import Landscape
from pymackay.solve.search.limits import Control
from pymackay.solve.search.optima import Optima, over_correlations, over_valleys
from pymackay.solve.search.points import (
    Certificates,
    Points,
    one_of_each,
    rounding,
)
from pymackay.solve.search.ridge import named_once, ridge_at
from pymackay.solve.search.runaway import Runaway, follow
from pymackay.solve.search.start import (
    further_starts,
    may_scan,
    moment_start,
    noise_level,
    within_reach,
)
from pymackay.solve.search.trust_region import Ground, descend
from pymackay.solve.search.valleys.profile import Profile
from pymackay.solve.search.values import Factors, Values
from pymackay.solve.solver import Optimum, Solver, criterion_value

_ENDLESS = (
    "the criterion falls as sigma goes to zero, without end as far as float64 can tell, so that "
    "there is no optimum: take random effects out"
)
_BEYOND_DIGITS = (
    "the random effects are so large beside the residuals that float64 cannot tell where the "
    "criterion is lowest: subtract known differences between the levels from the response, or "
    "check it for values that do not belong there"
)


def find_optima(
    landscape: Landscape,
    control: Control | None = None,
    start: Sequence[np.ndarray] | None = None,
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
    """
    if start is None:
        return _from_data(landscape, control)
    everywhere = [np.broadcast_to(f, (len(landscape), *f.shape)) for f in start]
    best = optimise_many(landscape, tuple(everywhere), control)
    doubtful = np.flatnonzero(~best.sure)
    if len(doubtful):
        others = _from_data(landscape.take(doubtful), control)
        best.keep_better(others, doubtful)
    return best


def _from_data(landscape: Landscape, control: Control | None) -> Optima:
    """Search from the start by the data, and from further ones where `further_starts` says so."""

    def search(some: Landscape, start: Factors) -> Optima:
        return optimise_many(some, start, control)

    first = best = search(landscape, landscape.start())
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
        other = search(landscape.take(todo), tuple(f[todo] for f in start))
        improved[todo[best.keep_better(other, todo)]] = True
        done = improved & best.sure
    if landscape.gram.structured:
        starts = other_correlations(landscape.gram, best.points)
        best = over_correlations(landscape, best, starts, search)
    if not may_scan(landscape.gram):
        return best
    return over_valleys(landscape, best, search)


def optimise_many(landscape: Landscape, start: Factors, control: Control | None = None) -> Optima:
    """Minimise each response's criterion from `start`: factors term by term, each (B, q, q)."""
    B = len(landscape)
    noise = tuple(noise_level(landscape.gram, k) for k in range(len(start)))
    counts = np.zeros(B, dtype=int), np.zeros(B, dtype=int)
    search = _Search(landscape, noise, control or Control(), np.arange(B), *counts)
    points = search.run(start)
    certificates, gram = Certificates.of(points), landscape.gram
    certified = ~np.any(list(certificates.faults().values()), axis=0)
    columns = gram.p + sum(block.size for block in gram.blocks)
    sure = certified & ~points.singular
    return Optima(points, certificates, certified, sure, *counts, gram.n, columns)


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
    landscape = OneResponse(solver)
    return landscape.optimum(optimise_many(landscape, one_of_each(start), control))


def find_optimum(
    solver: Solver,
    control: Control | None = None,
    start: Sequence[np.ndarray] | None = None,
) -> Optimum:
    """Minimise the solver's criterion as `find_optima` does."""
    landscape = OneResponse(solver)
    optima = find_optima(landscape, control, start)
    if landscape.gram.structured and optima.points.sigma2[0] < limits.VANISHING:
        runaway = follow(landscape, optima.points.factors)
        if runaway is not None:
            return landscape.limit(runaway, _convergence(optima))
    return landscape.optimum(optima)


@dataclass(frozen=True, eq=False)
class OneResponse:
    """The landscape of a solver's one response; its answers are `Evaluation`s."""

    solver: Solver

    @property
    def gram(self) -> Bases:
        """The cross-products."""
        return self.solver.bases

    @property
    def without_effects(self) -> np.ndarray:
        """The criterion where no random effect varies, shape (1,)."""
        none = {"logdet_v": 0.0, "logdet_x": 0.0, "r2": 1.0}
        return np.array([criterion_value(self.gram, reml=self.solver.reml, **none)])

    def __len__(self) -> int:
        return 1

    def take(self, which: np.ndarray) -> OneResponse:
        """Return itself: there is no other response."""
        return self

    def start(self) -> Factors:
        """Return `moment_start`'s factors."""
        return one_of_each(moment_start(self.gram, reml=self.solver.reml))

    def evaluate(self, factors: Factors) -> Values:
        """Evaluate the solver's criterion, infinite where float64 has no digits."""
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
        score = one_of_each(at.score)
        return Values(criterion, sigma2, error, score, at.curvature[None], (answer,), at.exact)

    def profile(self) -> Profile | None:
        """Return the profile of the exact sums, where there are some."""
        exact = self.solver.exact(0)
        if exact is None:
            return None
        return Profile.of(exact.sums, self.without_effects, reml=exact.reml)

    def optimum(self, optima: Optima) -> Optimum:
        """Return where the search ended, and say which variances are not determined there."""
        points, convergence = optima.points, _convergence(optima)
        factors, evaluation = [factor[0] for factor in points.factors], points.answers[0][0]
        curved = optima.certificates.relative[0] > limits.RIDGE_CURVATURE
        if not convergence.converged or (curved and not points.singular[0]):
            return Optimum(factors, evaluation, convergence)
        if self.gram.structured:
            ridge = flat_parameters(self.gram, points, lambda f: optimise_many(self, f).points)
        else:
            ridge = ridge_at(self, factors)
        if not ridge:
            return Optimum(factors, evaluation, convergence)
        flat = replace(convergence, message=f"{convergence.message}; {ridge}")
        return Optimum(factors, evaluation, flat, named_once(self.gram.model, ridge))

    def limit(self, runaway: Runaway, searched: Convergence) -> Optimum:
        """Return the limit of a criterion that falls as sigma goes to zero."""
        message = runaway.message()
        convergence = replace(
            searched,
            evaluations=searched.evaluations + runaway.evaluations + 1,
            converged=True,
            message=message,
        )
        at = self.solver.evaluate(runaway.factors)
        return Optimum(runaway.factors, at, convergence, (message,))


def _convergence(optima: Optima) -> Convergence:
    """Return how the search for one response has ended."""
    c, n = optima.certificates, optima.n
    problems = c.problems(0)
    sigma2 = float(optima.points.sigma2[0])
    if problems and sigma2 < limits.VANISHING:
        remainder = f"{np.sqrt(sigma2 * n):.1g} of what the fixed effects leave"
        few = ", and float64 keeps few digits of that" if sigma2 < limits.LITTLE else ""
        problems.append(f"hardly anything is left over, {remainder}{few}")
        if c.decrement[0] > limits.STILL_FALLING:
            problems.append(_ENDLESS if n <= optima.columns else _BEYOND_DIGITS)
    certified = f"optimum certified: gradient, curvature and boundary ({optima.scope})"
    return Convergence(
        converged=not problems,
        message="; ".join(problems) or certified,
        iterations=int(optima.iterations[0]),
        evaluations=int(optima.evaluations[0]),
        decrement=float(c.decrement[0]),
        gradient=float(c.gradient[0]),
        curvature=float(c.curvature[0]),
    )
