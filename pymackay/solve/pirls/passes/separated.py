"""`separation_of`: separation of rows that are not kept, by passes that look for counterexamples.

A direction that separates all rows separates a sample of them. So the sample is asked first: where
nothing separates it, and its columns are of full rank, nothing separates all rows. Otherwise one
pass looks for rows that speak against the direction that was found. They join the sample, until
nothing separates it, or no row speaks against.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymackay.family.family import Family
from pymackay.solve.pirls.passes.source import sample_of
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.separation import Separation, find_separation, limits_at_infinity

_MOST = 100  # rows of a partition that join the sample in one pass
_ZERO = 1e-8  # of the columns' sizes: a row that moves by less stays where it is
_DEPENDENT = 1e-11  # of the largest singular value: the sample's columns depend on each other


def separation_of(rows: Rows, family: Family) -> Separation | None:
    """Find a direction along which the likelihood rises for ever, if there is one.

    Parameters
    ----------
    rows : Rows
        Kept, or read in passes.
    family : Family
    """
    names, kind = rows.model.fixed, (family.support, family.link)
    if rows.source is None:
        observed = rows.observed
        return find_separation(rows.model.X, names, observed.y, observed.weights, *kind)
    if not rows.p or limits_at_infinity(np.zeros(0), *kind) is None:
        return None
    sample = sample_of(rows)
    X, y, weights = _columns(sample)
    while True:
        separation = find_separation(X, names, y, weights, *kind)
        direction = _free_direction(X[weights > 0.0])
        if separation is not None:
            direction = separation.direction.reindex(names).fillna(0.0).to_numpy()
        if direction is None:
            return None
        against, moved, n = _against(rows, direction, kind, free=separation is None)
        if not len(against[1]):
            if separation is None:  # no row at all moves in this direction
                return None
            return replace(separation, rows=moved, n=n)
        X = np.concatenate([X, against[0]])
        y, weights = np.append(y, against[1]), np.append(weights, np.ones(len(against[1])))


def _columns(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the fixed design in the user's units, (n, p), response and prior weights, (n,)."""
    return rows.basis.Q @ rows.basis.R, rows.observed.y, rows.observed.weights


def _free_direction(X: np.ndarray) -> np.ndarray | None:
    """Return a direction, (p,), in which no row of X, (n, p), moves; None if there is none."""
    size = np.abs(X).max(axis=0, initial=0.0)
    if not (size > 0.0).all():
        return (size == 0.0).astype(np.float64)
    _, singular, right = np.linalg.svd(X / size, full_matrices=len(X) < X.shape[1])
    if len(singular) == X.shape[1] and singular[-1] > _DEPENDENT * singular[0]:
        return None
    direction: np.ndarray = right[-1] / size
    return direction


def _against(
    rows: Rows, direction: np.ndarray, kind: tuple[str, str], *, free: bool
) -> tuple[tuple[np.ndarray, np.ndarray], int, int]:
    """Return rows that speak against a direction, (p,), how many it moves, and the number of rows.

    With `free` all rows that it moves speak against it. Of rows, X and y: some of each partition,
    those that it moves most.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros((0, rows.p)), np.zeros(0))]
    moved = n = 0
    sizes = np.sqrt(np.einsum("ij,ij->j", rows.basis.R, rows.basis.R) / rows.n)
    still = _ZERO * float(sizes @ np.abs(direction))
    for part in rows.partitions():
        X, y, weights = _columns(part)
        signs = limits_at_infinity(y, *kind)
        change = X @ direction
        used = (weights > 0.0) & (np.abs(change) > still)
        wrong = used & (free | (signs == 0.0) | (signs * change < 0.0))
        order = np.argsort(-np.abs(change) * wrong, kind="stable")[:_MOST]
        chosen = order[wrong[order]]
        found.append((X[chosen], y[chosen]))
        moved += int(np.count_nonzero(used & ~wrong))
        n += len(y)
    X, y = (np.concatenate(each) for each in zip(*found, strict=True))
    return (X, y), moved, n
