"""`find_separation`: fixed effects along which the likelihood rises for ever, so that none is best.

A direction δ in the fixed effects separates the data if no row's likelihood falls along it and some
row's rises to its limit at infinity (Albert and Anderson 1984): ``(X δ)_i >= 0`` where all trials
succeeded, ``<= 0`` where all failed or a count is 0, and ``= 0`` elsewhere. Random effects do not
change that, because their distribution has full support: X alone decides. Whether there is such a
direction is a linear programme (Konis 2007); most data have a certificate that there is none, which
costs a few products (`_certified`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from pymackay.model.bases.scaling import surely_full_rank

_SATURATING = ("logit", "probit", "cloglog", "cauchit")
_DEPENDENT = 1e-11  # singular values below this share of the largest belong to the null space
_ZERO = 1e-8  # of the largest movement of a row, or of a coefficient times its column
_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Separation:
    """A direction along which the likelihood rises for ever.

    Attributes
    ----------
    direction : pandas.Series
        Change of the fixed effects, by name, user's units; the largest absolute value is 1, and
        effects that do not change are left out.
    rows : int
        Number of rows whose fitted value goes to its limit along it.
    n : int
        Number of rows.
    """

    direction: pd.Series
    rows: int
    n: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the fixed effects that go to infinity together."""
        return tuple(self.direction.index)

    @property
    def message(self) -> str:
        """What happened, where, and what to do."""
        sign = {1.0: "+", -1.0: "-"}
        parts = [f"{sign[np.sign(v)]}{abs(v):.4g} {k}" for k, v in self.direction.items()]
        cure = (
            f"take {' or '.join(self.columns)} out of the formula, or join categories whose rows "
            f"all have the same outcome"
        )
        if self.columns == ("(Intercept)",):
            cure = "all rows have the same outcome, so that there is nothing to estimate"
        return (
            f"the response is separated: the likelihood has no maximum, but rises for ever as the "
            f"fixed effects move in the direction {', '.join(parts)}, where the fitted values of "
            f"{self.rows} of {self.n} rows go to their limit; {cure}"
        )


def find_separation(
    X: np.ndarray,
    names: Sequence[str],
    y: np.ndarray,
    weights: np.ndarray,
    support: str,
    link: str,
) -> Separation | None:
    """Find a direction that separates the data, if there is one.

    Parameters
    ----------
    X : numpy.ndarray, shape (n, p)
        Fixed design.
    names : sequence of str, length p
    y : numpy.ndarray, shape (n,)
        Proportions, or counts.
    weights : numpy.ndarray, shape (n,)
        Rows of weight zero do not count.
    support : {"binomial", "count", "positive", "real"}
        What the family's response may be; only the first two can be separated.
    link : str
        R's name of the link.

    Returns
    -------
    Separation or None

    References
    ----------
    Albert, Anderson 1984, Biometrika 71, 1-10. Konis 2007, DPhil thesis, Oxford, chapter 4.

    Examples
    --------
    >>> import numpy as np
    >>> from pymackay.solve.pirls.separation import find_separation
    >>> X = np.column_stack([np.ones(6), [0, 0, 0, 1, 1, 1]])
    >>> y = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    >>> find_separation(X, ["(Intercept)", "x"], y, np.ones(6), "binomial", "logit").columns
    ('x',)
    """
    signs = limits_at_infinity(y, support, link)
    if signs is None or not X.shape[1]:
        return None
    used = weights > 0.0
    rows, signs = X[used], signs[used]
    to_unit = _to_unit(rows)
    rising = signs != 0.0
    change = to_unit @ _null_space(rows[~rising] @ to_unit)
    towards = signs[rising][:, None] * rows[rising]
    if not change.size or not len(towards) or _certified(towards @ change):
        return None
    path = _solve(np.unique(towards, axis=0) @ change)
    if path is None:
        return None
    direction = _simplified(change @ path, towards, rows[~rising])
    moved = towards @ direction
    kept = direction != 0.0
    series = pd.Series(direction[kept], index=[n for n, k in zip(names, kept, strict=True) if k])
    count = int(np.count_nonzero(moved > _ZERO * moved.max()))
    return Separation(series / series.abs().max(), count, len(X))


