"""MacKay's loop: solve at given variances, compute new variances by a rule, and repeat.

A round solves the mixed-model equations at the loop's variances (or takes some steps of gradient
descent towards their solution). A rule of `pymackay.solve.loop.rules` computes the next variances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pymackay.errors import ConvergenceError
from pymackay.progress import Progress, bar
from pymackay.results import Convergence, Fit
from pymackay.solve.assemble import Problem, assemble
from pymackay.solve.loop.acceleration import Accelerator
from pymackay.solve.loop.boundary import DEAD, drop_direction, is_singular_root, weakest_direction
from pymackay.solve.loop.ends import Collapse, Judge, find_collapse
from pymackay.solve.loop.rounds import Learned, Round, State, TermRound, solve_round
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.search.newton import Control, optimise

Learner = Callable[[State], Learned]
Callback = Callable[[Mapping[str, object]], object]

_FLOOR = 1e-4  # of the sampling variance: the smallest unit in which changes are measured


@dataclass(frozen=True, eq=False)
class Settings:
    """Settings of a loop.

    Attributes
    ----------
    rule : Rule
    iterations : int
        Largest number of rounds.
    tolerance : float or None
        Distance at which the loop has converged; None: it runs all rounds.
    scale : tuple of float
        Factor of the rule's variances, term by term.
    accelerate : bool
    stop_dead : bool
        Whether a variance of zero ends the loop (never for the likelihood's rules).
    learner : callable or None
        Returns effects from gradient descent at a state; None: the equations are solved.
    callback : callable or None
        Called with each row of the trace; the loop ends if it returns a true value.
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
class LoopEnd:
    """The end of a loop.

    Attributes
    ----------
    round : Round
        At the last variances.
    before : Round
        The round from which the last variances were computed.
    likelihood : bool
        Whether the rule was one of the likelihood's.
    convergence : Convergence
    trace : pandas.DataFrame
        ``attrs["start"]`` holds the columns that describe the round at the starting point.
    collapse : Collapse or None
    """

    round: Round
    before: Round
    likelihood: bool
    convergence: Convergence
    trace: pd.DataFrame
    collapse: Collapse | None


def run_loop(problem: Problem, start: State, settings: Settings) -> LoopEnd:
    """Run MacKay's loop from `start`."""
    return _Loop(problem, settings).run(start)


def fit_of(problem: Problem, end: LoopEnd, messages: tuple[str, ...] = ()) -> Fit:
    """Return the `Fit` at the loop's own variances, with σ² not profiled.

    The literal loop ends with an update of the variances. Its fixed and random effects are those of
    the round before, from which the variances were computed.
    """
    last = end.round
    effects = last.evaluation if end.likelihood else end.before.evaluation
    evaluation = replace(
        last.evaluation,
        sigma2=last.state.noise_var,
        criterion=last.criterion,
        beta=effects.beta,
        b=effects.b,
    )
    return assemble(
        problem,
        last.state.factors,
        evaluation,
        end.convergence,
        trace=end.trace,
        messages=messages,
    )


class _Loop:
    """One run: the model, the solver, and the number of evaluations."""

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self.model, self.solver = problem.model, problem.solver
        self.settings = settings
        # term by term, the relative variance of one level's least-squares effect
        n, terms = self.solver.bases.n, self.model.terms
        self.levels = [len(self.model.factors[term.group].levels) / n for term in terms]
        unknowns = sum(len(term.effects) ** 2 for term in terms)
        accelerator = Accelerator(self.round, self.levels, n, unknowns)
        self.accelerator = accelerator if settings.accelerate else None
        certify = self.certify if settings.rule.likelihood else None
        self.judge = Judge(certify, settings.tolerance, settings.accelerate)
        self.evaluations = 0

    def run(self, start: State) -> LoopEnd:
        settings = self.settings
        rows: list[dict[str, object]] = []
        collapse: Collapse | None = None
        convergence: Convergence | None = None
        current = self.round(start)
        first = current.trace_row()
        following = self.following(current)
        with Progress(asked=settings.progress) as progress:
            while convergence is None:
                before = current
                current, step = self.advance(current, following)
                following = self.following(current)
                distance = self.distance(current, following)
                number = {"iteration": len(rows) + 1}
                rows.append(number | current.trace_row() | {"distance": distance, "step": step})
                done = bar(len(rows), settings.iterations)
                progress.tell(f"MacKay's loop {done}  distance {distance:.1e}")
                if not settings.rule.likelihood:
                    collapse = collapse or find_collapse(current, len(rows))
                stop = settings.callback is not None and bool(settings.callback(rows[-1]))
                convergence = self.ending(current, len(rows), distance, stop, collapse)
        paid = self.evaluations + self.judge.evaluations
        convergence = replace(convergence, iterations=len(rows), evaluations=paid)
        trace = pd.DataFrame(rows)
        trace.attrs["start"] = first
        likelihood = settings.rule.likelihood
        return LoopEnd(current, before, likelihood, convergence, trace, collapse)

    def round(self, state: State) -> Round:
        self.evaluations += 1
        learner = self.settings.learner
        learned = None if learner is None else learner(state)
        try:
            solved = solve_round(self.model, self.solver, state, learned)
        except np.linalg.LinAlgError as error:
            raise _no_digits(state) from error
        if not 0.0 < solved.next_noise_var < np.inf:
            raise _no_digits(state)
        return solved

    def following(self, current: Round) -> State:
        """Return the state that the rule asks for."""
        roots = [
            np.sqrt(scale) * self.next_root(term)
            for scale, term in zip(self.settings.scale, current.terms, strict=True)
        ]
        return current.rescaled(roots, current.next_noise_var)

    def next_root(self, term: TermRound) -> np.ndarray:
        rule = self.settings.rule
        if term.structure is not None:
            assert rule.structured is not None
            return rule.structured(term)
        singular = self.settings.accelerate and is_singular_root(term.root)
        if singular and rule.next_singular_root is not None:
            return rule.next_singular_root(term)
        root = rule.next_root(term)
        weakest = None if rule.likelihood else weakest_direction(term)
        if weakest is not None and weakest.share < DEAD:
            return drop_direction(root, weakest)
        return root

    def certify(self, state: State) -> tuple[Convergence, State | None]:
        """Return the optimiser's certificate, and the state by which it would leave a boundary."""
        factors = state.factors
        optimum = optimise(self.solver, factors, Control(max_iterations=0))
        pairs = zip(factors, optimum.factors, strict=True)
        if all(np.array_equal(before, after) for before, after in pairs):
            return optimum.convergence, None
        return optimum.convergence, State(tuple(optimum.factors), optimum.evaluation.sigma2)

    def distance(self, current: Round, following: State) -> float:
        """Return the largest relative change that the rule asks for.

        Changes of σ² are relative to σ², those of V_ij to √(V_ii V_jj).
        """
        changes = [abs(following.noise_var / current.state.noise_var - 1.0)]
        for term, root, level in zip(current.terms, following.roots, self.levels, strict=True):
            before = term.transform @ term.root
            after = term.transform @ root * np.sqrt(following.noise_var / current.state.noise_var)
            floor = _FLOOR * level * np.einsum("ab,ab->a", term.transform, term.transform)
            unit = np.sqrt(np.einsum("ab,ab->a", before, before) + floor)
            change = (after @ after.T - before @ before.T) / np.outer(unit, unit)
            changes.append(float(np.abs(change).max()))
        return max(changes)

    def advance(self, current: Round, following: State) -> tuple[Round, str]:
        """Return the next round and the kind of step."""
        if self.accelerator is None:
            return self.round(following), "rule"
        if self.judge.elsewhere is not None:
            state, self.judge.elsewhere = self.judge.elsewhere, None
            self.accelerator.anderson.reset()
            return self.round(state), "boundary"
        return self.accelerator.advance(current, following)

    def ending(
        self, current: Round, iteration: int, distance: float, stop: bool, collapse: Collapse | None
    ) -> Convergence | None:
        """Return the convergence if the loop ends here, else None."""
        if collapse is not None and self.settings.stop_dead:
            return Convergence(False, f"collapsed in iteration {collapse.iteration}")
        converged = self.judge.at_rest(current, iteration, distance)
        if converged is not None:
            return converged
        if stop:
            ended = f"ended by the callback after {iteration} iterations"
            return self.judge.stopped(current, distance, ended)
        if iteration >= self.settings.iterations:
            return self.judge.stopped(current, distance, f"ran {iteration} iterations")
        return None


def _no_digits(state: State) -> ConvergenceError:
    return ConvergenceError(
        f"MacKay's loop cannot continue, because float64 has no digits left: its residual variance "
        f"is {state.noise_var:.2g} of the fixed effects' residual sum of squares, and the random "
        f"effects explain the rest. Check whether the response is computed from other columns, or "
        f"whether there is one row per level. If not, give a better start=..., or ask for fewer "
        f"iterations."
    )
