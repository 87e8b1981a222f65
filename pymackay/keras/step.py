"""`next_root`: one step of an update rule on the prior of one weight group."""

from __future__ import annotations

import numpy as np

from pymackay.keras.network.groups import Group
from pymackay.solve.loop.boundary import weakest_direction
from pymackay.solve.loop.rules.rule import Rule
from pymackay.solve.loop.terms import TermRound

_STEP = 3.0  # a standard deviation changes by no more than this factor in an update
FLOOR = 1e-5  # relative standard deviation: variances stay above 1e-10 of σ²
DEAD = 1e-6  # share of a direction that the data determine, below which the literal loop lost it


def next_root(
    rule: Rule, group: Group, root: np.ndarray, information: np.ndarray, noise: float
) -> np.ndarray:
    """Return the rule's next F of one group, (q, q); column by column where V is diagonal.

    Parameters
    ----------
    rule : Rule
    group : Group
        Its weights are those of the network.
    root, information : numpy.ndarray, shape (q, q)
        F and T.
    noise : float
        σ² of the round.
    """
    steps = [
        (part, _within(rule.next_root(term), term.root))
        for part, term in _terms(group, root, information, noise)
    ]
    result = np.zeros_like(root)
    for part, step in steps:
        result[part, part] = step
    return result


def lost_direction(
    group: Group, root: np.ndarray, information: np.ndarray, noise: float
) -> np.ndarray | None:
    """Return the combination of a group's columns that has all but lost its variance, (q,)."""
    for part, term in _terms(group, root, information, noise):
        weakest = weakest_direction(term)
        if weakest is None or weakest.share < DEAD:
            direction = np.zeros(len(root))
            direction[part] = np.nan if weakest is None else weakest.contrast
            return direction
    return None


def _terms(
    group: Group, root: np.ndarray, information: np.ndarray, noise: float
) -> list[tuple[slice, TermRound]]:
    """Return the group as terms of a mixed model whose effects were learned."""
    table = group.table()
    width = 1 if group.covariance == "diagonal" else group.q
    parts = [slice(at, at + width) for at in range(0, group.q, width)]
    return [
        (part, _term(group.name, table[:, part], root[part, part], information[part, part], noise))
        for part in parts
    ]


def _term(name: str, table: np.ndarray, root: np.ndarray, T: np.ndarray, noise: float) -> TermRound:
    inverse = np.linalg.pinv(root)
    return TermRound(
        name=name,
        group=name,
        labels=tuple(f"column {a}" for a in range(len(root))),
        root=root,
        traces=inverse.T @ T @ inverse,
        squares=np.zeros_like(root),
        learned=True,
        effects=table,
        transform=np.eye(len(root)),
        noise_var=noise,
        y_scale=1.0,
    )


def _within(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Return the next F, its change and its size held within bounds.

    In the metric of the old F, singular values lie between 1/3 and 3; those of F itself stay
    above `FLOOR`, so that a group can come back.
    """
    U, sizes, Vt = np.linalg.svd(np.linalg.pinv(old) @ new)
    step = old @ (U * np.clip(sizes, 1.0 / _STEP, _STEP)) @ Vt
    U, sizes, Vt = np.linalg.svd(step)
    return np.asarray((U * np.maximum(sizes, FLOOR)) @ Vt)