def _to_unit(rows: np.ndarray) -> np.ndarray:
    """Return the (p, k) matrix that turns rows, (n, p), into orthonormal columns.

    k is the rank, less than p only if the rows of positive weight do not determine all effects.
    """
    if surely_full_rank(rows):
        norms = np.sqrt(np.einsum("ij,ij->j", rows, rows))
        gram = rows.T @ rows / np.outer(norms, norms)
        return np.asarray(np.linalg.inv(np.linalg.cholesky(gram)).T / norms[:, None])
    size = np.abs(rows).max(axis=0, initial=0.0)
    size = np.where(size > 0.0, size, 1.0)
    root = np.linalg.qr(rows / size, mode="r")
    _, singular, right = np.linalg.svd(root, full_matrices=False)
    kept = singular > _DEPENDENT * singular[0]
    return right[kept].T / singular[kept] / size[:, None]


def limits_at_infinity(y: np.ndarray, support: str, link: str) -> np.ndarray | None:
    """Return the sign of the predictor's change that each row allows without end, 0 where none.

    None if no row's likelihood has a limit at infinity, whatever its value.
    """
    if support == "binomial" and link in (*_SATURATING, "log"):
        up = 0.0 if link == "log" else 1.0
        return np.where(y == 0.0, -1.0, np.where(y == 1.0, up, 0.0))
    if support == "count" and link == "log":
        return np.where(y == 0.0, -1.0, 0.0)
    return None


def _null_space(rows: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis, (p, k), of the directions that leave all rows (m, p) alone.

    The rows are some of those of a matrix with orthonormal columns.
    """
    if not len(rows):
        return np.eye(rows.shape[1])
    if surely_full_rank(rows):
        return np.zeros((rows.shape[1], 0))
    root = np.linalg.qr(rows, mode="r")
    _, singular, right = np.linalg.svd(root)
    return right[int(np.count_nonzero(singular > _DEPENDENT)) :].T


def _certified(moves: np.ndarray) -> bool:
    """Say whether positive weights w with ``A' w = 0`` prove that nothing separates.

    With A = `moves` (m, k) and such weights, ``A c >= 0`` gives ``w' A c = 0`` and so ``A c = 0``.
    The weights are those of a logistic regression, whose score vanishes where it has an optimum,
    projected to the null space of A' exactly.
    """
    gram = moves.T @ moves
    c = np.zeros(moves.shape[1])
    for _ in range(_ROUNDS):
        w = 0.5 * (1.0 - np.tanh(0.5 * (moves @ c)))
        try:
            exact = w - moves @ np.linalg.solve(gram, moves.T @ w)
            if (exact > _ZERO * w.max()).all():
                return True
            curvature = moves.T @ ((w * (1.0 - w))[:, None] * moves)
            c = c + np.linalg.solve(curvature, moves.T @ w)
        except np.linalg.LinAlgError:
            return False
        if not np.isfinite(c).all():
            return False
    return False


def _solve(moves: np.ndarray) -> np.ndarray | None:
    """Maximise the sum of ``A c`` under ``0 <= A c <= 1``; None if it stays at zero.

    Parameters
    ----------
    moves : numpy.ndarray, shape (m, k)
        A.

    Returns
    -------
    numpy.ndarray of shape (k,), or None
    """
    m = len(moves)
    answer = linprog(
        -moves.sum(axis=0),
        A_ub=np.vstack([moves, -moves]),
        b_ub=np.concatenate([np.ones(m), np.zeros(m)]),
        bounds=(None, None),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if answer.x is None:
        return None
    reached = moves @ answer.x
    if reached.max() < 0.5 or reached.min() < -_ZERO:
        return None
    return answer.x


def _simplified(direction: np.ndarray, towards: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Keep of a direction only its largest elements, as few as move all rows that it moves.

    Parameters
    ----------
    direction : numpy.ndarray, shape (p,)
    towards : numpy.ndarray, shape (m, p)
        Rows that it may move to one side only, with their signs.
    fixed : numpy.ndarray, shape (n - m, p)
        Rows that it must not move.

    Returns
    -------
    numpy.ndarray, shape (p,)
    """
    reached = towards @ direction
    count = np.count_nonzero(reached > _ZERO * reached.max())
    size = np.maximum(np.abs(towards).max(axis=0), np.abs(fixed).max(axis=0, initial=0.0))
    order = np.argsort(-np.abs(direction) * size)
    for k in range(1, len(order)):
        trial = np.zeros_like(direction)
        trial[order[:k]] = direction[order[:k]]
        reached = towards @ trial
        tolerance = _ZERO * reached.max()
        still = np.abs(fixed @ trial).max(initial=0.0) <= tolerance and reached.min() >= -tolerance
        if still and np.count_nonzero(reached > tolerance) >= count:
            return trial
    return direction
