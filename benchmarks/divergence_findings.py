"""`Finding`: a difference between two engines in one quantity of one model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

import pymackay as pm
from pymackay.compare.align import map_theta, match_terms
from pymackay.compare.comparison import Comparison
from pymackay.compare.distances import same_theta_rows, statistics_rows
from pymackay.compare.rows import Row
from pymackay.compare.tolerances import TOLERANCES
from pymackay.reference.question import Question

__all__ = ["ABOVE", "Finding", "case_name", "declined", "findings"]

ABOVE = 1e-6  # criterion units, absolute: what `pymackay.compare` tells apart
_RELATIVE = 1e-9  # of a criterion at one theta


@dataclass(frozen=True)
class Finding:
    """A difference between an engine and this package.

    Attributes
    ----------
    engine, version : str
    case : str
        Data set, formula, arguments and criterion.
    quantity : str
        ``"fit"`` where there is none; ``"criterion"`` above our optimum, by our arithmetic at
        their theta; ``"criterion value"`` where the engine's own number at its theta is another;
        else as `pymackay.compare.rows.Row`, followed by ``" at one theta"`` where it differs by
        as much there, so that it is another quantity and not another theta.
    where : str
        Term, coefficient or level of the worst element.
    size : float or None
    unit : str
    said : str
        The engine's message, if it did not fit.
    singular : bool
        Whether either fit has a singular covariance matrix.
    """

    engine: str
    version: str
    case: str
    quantity: str
    where: str
    size: float | None
    unit: str
    said: str = ""
    singular: bool = False


def case_name(data: str, question: Question) -> str:
    """Return the name of a model: data set, formula, arguments, criterion."""
    more = [
        f"{name} {getattr(question, name)}"
        for name in ("weights", "offset", "subset", "contrasts")
        if getattr(question, name) is not None
    ]
    return ", ".join([f"{data}: {question.formula}", *more, "REML" if question.reml else "ML"])


def declined(engine: str, version: str, case: str, said: str) -> Finding:
    """Return the finding for an engine that did not fit."""
    return Finding(engine, version, case, "fit", "", None, "", " ".join(said.split()))


def findings(
    comparison: Comparison, engine: str, version: str, case: str, *, loose: float = 1.0
) -> Iterator[Finding]:
    """Yield all differences of a reference from our fit beyond the tolerances.

    Whether the verdict rests on a number or not, it is listed: a reader of two outputs sees it.
    All tolerances are multiplied by `loose`.
    """
    about = (engine, version, case)
    singular = comparison.fit.singular or comparison.reference.singular
    for finding in _found(comparison, about, loose):
        yield replace(finding, singular=bool(singular))


def _found(comparison: Comparison, about: tuple[str, str, str], loose: float) -> Iterator[Finding]:
    ours, theirs = comparison.fit, comparison.reference
    structure = list(_structure(comparison, about))
    yield from structure
    if structure:
        return
    there = _at_their_theta(ours, theirs)
    yield from _criteria(ours, theirs, there, about, loose)
    at_theta = {} if there is None else _worst(same_theta_rows(there, theirs), loose)
    for row in at_theta.values():
        yield _finding(row, about, f"{row.quantity} at one theta")
    for row in _worst(statistics_rows(ours, theirs), loose).values():
        if row.quantity not in at_theta:
            yield _finding(row, about, row.quantity)
    if ours.singular != theirs.singular:
        yield Finding(*about, "singular", "", None, "flag")


def _worst(rows: Iterable[Row], loose: float) -> dict[str, Row]:
    """Return the worst element of each quantity, if it exceeds the tolerance at an optimum."""
    worst: dict[str, Row] = {}
    for row in rows:
        rule = TOLERANCES.get(row.quantity, TOLERANCES["std_error"])  # vcov is judged as those
        if row.quantity != "criterion" and row.distance > loose * rule.value:
            held = worst.setdefault(row.quantity, row)
            worst[row.quantity] = max(held, row, key=lambda r: r.distance)
    return worst


def _finding(row: Row, about: tuple[str, str, str], quantity: str) -> Finding:
    where = ", ".join(part for part in (row.term, row.name) if part)
    size = float(row.distance) if np.isfinite(row.distance) else None
    return Finding(*about, quantity, where, size, row.unit)


def _structure(comparison: Comparison, about: tuple[str, str, str]) -> Iterator[Finding]:
    for difference in comparison.differences:
        if difference.aspect in ("at one theta", "numbers", "at equal variances"):
            continue
        where = f"{difference.item}: {difference.ours} / {difference.theirs}"
        yield Finding(*about, difference.aspect, where, None, "")


def _criteria(
    ours: pm.Fit,
    theirs: pm.Fit,
    there: pm.Fit | None,
    about: tuple[str, str, str],
    loose: float,
) -> Iterator[Finding]:
    """Yield the excess of the criterion at their theta, and the error of their own criterion."""
    if there is None:
        return
    excess = there.criterion - ours.criterion
    if abs(excess) > loose * ABOVE:
        yield Finding(*about, "criterion", "", float(excess), "criterion units above ours")
    error = theirs.criterion - there.criterion
    if abs(error) > loose * max(ABOVE, _RELATIVE * abs(there.criterion)):
        yield Finding(
            *about, "criterion value", "", float(error), "criterion units, theirs minus ours"
        )


def _at_their_theta(ours: pm.Fit, theirs: pm.Fit) -> pm.Fit | None:
    terms = ours.model.terms, theirs.model.terms
    if not np.isfinite(theirs.theta).all() or len(terms[0]) != len(terms[1]):
        return None
    if None in match_terms(*terms) or ours.evaluate_source is None:
        return None
    return ours.evaluate(map_theta(theirs.theta.to_numpy(), terms[1], terms[0]))
