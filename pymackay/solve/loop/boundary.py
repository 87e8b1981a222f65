"""The direction of a covariance matrix with the smallest variance, and how to set it to zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.covariance.roots import metric_roots
from pymackay.solve.loop.terms import TermRound

#: Share of a direction that its data determine, below which its variance is set to zero. A literal
#: round squares the share, so that every bound between rounding and 1e-9 is crossed in the same
#: round.
DEAD = 1e-12


@dataclass(frozen=True, eq=False)
class Direction:
    """The least determined of the directions of a term whose variance is not zero.

    Attributes
    ----------
    share : float
        Effective number per level, the share that the data determine: t / (1 + t), with t its
        variance over its sampling variance.
    axis : numpy.ndarray, shape (q,)
        The direction, in computed effects.
    weights : numpy.ndarray, shape (q,)
        ``weights' b`` is the coordinate of effects b along it; ``weights' axis = 1``.
    contrast : numpy.ndarray, shape (q,)
        The same combination of the user's effects, largest coefficient 1.
    rank : int
        Number of columns of the term's root that are not zero.
    """

    share: float
    axis: np.ndarray
    weights: np.ndarray
    contrast: np.ndarray
    rank: int


def weakest_direction(term: TermRound) -> Direction | None:
    """Return the weakest direction with a variance, None if there is none that data determine.

    In the metric of τ, the directions are the eigenvectors of ``τ^(1/2) ΛΛ' τ^(1/2)``.
    """
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
    """Return `root`, (q, q), without `direction`: with ``direction.rank − 1`` columns not zero.

    `root` may already have so few, if the direction's variance has underflowed.
    """
    axes, sizes, _ = np.linalg.svd(root - np.outer(direction.axis, direction.weights @ root))
    sizes[direction.rank - 1 :] = 0.0
    return axes * sizes


def is_singular_root(root: np.ndarray) -> bool:
    """Return whether a column of a root is zero."""
    return bool((np.abs(root).sum(axis=0) == 0.0).any())


def dead_combinations(term: TermRound) -> np.ndarray:
    """Return the combinations of the user's effects without variance, as columns, (q, k)."""
    live = np.count_nonzero(np.abs(term.root).sum(axis=0))
    unit = np.sqrt(np.einsum("ab,ab->a", term.transform, term.transform))
    axes = np.linalg.svd(term.transform @ term.root / unit[:, None])[0]
    return axes[:, live:] / unit[:, None]
