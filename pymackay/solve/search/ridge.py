"""`ridge_at`: variances that the data do not determine, seen at an optimum.

The criterion depends on the covariances G through V = I + ZGZ', for REML through what X leaves of
it. Directions of G that change nothing of this are null vectors of the criterion's curvature by
the elements of G, and since V is linear in G the criterion is the same all along them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pymackay.covariance.layout import lower_factor
from pymackay.model.model import Model
from pymackay.model.sums.gram import Bases
from pymackay.solve.search import limits
from pymackay.solve.search.landscape import Landscape
from pymackay.solve.search.points import one_of_each
from pymackay.solve.search.start import noise_level

SHARED = "variances cannot be told apart"  # what the formula says of terms that share an effect

Matrices = list[np.ndarray]


def ridge_at(landscape: Landscape, factors: Sequence[np.ndarray]) -> str:
    """Say which variances and covariances the data do not determine; empty if there are none.

    Parameters
    ----------
    landscape : Landscape
        Of one response.
    factors : sequence of numpy.ndarray, each (q, q)
        Relative factors of an optimum, whitened columns.
    """
    at, bases = landscape.evaluate(one_of_each(factors)), landscape.gram

    def rises(moved: Matrices) -> bool:
        gap = landscape.evaluate(one_of_each(moved)).criterion - at.criterion
        return not np.abs(gap[0]) < limits.EXHAUSTED * at.rounding[0]

    covariances = [factor @ factor.T for factor in factors]
    sizes = [np.diag(G) + noise_level(bases, k) for k, G in enumerate(covariances)]
    parts = [
        np.sqrt(np.outer(size, size))[layout.rows, layout.columns]
        for layout, size in zip(bases.layouts, sizes, strict=True)
    ]
    unit = np.concatenate(parts)
    values, vectors = np.linalg.eigh(at.curvature[0] * np.outer(unit, unit))
    flat = np.abs(values) < limits.RIDGE_CURVATURE * max(1.0, np.abs(values).max())
    directions, score = [unit * v for v in vectors[:, flat].T], [S[0] for S in at.score]
    return describe_ridge(bases, factors, directions, score, rises)


def describe_ridge(
    bases: Bases,
    factors: Sequence[np.ndarray],
    directions: Sequence[np.ndarray],
    score: Sequence[np.ndarray],
    rises: Callable[[Matrices], bool],
) -> str:
    """Say which variances and covariances change along directions that turn out to be flat.

    Parameters
    ----------
    directions : sequence of numpy.ndarray, each (m,)
        Elements of G in theta's order.
    bases : Bases
    factors : sequence of numpy.ndarray, each (q, q)
        Relative factors of an optimum, whitened columns.
    score : sequence of numpy.ndarray, each (q, q)
        The criterion's slopes there: d criterion = tr(score dG).
    rises : callable
        Whether the criterion at other factors differs from the optimum's by more than rounding.
    """
    covariances = [factor @ factor.T for factor in factors]
    sizes = [np.diag(G) + noise_level(bases, k) for k, G in enumerate(covariances)]
    elements: set[tuple[int, int, int]] = set()
    others = False
    for vector in directions:
        direction = _symmetric(bases, vector)
        slope = sum(float(np.vdot(S, D)) for S, D in zip(score, direction, strict=True))
        same = [not rises(moved) for moved in _moved(covariances, direction)]
        if any(same) or (not same and abs(slope) < limits.RIDGE_SLOPE):
            elements.update(_elements(bases, direction, sizes))
            others |= any(same)
    return _message(bases, sorted(elements), others=others) if elements else ""


def named_once(model: Model, ridge: str) -> tuple[str, ...]:
    """Return the message about a ridge, unless the formula alone has said as much."""
    already_named = any(SHARED in message for message in model.messages)
    return () if already_named or not ridge else (ridge,)


def _symmetric(bases: Bases, elements: np.ndarray) -> Matrices:
    """Return one symmetric matrix, (q, q), per term from elements in theta's order, (m,)."""
    lower = [layout.factor(elements) for layout in bases.layouts]
    return [L + L.T - np.diag(np.diag(L)) for L in lower]


def _moved(covariances: Matrices, direction: Matrices) -> Iterator[Matrices]:
    """Yield factors of covariances moved along a direction, where they stay covariances."""
    for step in limits.RIDGE_STEPS:
        roots = []
        for G, D in zip(covariances, direction, strict=True):
            values, vectors = np.linalg.eigh(G + step * D)
            if values[0] < -limits.RIDGE_CURVATURE * max(values[-1], 0.0):
                break
            roots.append(lower_factor(vectors * np.sqrt(np.maximum(values, 0.0))))
        if len(roots) == len(covariances):
            yield roots


def _elements(
    bases: Bases, direction: Matrices, sizes: Sequence[np.ndarray]
) -> Iterator[tuple[int, int, int]]:
    """Yield (term, row, column) of what changes along a direction, in the user's columns.

    Parameters
    ----------
    direction : list of numpy.ndarray, each (q, q)
        Changes of the terms' relative covariances, whitened columns.
    sizes : sequence of numpy.ndarray, each (q,)
        What a change of the variances is measured by.
    """
    shares = []
    for U, D, size in zip(bases.transforms, direction, sizes, strict=True):
        user = np.sqrt((U**2) @ size)
        shares.append(np.abs(U @ D @ U.T) / np.outer(user, user))
    least = limits.RIDGE_SHARE * max(share.max() for share in shares)
    for term, (layout, share) in enumerate(zip(bases.layouts, shares, strict=True)):
        for row, column in zip(layout.rows.tolist(), layout.columns.tolist(), strict=True):
            if share[row, column] > least:
                yield term, row, column


def _message(bases: Bases, elements: list[tuple[int, int, int]], *, others: bool) -> str:
    """Name what is not determined, and what to take out.

    `others` says whether other covariances fit exactly as well; otherwise only the condition that
    no variance is negative singles out those shown.
    """
    terms = bases.model.terms
    names = []
    for term, layout in enumerate(bases.layouts):
        effects, name = terms[term].effects, terms[term].name
        places = [(row, column) for which, row, column in elements if which == term]
        if len(places) == len(layout.rows) > 1:
            names.append(f"the variances and covariances of {', '.join(effects)} ({name})")
            continue
        for row, column in places:
            pair = effects[row] if row == column else f"{effects[column]} and {effects[row]}"
            kind = "variance" if row == column else "covariance"
            names.append(f"the {kind} of {pair} ({name})")
    involved = list(dict.fromkeys(terms[term].name for term, _, _ in elements))
    named = ", ".join(names)
    if len(involved) > 1:
        what = f"the data do not determine {named} by themselves, only combinations of them"
        cure = f"Take one of the terms {' and '.join(involved)} out, or the effects they share"
    else:
        what = f"the data do not determine {named}"
        cure = (
            f"Take them out of the random effects ({involved[0]}), or take out of the fixed "
            f"effects what explains all differences between the levels"
        )
    reason = (
        "the values shown are one of many with the same criterion"
        if others
        else "only the condition that variances are not negative singles out the values shown"
    )
    return f"flat ridge: {what}; {reason}. {cure}"
