"""MacKay's loop: solve at given variances, compute new variances by a rule, and repeat.

A round solves the mixed-model equations at the loop's variances (or takes some steps of gradient
descent towards their solution). A rule of `pymackay.solve.loop.rules` computes the next variances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
import pandas as pd

from pymackay.progress import Progress, bar
from pymackay.results import Convergence, Fit
from pymackay.solve.assemble import Problem, assemble
from pymackay.solve.loop.acceleration import Accelerator
from pymackay.solve.loop.boundary import DEAD, drop_direction, is_singular_root, weakest_direction
from pymackay.solve.loop.ends import Collapse, Judge, find_collapse
from pymackay.solve.loop.equations import AnyRound, Equations
from pymackay.solve.loop.rounds import LinearRound, Round, State, TermRound
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.search.limits import LEVEL
from pymackay.solve.search.points import rounding

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
    raises : bool
        Whether that is an error.
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
    raises: bool = True
    callback: Callback | None = None
    progress: bool | None = None


@dataclass(frozen=True, eq=False)
class LoopEnd(Generic[AnyRound]):
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

    round: AnyRound
    before: AnyRound
    likelihood: bool
    convergence: Convergence
    trace: pd.DataFrame
    collapse: Collapse | None


def run_loop(equations: Equations[AnyRound], start: State, settings: Settings) -> LoopEnd[AnyRound]:
    """Run MacKay's loop from `start`."""
    n_unknowns = sum(root.size for root in start.roots)
    return _Loop(equations, settings, n_unknowns).run(start)


def fit_of(problem: Problem, end: LoopEnd[LinearRound], messages: tuple[str, ...] = ()) -> Fit:
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


class _Loop(Generic[AnyRound]):
    """One run: the equations, the settings, and the number of evaluations."""

    def __init__(self, equations: Equations[AnyRound], settings: Settings, n_unknowns: int) -> None:
        self.equations, self.settings = equations, settings
        self.levels = equations.levels
        self.accelerator: Accelerator[AnyRound] | None = None
        if settings.accelerate:
            self.accelerator = Accelerator(self.round, self.no_worse, self.levels, n_unknowns)
        certify = equations.certify if settings.rule.likelihood else None
        self.judge = Judge(certify, settings.tolerance, settings.accelerate)
        self.evaluations = 0

    def run(self, start: State) -> LoopEnd[AnyRound]:
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

    def round(self, state: State) -> AnyRound:
        self.evaluations += 1
        return self.equations.solve(state)

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

    def no_worse(self, before: Round, after: Round) -> bool:
        """Return whether a step may be taken.

        It must not raise the criterion by more than rounding. Where the rules do not lower one, the
        changes that they ask for must not grow.
        """
        if self.equations.certify is not None:
            sigma2 = np.asarray(before.state.noise_var)
            own = float(rounding(np.asarray(before.criterion), sigma2, self.equations.n_rows))
            return after.criterion <= before.criterion + LEVEL * own
        asked = [self.distance(each, self.following(each)) for each in (before, after)]
        return asked[1] <= asked[0]

    def advance(self, current: AnyRound, following: State) -> tuple[AnyRound, str]:
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
