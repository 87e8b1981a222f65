"""The verdicts, with meaning and advice, and `decide`, which chooses one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
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
        Description of the situation.
    advice : str
        What the user should do.
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
            "The criteria are equal and the variances are not: the data do not determine them. "
            "Beta and the fitted values are judged, the variances and predictions are not.",
            "Do not interpret these variances one by one; simplify the random-effects part.",
        ),
        "boundary": Meaning(
            "A covariance matrix is singular (a variance is zero, or a correlation is +1 or -1), "
            "and the criteria are equal. Variances are compared on an absolute scale; beta, its "
            "standard errors, sigma and the fitted values are judged as always.",
            "The model is richer than the data can support; a simpler one gives the same fit.",
        ),
        "no optimum": Meaning(
            "The response is separated: the likelihood rises for ever along a direction of the "
            "fixed effects, so that any estimate is where a search happened to stop.",
            "Take the columns that are named out of the formula, or join categories.",
        ),
        "not a likelihood": Meaning(
            "One fit estimates the dispersion by maximum likelihood, the other minimises lme4's "
            "criterion, which is not a likelihood for this family. Their numbers differ.",
            "Compare with dispersion='lme4' to see lme4's numbers; do not use its AIC there.",
        ),
        "another mode": Meaning(
            "The random effects have several modes at the same parameters, as the density is not "
            "a log-concave function of the linear predictor. Theirs is not the lowest. At their "
            "mode both give the same numbers, but the two criteria are different functions.",
            "Keep ours, which is at the lowest mode; a log-concave link has one mode only.",
        ),
    }
)

_STOPPED = "theirs stopped at a higher criterion"
_JUDGED = {  # the quantities that count for a verdict
    "flat ridge": ("criterion", "beta", "fitted"),
    "boundary": ("criterion", "beta", "std_error", "sigma", "variance", "covariance", "fitted"),
}


@dataclass(frozen=True)
class Decision:
    """A verdict with the rows on which it is based.

    Attributes
    ----------
    verdict : str
        One of `VERDICTS`.
    ok : bool
        Whether our fit agrees with the reference or has a lower criterion.
    rows : tuple of Row
        Rows at the optimum; those that do not count for the verdict are not judged.
    """

    verdict: str
    ok: bool
    rows: tuple[Row, ...]

    @property
    def contradicts(self) -> bool:
        """Whether criterion and variances agree but other numbers differ."""
        return self.verdict == "different model"


def criterion_tolerance(
    criterion: float, checked: bool, table: Mapping[str, Tolerance] = TOLERANCES
) -> float:
    """Return the largest absolute difference at which two criteria count as equal."""
    absolute = table["criterion"].value
    if checked:
        return absolute
    return absolute + table["criterion_unchecked"].value * abs(criterion)


def criterion_resolution(reference: Fit, table: Mapping[str, Tolerance] = TOLERANCES) -> float:
    """Return the smallest absolute difference of two criteria that one engine can resolve."""
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
    apart: Set[str] = frozenset(),
) -> Decision:
    """Return the verdict on two fits of the same model.

    Parameters
    ----------
    rows : iterable of Row
        Every quantity, each fit at its own optimum.
    excess : float
        Our criterion minus theirs; nan if an engine does not offer its criterion and neither can
        evaluate the other's theta.
    tolerance : float
        See `criterion_tolerance`.
    checked : bool
        Whether both gave the same numbers at one theta. If not, a lower criterion proves nothing,
        because the two criteria may be different functions.
    singular : bool
        Whether either fit is singular.
    resolution : float
        The smallest difference of criteria that counts as ``"ours lower"`` if numbers differ by
        more than their tolerances. To be given if our engine reproduces their numbers at their
        theta, so that all differences come from theta alone.
    apart : set of str
        Quantities that are not computed from theta alone, so that `resolution` does not explain
        their differences.
    """
    rows = tuple(rows)
    decision = _by_the_rows(rows, excess, tolerance, checked=checked, singular=singular)
    if decision.ok or math.isinf(resolution):
        return decision
    if -tolerance <= excess < -resolution:
        return Decision("ours lower", checked, _unjudged(rows, _STOPPED))
    explained = not _differing(rows) <= apart
    return _judged_by_part("flat ridge", rows) if decision.contradicts and explained else decision


def _by_the_rows(
    rows: tuple[Row, ...], excess: float, tolerance: float, *, checked: bool, singular: bool
) -> Decision:
    """Return the verdict from excess and tolerances, without the resolution of criteria."""
    if excess > tolerance:
        return Decision("theirs lower", False, _unjudged(rows, "theirs is at a lower criterion"))
    if excess < -tolerance:
        return Decision("ours lower", checked, _unjudged(rows, _STOPPED))
    if singular:
        at_boundary = _judged_by_part("boundary", rows)
        if checked and not at_boundary.ok and _only_variances_differ(at_boundary.rows):
            # the same criterion at two thetas proves that it is flat between them
            return _judged_by_part("flat ridge", rows)
        return at_boundary
    failed = _differing(rows)
    if not failed:
        return Decision("same optimum", True, rows)
    if failed & {"variance", "covariance"} and not math.isnan(excess):
        return _judged_by_part("flat ridge", rows)
    return Decision("different model", False, rows)


def _only_variances_differ(rows: tuple[Row, ...]) -> bool:
    """Whether only variances and covariances differ by more than their tolerances."""
    return _differing(rows) <= {"variance", "covariance"}


def _differing(rows: tuple[Row, ...]) -> set[str]:
    return {row.quantity for row in rows if row.ok is False}


def _unjudged(rows: tuple[Row, ...], note: str) -> tuple[Row, ...]:
    return tuple(row if row.quantity == "criterion" else row.unjudged(note) for row in rows)


def _judged_by_part(verdict: str, rows: tuple[Row, ...]) -> Decision:
    """Judge by the quantities that count for this verdict; the others are only shown."""
    counted = _JUDGED[verdict]
    shown = tuple(
        row if row.quantity in counted else row.unjudged(f"not judged on a {verdict}")
        for row in rows
    )
    return Decision(verdict, all(row.ok is not False for row in shown), shown)
