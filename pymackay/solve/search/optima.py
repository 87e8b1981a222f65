"""`Optima`: where searches have ended, and searches from elsewhere that may end lower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from pymackay.solve.search import limits
from pymackay.solve.search.landscape import Landscape
from pymackay.solve.search.points import Certificates, Points
from pymackay.solve.search.trust_region import Batch
from pymackay.solve.search.values import Factors

LOCAL = "local optimum, reached from starting values computed from the data"
VALLEYS = "local optimum, the lowest that starting values spread over all variances lead to"
GLOBAL = "global optimum: the whole profile was scanned"


@dataclass(frozen=True, eq=False)
class Optima(Batch):
    """The ends of B searches.

    Attributes
    ----------
    points : Points
    certificates : Certificates
    certified, sure : numpy.ndarray of bool, each (B,)
        Which points are optima; which are optima inside the cone of covariance matrices.
    iterations, evaluations : numpy.ndarray of int, each (B,)
        Steps of the search that ended there; evaluations of all searches for the response.
    n, columns : int
        Rows, and columns of the fixed and random design together.
    scope : str
        What else was searched, so that the certificate holds for it: `LOCAL`, `VALLEYS`, `GLOBAL`.
    """

    points: Points
    certificates: Certificates
    certified: np.ndarray
    sure: np.ndarray
    iterations: np.ndarray
    evaluations: np.ndarray
    n: int
    columns: int
    scope: str = LOCAL

    def keep_better(self, others: Optima, which: np.ndarray) -> np.ndarray:
        """Put in the others that are lower, or equal and certified where these are not.

        Their evaluations are added to these.

        Parameters
        ----------
        others : Optima
        which : numpy.ndarray of int, shape (number of others,)
            Their places here.

        Returns
        -------
        numpy.ndarray of bool, shape (number of others,)
            Which of the others were put.
        """
        old = self.take(which)
        level = limits.LEVEL * old.points.rounding
        with np.errstate(invalid="ignore"):
            gain = old.points.criterion - others.points.criterion
        better = np.where(np.abs(gain) > level, gain > 0.0, others.certified & ~old.certified)
        evaluations = old.evaluations + others.evaluations
        if better.any():
            self.put(which[better], others.take(better))
        self.evaluations[which] = evaluations
        return better


Search = Callable[[Landscape, Factors], Optima]
"""Searches of B responses, each from its own factors, term by term (B, q, q)."""

Starts = Iterator[tuple[Factors, np.ndarray]]
"""Factors, term by term (B, q, q), and which of the B searches should start there, (B,)."""


def over_correlations(landscape: Landscape, best: Optima, starts: Starts, search: Search) -> Optima:
    """Search with correlations of structures elsewhere too, and keep the lowest."""
    reached = best
    for start, searched in starts:
        todo = np.flatnonzero(searched)
        best = best.take(np.arange(len(landscape))) if best is reached else best
        best.keep_better(search(landscape.take(todo), tuple(f[todo] for f in start)), todo)
    return best


def over_valleys(landscape: Landscape, best: Optima, search: Search) -> Optima:
    """Search from every valley of the profile that may be lower, and keep the lowest.

    As long as a response's criterion becomes lower, valleys are looked for beside its new optimum.
    """
    profile = landscape.profile()
    if profile is None:
        return best
    best = best.take(np.arange(len(landscape)))
    todo = np.arange(len(landscape))
    starts = profile.starts(best.points.criterion, best.points.factors)
    for number in range(limits.VALLEYS):
        before = best.points.criterion[todo]
        for start, which in starts:
            best.keep_better(search(landscape.take(which), start), which)
        if number:
            todo = todo[best.points.criterion[todo] != before]
        if not len(todo):
            break
        starts = profile.beside(best.points.criterion, best.points.factors, todo)
    return replace(best, scope=GLOBAL if landscape.gram.one_variance else VALLEYS)
