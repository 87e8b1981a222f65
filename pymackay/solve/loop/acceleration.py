"""`Accelerator`: larger steps for the likelihood's rules; no step raises the criterion.

A proposed step is accepted only if it does not raise the criterion. Otherwise the rule's own step
is taken and, if that would raise the criterion too, the MM step, which cannot. Proposals are roots
Λ of the covariance matrices, so that each of these is positive semidefinite.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Generic

import numpy as np

from pymackay.covariance.structure import Structure
from pymackay.errors import ConvergenceError
from pymackay.solve.loop.boundary import drop_direction, weakest_direction
from pymackay.solve.loop.equations import AnyRound
from pymackay.solve.loop.rounds import Round, State
from pymackay.solve.loop.rules.majorised import majorised_root
from pymackay.solve.loop.rules.structured import structured_em

_WEAK = 1e-2  # share of a direction that its data determine, below which zero is tried
_STRETCH = 4.0  # first multiple of the rule's step that is tried after a failed acceleration
_DEPTH = 8  # number of earlier rounds that an acceleration uses
_FAR = 2.0  # change of log σ² above which a proposal is rejected
_DEPENDENT = 1e-8  # relative singular value below which earlier rounds are linearly dependent


class Anderson:
    """Propose the next point of ``x ← g(x)`` from the residuals g(x) − x of the last rounds.

    The proposal is the combination of earlier rounds whose residuals cancel to first order, which
    is a secant method in several unknowns.

    Parameters
    ----------
    depth : int
        Number of differences between rounds that are used.

    References
    ----------
    Anderson, D. G. (1965). Iterative procedures for nonlinear integral equations. J. ACM 12.
    Walker, H. F., Ni, P. (2011). Anderson acceleration for fixed-point iterations. SIAM J. Numer.
    Anal. 49.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._images: list[np.ndarray] = []
        self._residuals: list[np.ndarray] = []

    def reset(self) -> None:
        """Forget the earlier rounds."""
        self._images.clear()
        self._residuals.clear()

    @property
    def ready(self) -> bool:
        """Whether there are earlier rounds to combine."""
        return len(self._images) > 1

    def propose(self, point: np.ndarray, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the next point, shape (m,).

        Parameters
        ----------
        point, image : numpy.ndarray, shape (m,)
            x and g(x).
        weight : numpy.ndarray, shape (m,)
            Weight of the residual in each coordinate.
        """
        self._images.append(image)
        self._residuals.append(image - point)
        del self._images[: -self.depth - 1], self._residuals[: -self.depth - 1]
        if len(self._images) == 1:
            return image
        residuals, images = np.array(self._residuals), np.array(self._images)
        steps = np.diff(residuals, axis=0).T * weight[:, None]
        size = np.linalg.norm(steps, axis=0)
        size[size == 0.0] = 1.0
        share = np.linalg.lstsq(steps / size, residuals[-1] * weight, rcond=_DEPENDENT)[0] / size
        return image - np.diff(images, axis=0).T @ share


class Accelerator(Generic[AnyRound]):
    """Takes the loop from round to round.

    Parameters
    ----------
    solve : callable
        Takes a state and returns its round.
    no_worse : callable
        Takes the rounds before and after a step, and returns whether it may be taken.
    levels : sequence of float
        Term by term, the relative variance of one level's least-squares effect.
    n_unknowns : int
        Elements of all roots Λ together.
    """

    def __init__(
        self,
        solve: Callable[[State], AnyRound],
        no_worse: Callable[[Round, Round], bool],
        levels: Sequence[float],
        n_unknowns: int,
    ) -> None:
        self.solve = solve
        self.no_worse = no_worse
        self.levels = levels
        self.anderson = Anderson(min(_DEPTH, n_unknowns + 1))
        self.stretch = 1.0
        self.thresholds = [_WEAK] * len(levels)

    def advance(self, current: AnyRound, next_state: State) -> tuple[AnyRound, str]:
        """Return the next round and the kind of step; `next_state` is that of the rule itself."""
        reduced = self.reduce(current)
        if reduced is not None:
            return reduced, "boundary"
        structures = [term.structure for term in current.terms]
        proposal = self.proposal(current.state, next_state, structures)
        if proposal is not None:
            with contextlib.suppress(ConvergenceError):  # too far out for float64
                accelerated = self.solve(proposal)
                if self.no_worse(current, accelerated):
                    self.stretch *= 2.0 if self.stretch > 1.0 else 1.0
                    return accelerated, "accelerated"
            self.anderson.reset()
            self.stretch = _STRETCH if self.stretch == 1.0 else 1.0
        plain = self.solve(next_state)
        if self.no_worse(current, plain):
            return plain, "rule"
        return self.solve(self.majorised(current)), "majorised"

    def proposal(
        self, state: State, next_state: State, structures: Sequence[Structure | None]
    ) -> State | None:
        """Return Anderson's proposal or, after one has failed, a multiple of the rule's step.

        Where the rule's steps grow from round to round, as those of EM near a variance of zero, a
        secant step goes backwards; a multiple of the rule's step does not.
        """
        weights = [
            np.repeat(1.0 / np.sqrt(np.einsum("ab,ab->a", root, root) + level), len(root))
            for root, level in zip(state.roots, self.levels, strict=True)
        ]
        current, image = _pack(state), _pack(next_state)
        point = self.anderson.propose(current, image, np.concatenate([*weights, [1.0]]))
        if self.stretch > 1.0:
            point = current + self.stretch * (image - current)
        elif not self.anderson.ready:
            return None
        if abs(point[-1] - current[-1]) > _FAR:
            return None
        return _unpack(point, state, structures)

    def majorised(self, current: Round) -> State:
        """Return the MM step, which does not raise the criterion (Zhou et al. 2019)."""
        roots = [
            majorised_root(term) if term.structure is None else structured_em(term)
            for term in current.terms
        ]
        return current.rescaled(roots, np.sqrt(current.next_noise_var * current.state.noise_var))

    def reduce(self, current: AnyRound) -> AnyRound | None:
        """Set the variance of a weak direction to zero if that does not raise the criterion.

        Its gradient at zero, ``axis'(τ − s/σ²)axis``, must not be negative.
        """
        for k, term in enumerate(current.terms):
            weakest = None if term.structure is not None else weakest_direction(term)
            if weakest is None or weakest.share >= self.thresholds[k]:
                continue
            self.thresholds[k] = 0.1 * weakest.share
            roots = list(current.state.roots)
            roots[k] = drop_direction(term.root, weakest)
            reduced = self.solve(State(tuple(roots), current.state.noise_var))
            score = reduced.terms[k].traces - reduced.terms[k].squares
            slope = weakest.axis @ score @ weakest.axis
            if slope >= 0.0 and self.no_worse(current, reduced):
                self.anderson.reset()
                self.thresholds[k] = _WEAK
                return reduced
        return None


def _pack(state: State) -> np.ndarray:
    return np.concatenate([*(root.ravel() for root in state.roots), [np.log(state.noise_var)]])


def _unpack(point: np.ndarray, like: State, structures: Sequence[Structure | None]) -> State:
    """Return the state of a packed point; a root leaves the structure of its term by none."""
    roots, start = [], 0
    for root, structure in zip(like.roots, structures, strict=True):
        proposed = point[start : start + root.size].reshape(root.shape)
        if structure is not None:
            proposed = structure.factor(structure.par_of(proposed), len(root))
        roots.append(proposed)
        start += root.size
    return State(tuple(roots), float(np.exp(point[-1])))
