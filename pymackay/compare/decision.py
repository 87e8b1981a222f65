"""The six verdicts: what each means and what to do about it; `decide`, when which is given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pymackay.compare.rows import Row
from pymackay.compare.tolerances import TOLERANCES, Tolerance
from pymackay.results import Fit


@dataclass(frozen=True)
class Meaning:
    """What a verdict means.

    Attributes
    ----------
    means : str
        What was found.
    advice : str
        What to do.
    """

    means: str
    advice: str


VERDICTS: Mapping[str, Meaning] = MappingProxyType(
    {
        "different model": Meaning(
            "The two fits are not the same model on the same data, or do not give the same "
            "numbers at one theta, so they minimise two different functions.",
            "Read the differences, make the two models equal, and compare again.",
        ),
        "same optimum": Meaning(
            "The same model, the same criterion to within its tolerance, and every number that "
            "both offer agrees in statistical units.",
            "Nothing needs to be done.",
        ),
        "ours lower": Meaning(
            "The same model, and ours reached a lower criterion: theirs stopped before the "
            "optimum. The numbers differ because of that, and ours are the better ones.",
            "Tighten the optimiser of the reference, or start it from our theta, to see it agree.",
        ),
        "theirs lower": Meaning(
            "The same model, and theirs reached a lower criterion: ours is not at the optimum.",
            "It is a defect of our fit. Start ours from their theta, and report the model.",
        ),
        "flat ridge": Meaning(
            "The criteria are equal and the variances are not: the data do not tell them apart. "
            "Beta and the fitted values are judged, the variances and predictions are not.",
            "Do not interpret these variances one by one; simplify the random-effects part.",
        ),
        "boundary": Meaning(
            "A covariance matrix is singular (a variance is zero, or a correlation is +1 or -1), "
            "and the criteria are equal. Variances are compared on an absolute scale; beta, its "
            "standard errors, sigma and the fitted values are judged as always.",
            "The model is richer than the data can support; a simpler one gives the same fit.",
        ),
    }
)

_STOPPED = "theirs stopped at a higher criterion"
_RESTS_ON = {
    "flat ridge": ("criterion", "beta", "fitted"),
    "boundary": ("criterion", "beta", "std_error", "sigma", "variance", "covariance", "fitted"),
}


@dataclass(frozen=True)
class Decision:
    """A verdict with the rows it was made from.

    Attributes
    ----------
    verdict : str
        One of `VERDICTS`.
    ok : bool
        Whether the reference is confirmed, or bettered.
    rows : tuple of Row
        Rows of the optimum; those that the verdict does not rest on are not judged.
    """

    verdict: str
    ok: bool
    rows: tuple[Row, ...]

    @property
    def contradicts(self) -> bool:
        """Whether criterion and variances agree and other numbers do not: two functions."""
        return self.verdict == "different model"


def criterion_tolerance(
    criterion: float, checked: bool, table: Mapping[str, Tolerance] = TOLERANCES
) -> float:
    """Return by how much two criteria may differ and still be equal, absolute."""
    absolute = table["criterion"].value
    if checked:
        return absolute
    return absolute + table["criterion_unchecked"].value * abs(criterion)


def criterion_resolution(reference: Fit, table: Mapping[str, Tolerance] = TOLERANCES) -> float:
    """Return by how much two criteria must differ, by one engine, to be told apart, absolute."""
    size = max(abs(reference.criterion), float(reference.n_obs))
    return table["criterion_resolution"].value * size


def decide(
    rows: Iterable[Row],
    excess: float,
    tolerance: float,
    *,
    checked: bool,
    singular: bool,
    resolution: float = math.inf,
) -> Decision:
    """Name the verdict of two fits that are the same model.

    Parameters
    ----------
    rows : iterable of Row
        Every quantity at either fit's own optimum.
    excess : float
        Our criterion minus theirs; nan where an engine does not offer its criterion and neither
        can evaluate the other's theta.
    tolerance : float
        See `criterion_tolerance`.
    checked : bool
        Whether both gave the same numbers at one theta. Without that a lower criterion proves
        nothing, because it may be another function's.
    singular : bool
        Whether either fit is singular.
    resolution : float
        Where theirs are our numbers at their theta: by how much our criterion must be lower to be
        called so, where numbers differ. What differs there follows from theta alone.
    """
    rows = tuple(rows)
    decision = _by_the_rows(rows, excess, tolerance, checked=checked, singular=singular)
    if decision.ok or math.isinf(resolution):
        return decision
    if -tolerance <= excess < -resolution:
        return Decision("ours lower", checked, _unjudged(rows, _STOPPED))
    return _rest_on("flat ridge", rows) if decision.contradicts else decision


def _by_the_rows(
    rows: tuple[Row, ...], excess: float, tolerance: float, *, checked: bool, singular: bool
) -> Decision:
    if excess > tolerance:
        return Decision("theirs lower", False, _unjudged(rows, "theirs is at a lower criterion"))
    if excess < -tolerance:
        return Decision("ours lower", checked, _unjudged(rows, _STOPPED))
    if singular:
        at_boundary = _rest_on("boundary", rows)
        if checked and not at_boundary.ok and _only_spread_differs(at_boundary.rows):
            return _rest_on("flat ridge", rows)  # one criterion at two thetas: proven flat
        return at_boundary
    failed = {row.quantity for row in rows if row.ok is False}
    if not failed:
        return Decision("same optimum", True, rows)
    if failed & {"variance", "covariance"} and not math.isnan(excess):
        return _rest_on("flat ridge", rows)
    return Decision("different model", False, rows)


def _only_spread_differs(rows: tuple[Row, ...]) -> bool:
    """Say whether variances alone fail: singular, and not told apart by the data either."""
    failed = {row.quantity for row in rows if row.ok is False}
    return failed <= {"variance", "covariance"}


def _unjudged(rows: tuple[Row, ...], note: str) -> tuple[Row, ...]:
    return tuple(row if row.quantity == "criterion" else row.unjudged(note) for row in rows)


def _rest_on(verdict: str, rows: tuple[Row, ...]) -> Decision:
    """Judge by the quantities that this verdict rests on, and show the others."""
    counted = _RESTS_ON[verdict]
    shown = tuple(
        row if row.quantity in counted else row.unjudged(f"not judged on a {verdict}")
        for row in rows
    )
    return Decision(verdict, all(row.ok is not False for row in shown), shown)
