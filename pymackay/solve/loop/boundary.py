"""Directions of a covariance matrix that are dying: which one, how far gone, and how to drop it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.roots import metric_roots
from pymackay.solve.loop.terms import TermRound

#: Share of a direction that its data determine, under which it is lost. A literal round squares
#: it, so that every bound between rounding and 1e-9 is crossed in the same round; what is under
#: it is set to zero before it underflows.
DEAD = 1e-12


@dataclass(frozen=True, eq=False)
class Direction:
    """The least determined of a term's directions that are still alive.

    Attributes
    ----------
    share : float
        What the data determine of it, its effective number over the levels: t / (1 + t), with t
        its variance over its sampling variance.
    axis : numpy.ndarray, shape (q,)
        The direction, in computed effects.
    weights : numpy.ndarray, shape (q,)
        ``weights' b`` is its coordinate, in computed effects; ``weights' axis = 1``.
    contrast : numpy.ndarray, shape (q,)
        The same combination of the user's effects, largest coefficient 1.
    rank : int
        How many columns of the term's root are not zero: this direction is one of so many.
    """

    share: float
    axis: np.ndarray
    weights: np.ndarray
    contrast: np.ndarray
    rank: int


def weakest_direction(term: TermRound) -> Direction | None:
    """Return the weakest live direction; None if the data know none, or all are dead."""
    half, inverse, unknown = metric_roots(term.traces)
    values, vectors = np.linalg.eigh(half @ term.root @ term.root.T @ half)
    rank = int(np.count_nonzero(np.abs(term.root).sum(axis=0)))
    alive = rank - round(float(np.trace(unknown)))
    if alive < 1:
        return None
    weakest = len(values) - alive
    weights = half @ vectors[:, weakest]
    contrast = np.linalg.solve(term.transform.T, weights)
    return Direction(
        share=max(float(values[weakest]), 0.0) / term.n_levels,
        axis=inverse @ vectors[:, weakest],
        weights=weights,
        contrast=contrast / contrast[np.abs(contrast).argmax()],
        rank=rank,
    )


def drop_direction(root: np.ndarray, direction: Direction) -> np.ndarray:
    """Return `root` without `direction`: one column less than its term had is not zero.

    `root` may have lost that column already, where the direction's variance has underflowed.
    """
    axes, sizes, _ = np.linalg.svd(root - np.outer(direction.axis, direction.weights @ root))
    sizes[direction.rank - 1 :] = 0.0
    return axes * sizes


def is_singular_root(root: np.ndarray) -> bool:
    """Say whether a direction has been dropped."""
    return bool((np.abs(root).sum(axis=0) == 0.0).any())


def dead_combinations(term: TermRound) -> np.ndarray:
    """Return the combinations of the user's effects that do not vary, as columns, (q, dead)."""
    live = np.count_nonzero(np.abs(term.root).sum(axis=0))
    unit = np.sqrt(np.einsum("ab,ab->a", term.transform, term.transform))
    axes = np.linalg.svd(term.transform @ term.root / unit[:, None])[0]
    return axes[:, live:] / unit[:, None]
