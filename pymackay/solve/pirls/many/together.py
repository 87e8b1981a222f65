"""`fit_together`: the fits of many responses whose searches go on side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pymackay.family.family import Observations
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.many.answers import Answers
from pymackay.solve.pirls.many.design import OneFactor
from pymackay.solve.pirls.many.mode import Samples
from pymackay.solve.pirls.many.point import ManyLaplace
from pymackay.solve.pirls.many.search import find_optima
from pymackay.solve.pirls.many.start import starting_points
from pymackay.solve.pirls.search import GeneralControl
from pymackay.solve.pirls.separation import find_separation

_CELLS = 65_536  # rows × responses searched at a time: what stays near the processor
_FEWEST = 16  # responses searched at a time


def may_go_together(laplace: Laplace, nagq: int | str) -> bool:
    """Say whether searches of this criterion can go on side by side.

    They can by Laplace's approximation with one grouping factor, covariance matrices without
    structure, and a family of which nothing but a dispersion is estimated. Densities are to be
    log-concave, so that the random effects have one mode.
    """
    rows, family = laplace.rows, laplace.family
    plain = nagq == 1 and rows.probing is None and len(rows.blocks) == 1 and rows.p > 0
    known = not (isinstance(family, NegativeBinomial) and family.theta is None)
    likelihood = laplace.dispersion == "ml" or not family.has_dispersion
    simple = family.is_log_concave and not rows.structured
    return plain and known and likelihood and simple


def fit_together(
    laplace: Laplace,
    responses: Sequence[Observations],
    control: GeneralControl | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[Answers, dict[int, str]]:
    """Return the numbers of fits to responses, and which have none as they are separated, and why.

    Parameters
    ----------
    laplace : Laplace
        For which `may_go_together`.
    responses : sequence of Observations, length B
    control : GeneralControl, optional
    tell : callable
        Called with the number of responses that are done.

    Returns
    -------
    answers : Answers
        Not converged where the search of one response should be asked.
    refused : dict of int to str
    """
    answers = Answers.nothing(laplace.rows, len(responses))
    refused: dict[int, str] = {}
    alike = np.flatnonzero([_shares(laplace, each) for each in responses])
    size = max(_FEWEST, _CELLS // laplace.rows.n)
    spent = (control or GeneralControl()).spent
    for first in range(0, len(alike), size):
        part = alike[first : first + size]
        y = np.stack([responses[k].y for k in part], axis=1)
        samples = Samples(OneFactor(laplace.rows), laplace.family, y)
        many = ManyLaplace(samples, laplace.determinant == "observed")
        start, u, sure = starting_points(many)
        for k in np.flatnonzero(~sure):
            reason = _separated(laplace, responses[part[k]])
            if reason:
                refused[int(part[k])] = reason
        kept = np.flatnonzero([int(k) not in refused for k in part])
        optima = find_optima(many.take(kept), start[kept], spent, u[:, :, kept])
        good = np.flatnonzero(optima.certified)
        answers.put_optima(part[kept][good], laplace, optima.take(good))
        tell(int(part[-1]) + 1)
    return answers, refused


def _shares(laplace: Laplace, observed: Observations) -> bool:
    """Say whether a response has the weights and totals of the design."""
    shared = laplace.rows.observed
    return np.array_equal(observed.weights, shared.weights) and np.array_equal(
        observed.totals, shared.totals
    )


def _separated(laplace: Laplace, observed: Observations) -> str:
    """Say why a response has no maximum of its likelihood; empty if it is not separated."""
    model, family = laplace.rows.model, laplace.family
    separation = find_separation(
        model.X, model.fixed, observed.y, observed.weights, family.support, family.link
    )
    return "" if separation is None else separation.message
