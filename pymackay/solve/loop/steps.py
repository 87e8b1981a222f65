"""`Accelerator`: quicker steps of the likelihood's rules, none of which raises the criterion.

A proposal is kept only if it does not raise the criterion; otherwise the rule itself is taken, and
if even that would raise it, the MM step, which cannot. Proposals are roots F of the covariance
matrices, so that none of them leaves the covariance matrices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.model.sums.gram import Bases
from pymackay.solve.loop.anderson import Anderson
from pymackay.solve.loop.boundary import drop_direction, weakest_direction
from pymackay.solve.loop.rounds import Round, State
from pymackay.solve.loop.rules.rule import majorised_root

__all__ = ["Accelerator", "rescaled"]

_WEAK = 1e-2  # share of a direction that its data determine: below, might it be zero?
_STRETCH = 4.0  # of the rule's step: the first that is tried when the acceleration fails
_DEPTH = 8  # earlier rounds that an acceleration looks back on
_FAR = 2.0  # change of log σ² that no proposal is trusted with


class Accelerator:
    """Steps from round to round.

    Parameters
    ----------
    solve : callable
        From a state to its round.
    levels : sequence of float
        Term by term, the relative variance of one level's least-squares effect.
    gram : Bases
    """

    def __init__(
        self, solve: Callable[[State], Round], levels: Sequence[float], gram: Bases
    ) -> None:
        self.solve = solve
        self.levels = levels
        self.n = gram.n
        self.anderson = Anderson(min(_DEPTH, sum(lay.q**2 for lay in gram.layouts) + 1))
        self.stretch = 1.0
        self.asked = [_WEAK] * len(levels)

    def advance(self, current: Round, wanted: State) -> tuple[Round, str]:
        """Return the next round, and what led to it; `wanted` is the rule's own next state."""
        reduced = self.reduce(current)
        if reduced is not None:
            return reduced, "boundary"
        ceiling = current.criterion + self.rounding(current)
        proposal = self.proposal(current.state, wanted)
        if proposal is not None:
            with contextlib.suppress(ConvergenceError):  # too far out for float64
                found = self.solve(proposal)
                if found.criterion <= ceiling:
                    self.stretch *= 2.0 if self.stretch > 1.0 else 1.0
                    return found, "accelerated"
            self.anderson.reset()
            self.stretch = _STRETCH if self.stretch == 1.0 else 1.0
        found = self.solve(wanted)
        if found.criterion <= ceiling:
            return found, "rule"
        return self.solve(self.majorised(current)), "majorised"

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
        return _unpack(point, state) if abs(point[-1] - here[-1]) <= _FAR else None

    def majorised(self, current: Round) -> State:
        """Return the MM step, which does not raise the criterion (Zhou et al. 2019)."""
        roots = [majorised_root(term.root, term.traces, term.squares) for term in current.terms]
        return rescaled(current, roots, np.sqrt(current.next_noise_var * current.state.noise_var))

    def rounding(self, current: Round) -> float:
        """Size of the criterion's own rounding error."""
        return 1e-13 * max(abs(current.criterion), self.n)

    def reduce(self, current: Round) -> Round | None:
        """Drop a direction that is all but dead, if the likelihood is no worse without it."""
        for k, term in enumerate(current.terms):
            weakest = weakest_direction(term)
            if weakest is None or weakest.share >= self.asked[k]:
                continue
            self.asked[k] = 0.1 * weakest.share
            roots = list(current.state.roots)
            roots[k] = drop_direction(term.root, weakest)
            found = self.solve(State(tuple(roots), current.state.noise_var))
            there = found.terms[k]
            pull = weakest.axis @ (there.traces - there.squares) @ weakest.axis
            if found.criterion <= current.criterion + self.rounding(current) and pull >= 0.0:
                self.anderson.reset()
                self.asked[k] = _WEAK
                return found
        return None


def rescaled(current: Round, roots: Sequence[np.ndarray], noise_var: float) -> State:
    """Return the state at a new σ² of roots that are relative to the current one."""
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
