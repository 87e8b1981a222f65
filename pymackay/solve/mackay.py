"""MacKay's loop: solve, let a rule set the variances anew, again, until it settles or breaks.

A round solves the mixed-model equations at the loop's variances (or learns the effects for some
steps), and a rule of `pymackay.solve.updates` turns what that shows into the next variances. The
likelihood's rules may be accelerated: a proposal is kept only if it does not raise the criterion;
otherwise the rule itself is taken, and if even that would raise it, the MM step, which cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pymackay.results import Convergence, Fit
from pymackay.solve.acceleration import Anderson
from pymackay.solve.assemble import Problem, assemble
from pymackay.solve.boundary import drop_direction, is_singular_root, weakest_direction
from pymackay.solve.loop_trace import Ticker, trace_row, trace_table
from pymackay.solve.reml import Control, Optimum, optimise
from pymackay.solve.rounds import Learned, Round, State, TermRound, solve_round
from pymackay.solve.start import noise_level
from pymackay.solve.updates import Rule, gamma_root, majorised_root

__all__ = ["Collapse", "LoopEnd", "Settings", "fit_of", "run_loop"]

Learner = Callable[[State], Learned]
Callback = Callable[[Mapping[str, object]], object]

_DEAD = 1e-6  # share of a direction that its data determine, under which it is lost
_BURIED = 1e-12  # the same, under which it is set to zero, before squaring makes it underflow
_WEAK = 1e-2  # the same, under which the likelihood is asked whether it is zero
_PATIENCE = 20  # rounds without progress after which rounding is taken to be reached
_SETTLED = 1e-8  # distance at which a loop without a tolerance is said to have settled
_NEARLY = 1e-6  # distance under which a standstill is put down to rounding
_FLOOR = 1e-4  # of the sampling variance: what a vanishing variance is compared with
_STRETCH = 4.0  # of the rule's step: the first that is tried when the acceleration fails
_DEPTH = 8  # earlier rounds that an acceleration looks back on


@dataclass(frozen=True, eq=False)
class Settings:
    """How a loop runs.

    Attributes
    ----------
    rule : Rule
    iterations : int
        Rounds at most.
    tolerance : float or None
        Distance at which the loop has converged; None: it runs through.
    scale : tuple of float
        Term by term, what the rule's variances are multiplied by.
    accelerate : bool
    stop_dead : bool
        Whether a direction that dies ends the loop (the likelihood's rules: never).
    learner : callable or None
        Learns the effects at a state; None: they are solved for.
    callback : callable or None
        Called with each row of the trace; a true answer ends the loop.
    progress : bool or None
        None: a bar appears on a terminal when the loop takes long.
    """

    rule: Rule
    iterations: int
    tolerance: float | None
    scale: tuple[float, ...]
    accelerate: bool = False
    stop_dead: bool = True
    learner: Learner | None = None
    callback: Callback | None = None
    progress: bool | None = None


@dataclass(frozen=True, eq=False)
class Collapse:
    """A direction of a covariance matrix that a loop has lost.

    Attributes
    ----------
    term : int
        Position among the model's terms.
    iteration : int
    contrast : numpy.ndarray, shape (q,)
        Coefficients of the effects, user's units, largest 1: their combination varies no more.
    share : float
        Of the direction's effective number, per level: t / (1 + t).
    """

    term: int
    iteration: int
    contrast: np.ndarray
    share: float


@dataclass(frozen=True, eq=False)
class LoopEnd:
    """Where a loop ended.

    Attributes
    ----------
    round : Round
    convergence : Convergence
    trace : pandas.DataFrame
    collapse : Collapse or None
    """

    round: Round
    convergence: Convergence
    trace: pd.DataFrame
    collapse: Collapse | None


def run_loop(problem: Problem, start: State, settings: Settings) -> LoopEnd:
    """Run MacKay's loop from `start`."""
    return _Loop(problem, settings).run(start)


def fit_of(problem: Problem, end: LoopEnd, messages: tuple[str, ...] = ()) -> Fit:
    """Return the `Fit` at the loop's own variances, σ² not profiled."""
    last = end.round
    evaluation = replace(last.evaluation, sigma2=last.state.noise_var, criterion=last.criterion)
    return assemble(
        problem,
        last.state.factors,
        evaluation,
        end.convergence,
        trace=end.trace,
        messages=messages,
    )


class _Loop:
    """One run: holds the solver and counts what is paid."""

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self.model, self.solver = problem.model, problem.solver
        self.settings = settings
        gram = self.solver.gram
        self.levels = [noise_level(gram, k) for k in range(len(gram.layouts))]
        self.anderson = Anderson(min(_DEPTH, sum(lay.q**2 for lay in gram.layouts) + 1))
        self.evaluations = 0
        self.stretch = 1.0
        self.asked = [_WEAK] * len(self.levels)
        self.moved: Round | None = None
        self.best, self.best_at = np.inf, 0

    def run(self, start: State) -> LoopEnd:
        settings = self.settings
        ticker = Ticker(settings.iterations, settings.progress)
        rows: list[dict[str, object]] = []
        collapse: Collapse | None = None
        convergence: Convergence | None = None
        current = self.round(start)
        wanted = self.wanted(current)
        while convergence is None:
            current, step = self.advance(current, wanted)
            wanted = self.wanted(current)
            distance = self.distance(current, wanted)
            rows.append(trace_row(len(rows) + 1, current, distance, step))
            ticker.tick(len(rows), distance)
            if not settings.rule.likelihood:
                collapse = collapse or find_collapse(current, len(rows))
            bored = settings.callback is not None and bool(settings.callback(rows[-1]))
            convergence = self.ending(current, len(rows), distance, bored, collapse)
        ticker.finish(len(rows), distance)
        convergence = replace(convergence, iterations=len(rows), evaluations=self.evaluations)
        return LoopEnd(current, convergence, trace_table(rows), collapse)

    def round(self, state: State) -> Round:
        self.evaluations += 1
        learner = self.settings.learner
        return solve_round(
            self.model, self.solver, state, None if learner is None else learner(state)
        )

    def wanted(self, current: Round) -> State:
        """Return the state that the rule asks for."""
        return _next_state(current, [self.next_root(term) for term in current.terms], self.settings)

    def next_root(self, term: TermRound) -> np.ndarray:
        rule = self.settings.rule
        if self.settings.accelerate and is_singular_root(term.root):
            # EM cannot turn the range of a singular V; MacKay's update can, to the same end
            return gamma_root(term.root, term.traces, term.squares)
        root = rule.next_root(term)
        weakest = None if rule.likelihood else weakest_direction(term)
        if weakest is not None and weakest.share < _BURIED:
            return drop_direction(root, weakest)
        return root

    def distance(self, current: Round, wanted: State) -> float:
        """Return the largest relative change that the rule asks for.

        Of σ², and of each element V_ij in units of √(V_ii V_jj).
        """
        moves = [abs(wanted.noise_var / current.state.noise_var - 1.0)]
        for term, root, level in zip(current.terms, wanted.roots, self.levels, strict=True):
            now = term.transform @ term.root
            then = term.transform @ root * np.sqrt(wanted.noise_var / current.state.noise_var)
            floor = _FLOOR * level * np.einsum("ab,ab->a", term.transform, term.transform)
            unit = np.sqrt(np.einsum("ab,ab->a", now, now) + floor)
            move = (then @ then.T - now @ now.T) / np.outer(unit, unit)
            moves.append(float(np.abs(move).max()))
        return max(moves)

    def advance(self, current: Round, wanted: State) -> tuple[Round, str]:
        """Return the next round, and what led to it."""
        if not self.settings.accelerate:
            return self.round(wanted), "rule"
        if self.moved is not None:
            found, self.moved = self.moved, None
            return found, "boundary"
        reduced = self.reduce(current)
        if reduced is not None:
            return reduced, "boundary"
        return self.accelerated(current, wanted)

    def accelerated(self, current: Round, wanted: State) -> tuple[Round, str]:
        """Return a round that is not above the current one, up to the criterion's rounding."""
        ceiling = current.criterion + self.rounding(current)
        proposal = self.proposal(current.state, wanted)
        if proposal is not None:
            found = self.round(proposal)
            if found.criterion <= ceiling:
                self.stretch *= 2.0 if self.stretch > 1.0 else 1.0
                return found, "accelerated"
            self.anderson.reset()
            self.stretch = _STRETCH if self.stretch == 1.0 else 1.0
        found = self.round(wanted)
        if found.criterion <= ceiling:
            return found, "rule"
        return self.round(self.majorised(current)), "majorised"

    def proposal(self, state: State, wanted: State) -> State | None:
        """Return Anderson's proposal or, after one has failed, the rule's step stretched.

        Where the rule's steps grow on their way, as EM's do that leave a neighbourhood of zero,
        a secant points backwards; stretched steps do not.
        """
        weights = [
            np.repeat(1.0 / np.sqrt(np.einsum("ab,ab->a", root, root) + level), len(root))
            for root, level in zip(state.roots, self.levels, strict=True)
        ]
        here, image = _pack(state), _pack(wanted)
        point = self.anderson.propose(here, image, np.concatenate([*weights, [1.0]]))
        if self.stretch > 1.0:
            point = here + self.stretch * (image - here)
        elif not self.anderson.ready:
            return None
        return _unpack(point, state) if abs(point[-1] - here[-1]) <= 2.0 else None

    def majorised(self, current: Round) -> State:
        """Return the MM step, which does not raise the criterion (Zhou et al. 2019)."""
        roots = [majorised_root(term.root, term.traces, term.squares) for term in current.terms]
        return _rescaled(current, roots, np.sqrt(current.next_noise_var * current.state.noise_var))

    def rounding(self, current: Round) -> float:
        """Size of the criterion's own rounding error."""
        return 1e-13 * max(abs(current.criterion), self.solver.gram.n)

    def reduce(self, current: Round) -> Round | None:
        """Drop a direction that is all but dead, if the likelihood is no worse without it."""
        for k, term in enumerate(current.terms):
            weakest = weakest_direction(term)
            if weakest is None or weakest.share >= self.asked[k]:
                continue
            self.asked[k] = 0.1 * weakest.share
            roots = list(current.state.roots)
            roots[k] = drop_direction(term.root, weakest)
            found = self.round(State(tuple(roots), current.state.noise_var))
            there = found.terms[k]
            pull = weakest.axis @ (there.traces - there.squares) @ weakest.axis
            if found.criterion <= current.criterion + self.rounding(current) and pull >= 0.0:
                self.anderson.reset()
                self.asked[k] = _WEAK
                return found
        return None

    def ending(
        self, current: Round, iteration: int, distance: float, bored: bool, lost: Collapse | None
    ) -> Convergence | None:
        """Say how the loop ends, if it does."""
        settings = self.settings
        if distance < self.best:
            self.best, self.best_at = distance, iteration
        stalled = distance < _NEARLY and iteration - self.best_at >= _PATIENCE
        if lost is not None and settings.stop_dead:
            return Convergence(False, f"collapsed in iteration {lost.iteration}")
        if settings.tolerance is not None and (distance <= settings.tolerance or stalled):
            settled = self.settled(current, distance, stalled)
            if settled is not None:
                return settled
        if bored:
            return self.left(current, f"ended by the callback after {iteration} iterations")
        if iteration >= settings.iterations:
            return self.left(current, self.ran_out(iteration, distance))
        return None

    def ran_out(self, iteration: int, distance: float) -> str:
        state = "settled" if distance <= _SETTLED else "still moving"
        ran = f"ran {iteration} iterations and is {state}: the rule asks for relative changes of"
        return f"{ran} {distance:.2g}"

    def settled(self, current: Round, distance: float, stalled: bool) -> Convergence | None:
        """Return the certificate of a loop that has come to rest, if it holds."""
        reached = f"the rule asks for relative changes of {distance:.2g}"
        if not self.settings.rule.likelihood or self.settings.learner is not None:
            return Convergence(True, f"converged: {reached}")
        optimum = self.examine(current)
        if self.moved is not None:
            return None
        found = optimum.convergence
        error = np.sqrt(2.0 * found.decrement)
        if found.converged and (stalled or error <= (self.settings.tolerance or 0.0)):
            return replace(found, message=f"converged: {reached}; {found.message}")
        return None

    def examine(self, current: Round) -> Optimum:
        """Ask the optimiser, which takes no step, for its certificate or a way off the boundary."""
        factors = current.state.factors
        optimum = optimise(self.solver, factors, Control(max_iterations=0))
        self.evaluations += optimum.convergence.evaluations
        same = all(np.array_equal(a, b) for a, b in zip(factors, optimum.factors, strict=True))
        if self.settings.accelerate and not same:
            self.anderson.reset()
            self.moved = self.round(State(tuple(optimum.factors), optimum.evaluation.sigma2))
        return optimum

    def left(self, current: Round, message: str) -> Convergence:
        """Return how a loop stands that was not brought to its end."""
        if not self.settings.rule.likelihood:
            settled = self.best <= _SETTLED and self.best_at
            return Convergence(bool(settled), message)
        found = optimise(self.solver, current.state.factors, Control(max_iterations=0)).convergence
        return replace(found, converged=False, message=f"{message}; {found.message}")


def find_collapse(current: Round, iteration: int) -> Collapse | None:
    """Return the first direction that has died."""
    for k, term in enumerate(current.terms):
        weakest = weakest_direction(term)
        if weakest is not None and weakest.share < _DEAD:
            return Collapse(k, iteration, weakest.contrast, weakest.share)
    return None


def _next_state(current: Round, roots: list[np.ndarray], settings: Settings) -> State:
    scaled = [root * np.sqrt(s) for root, s in zip(roots, settings.scale, strict=True)]
    return _rescaled(current, scaled, current.next_noise_var)


def _rescaled(current: Round, roots: list[np.ndarray], noise_var: float) -> State:
    """Express roots relative to the old σ² as roots relative to the new."""
    ratio = np.sqrt(current.state.noise_var / noise_var)
    return State(tuple(root * ratio for root in roots), float(noise_var))


def _pack(state: State) -> np.ndarray:
    return np.concatenate([*(root.ravel() for root in state.roots), [np.log(state.noise_var)]])


def _unpack(point: np.ndarray, like: State) -> State:
    roots, start = [], 0
    for root in like.roots:
        roots.append(point[start : start + root.size].reshape(root.shape))
        start += root.size
    return State(tuple(roots), float(np.exp(point[-1])))
