"""The table of tolerances for comparisons, each with its unit and reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType

from pymackay.errors import ArgumentError


@dataclass(frozen=True)
class Tolerance:
    """How far two engines may be apart in one quantity.

    Attributes
    ----------
    value : float
        Largest distance that still counts as agreement.
    unit : str
        The unit of distances.
    reason : str
        Reason for this value.
    """

    value: float
    unit: str
    reason: str


_SAME_THETA = (
    "at one theta there is no search, so that differences are due to rounding: about 1e-12 "
    "statistical units, up to 1e-7 with badly scaled columns"
)
_MILLI_SE = (
    "a criterion that agrees within 1e-6 puts two answers within 0.001 standard errors of each "
    "other along every direction of the variance parameters"
)
_UNDETERMINED = (
    "with criteria equal to 1e-6, a larger difference means a variance whose standard error "
    "exceeds the variance itself: the data do not determine it"
)
_ABSOLUTE = (
    "a relative difference to a variance of zero means nothing; levels times the squared standard "
    "error of the same fixed effect (sigma squared where there is none) is about the variance of "
    "the estimate that one level gives by itself, the scale on which a variance matters"
)

TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "response": Tolerance(
            1e-12,
            "of the largest |y| or fitted value",
            "fitted + residuals equals y up to a few rounding errors of the larger of them",
        ),
        "criterion_same_theta": Tolerance(
            1e-9,
            "relative",
            "rounding error of float64 factors of one matrix and of sums over up to 1e8 rows",
        ),
        "criterion_rough_mode": Tolerance(
            1e-6,
            "relative",
            "in place of criterion_same_theta for generalised models whose link is not canonical "
            "or that have a dispersion: lme4's iterations converge linearly there, and its "
            "criterion is that exact",
        ),
        "number_same_theta": Tolerance(1e-7, "statistical units", _SAME_THETA),
        "rounding": Tolerance(
            10.0,
            "eps n^(3/2) max|y| / sigma",
            "added to the tolerances of numbers. An engine that does not centre the response sums "
            "n products as large as max|y|; after the mean has cancelled, the rounding error is "
            "about this many standard errors. It is 1e-10 for ordinary data, and more than 1 for a "
            "response such as 1000000000000.4 with a standard deviation of 0.1",
        ),
        "conditioning": Tolerance(
            10.0,
            "of the effect of rounding in the cross-products",
            "added to the tolerances at one theta where they are exceeded. Effects 1e5 times the "
            "residuals, or nearly collinear columns, magnify rounding errors beyond 1e-7. How much "
            "is measured by fits with cross-products changed in their last digits; an engine "
            "that sums in another order may differ by a few times as much",
        ),
        "criterion": Tolerance(
            1e-6,
            "absolute",
            "near an optimum the criterion grows by the squared distance in standard errors, so "
            "1e-6 is a thousandth of a standard error; no printed digit shows it. It is measured "
            "with one engine's arithmetic wherever an engine can evaluate the other's theta",
        ),
        "criterion_resolution": Tolerance(
            1e-12,
            "relative",
            "one engine computes criteria at two thetas to about ten rounding errors. If numbers "
            "differ by more than their tolerances, and the criteria by less than theirs but more "
            "than this, the search with the higher criterion has stopped early",
        ),
        "criterion_unchecked": Tolerance(
            1e-9,
            "relative",
            "added to the absolute tolerance where neither engine can evaluate the other's theta, "
            "so that their rounding is unknown",
        ),
        "beta": Tolerance(1e-3, "standard errors", _MILLI_SE),
        "std_error": Tolerance(1e-3, "relative", _MILLI_SE),
        "sigma": Tolerance(
            1e-4,
            "relative",
            "sigma is the best determined scale: a thousandth of its standard error, which is "
            "sigma / sqrt(2 n), stays below this from n = 50 rows on",
        ),
        "shape": Tolerance(1e-3, "relative", _UNDETERMINED),
        "variance": Tolerance(1e-3, "of the variance", _UNDETERMINED),
        "covariance": Tolerance(1e-3, "of the product of the two sds", _UNDETERMINED),
        "boundary_variance": Tolerance(1e-3, "of a level's own variance", _ABSOLUTE),
        "boundary_covariance": Tolerance(1e-3, "of a level's own variance", _ABSOLUTE),
        "b": Tolerance(
            1e-2,
            "conditional standard deviations",
            "predictions inherit the tolerance of the variances times their distance from zero, "
            "which reaches ten conditional standard deviations",
        ),
        "condvar": Tolerance(1e-3, "relative", _MILLI_SE),
        "pev": Tolerance(1e-3, "relative", _MILLI_SE),
        "fitted": Tolerance(
            1e-2, "residual standard deviations", "fitted values move as the predictions do"
        ),
    }
)


def adjusted(values: Mapping[str, float] | None) -> Mapping[str, Tolerance]:
    """Return the table with some values replaced by the user's.

    Parameters
    ----------
    values : mapping of str to float, or None
        Name in `TOLERANCES` to the largest distance that counts as agreement, in its unit.

    Raises
    ------
    ArgumentError
        If a name is unknown, or a value is not a positive number.
    """
    table = dict(TOLERANCES)
    for name, value in (values or {}).items():
        if name not in table:
            raise ArgumentError(
                f"tolerances: there is none called {name!r}. Known are {', '.join(TOLERANCES)}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < inf:
            raise ArgumentError(
                f"tolerances: {name} must be a positive number ({table[name].unit}), "
                f"but it is {value!r}."
            )
        reason = f"set by the user; {table[name].value:g} by default: {table[name].reason}"
        table[name] = replace(table[name], value=float(value), reason=reason)
    return table


def changes(table: Mapping[str, Tolerance]) -> dict[str, tuple[float, float]]:
    """Return the values that differ from the default: name to (value, default)."""
    return {
        name: (tolerance.value, TOLERANCES[name].value)
        for name, tolerance in table.items()
        if tolerance.value != TOLERANCES[name].value
    }
