"""`compare`: two fits of one model, judged in a fixed order, and `Comparison`, what it returns."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pymackay._files import write_whole
from pymackay.compare.align import align
from pymackay.compare.conditioning import criterion_blur, forgive_rounding
from pymackay.compare.distances import (
    Row,
    criterion_row,
    rounding,
    rows_table,
    same_theta_rows,
    statistics_rows,
)
from pymackay.compare.gaps import gaps, no_gap
from pymackay.compare.judge import criterion_resolution, criterion_tolerance, judge
from pymackay.compare.model_diff import Difference, diff_table, model_diff
from pymackay.compare.offered import completed
from pymackay.compare.tolerances import TOLERANCES, Tolerance, adjusted
from pymackay.errors import ArgumentError
from pymackay.results import Fit

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What two fits have in common, what not, and the verdict.

    Attributes
    ----------
    verdict : str
        One of the six words of `pymackay.compare.judge.VERDICTS`:

        - ``"different model"``: rows, columns, levels, ... differ, or the numbers at one theta do;
        - ``"same optimum"``: equal criteria, and every number agrees in statistical units;
        - ``"ours lower"``: theirs stopped above the optimum, by more than the tolerance, or by
          less and its numbers show it;
        - ``"theirs lower"``: ours did, a defect;
        - ``"flat ridge"``: equal criteria, different variances: the data cannot tell;
        - ``"boundary"``: equal criteria, and a covariance matrix is singular.
    ok : bool
        Whether the comparison holds. True for ``same optimum``, for ``ours lower`` where the
        numbers at one theta were checked, for ``flat ridge`` and ``boundary`` where the quantities
        that are judged there agree; False for the other two.
    rows : tuple of Row
        Every number that was compared.
    differences : tuple of Difference
        What makes the models different; empty when they are the same.
    variance_gap : pandas.DataFrame
        `pymackay.variance_gap` of both fits, told apart by the first column, ``fit`` (``"ours"``
        or ``"theirs"``); without rows for a fit whose error variances cannot be had.
    same_theta : str
        ``"agreed"``, ``"differs"`` or ``"not checked"``: whether both give the same numbers at
        one theta. A response so large that rounding blurs every number by a standard error cannot
        be checked.
    excess : float
        Our criterion minus theirs, by one engine's arithmetic where either can evaluate the
        other's theta; nan when the models differ.
    fit, reference : Fit
        The reference in the order of the fit, once the models are known to be the same.
    tolerances : mapping of str to Tolerance
        What was judged by: `pymackay.compare.tolerances.TOLERANCES`, and the user's own values.
    """

    verdict: str
    ok: bool
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    variance_gap: pd.DataFrame
    same_theta: str
    excess: float
    fit: Fit
    reference: Fit
    tolerances: Mapping[str, Tolerance] = field(default_factory=lambda: TOLERANCES)

    @cached_property
    def table(self) -> pd.DataFrame:
        """`rows` as a table, one column for each attribute of `Row`; `ok` is nullable."""
        return rows_table(self.rows)

    @cached_property
    def model_diff(self) -> pd.DataFrame:
        """`differences` as a table: aspect, item, ours, theirs; empty for the same model."""
        return diff_table(self.differences)

    @property
    def partial(self) -> bool:
        """Whether one of the fits lacks a number, so that it was not compared."""
        return any(row.note.startswith("not offered") for row in self.rows)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        from pymackay.compare.show.text import as_sentence

        return as_sentence(self)

    def __str__(self) -> str:
        from pymackay.compare.show.text import as_text

        return as_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from pymackay.compare.show.html import as_fragment

        return as_fragment(self)

    def to_html(self, path: str | Path) -> None:
        """Write the comparison as one HTML file that needs no network and nothing beside it.

        Verdict, model, numbers, variance gap, pictures (with the extra ``plots``), versions, and
        how to do it again; on a screen, light or dark, on a phone and on paper.

        Parameters
        ----------
        path : path-like
            A file that is there is replaced.

        Raises
        ------
        ArgumentError
            If the file cannot be written.
        """
        from pymackay.compare.show.page import as_page

        write_whole(path, as_page(self))

    def to_json(self, path: str | Path) -> None:
        """Write the comparison as JSON: every number with 17 digits, nan as null.

        Raises
        ------
        ArgumentError
            If the file cannot be written.
        """
        from pymackay.compare.show.html import as_json

        write_whole(path, as_json(self))


def compare(
    fit: Fit, reference: Fit, *, tolerances: Mapping[str, float] | None = None
) -> Comparison:
    """Judge a fit against a reference, in statistical units.

    In this order; the first that fails names the verdict:

    1. Is it the same model? A difference is shown, and no number is compared.
    2. Do both give the same numbers at one theta: ours at theirs, or theirs at ours, whichever
       engine can evaluate? If neither can, it is not checked, and does not count as agreed.
    3. Are the criteria at the two optima equal?
    4. How far apart are the numbers?

    Parameters
    ----------
    fit : Fit
        Ours.
    reference : Fit
        Theirs, usually of `pymackay.lme4.lmer`.
    tolerances : mapping of str to float, optional
        Largest distances that count as agreement, where they are not to be those of
        `pymackay.compare.tolerances.TOLERANCES`: by the names and in the units given there.

    Returns
    -------
    Comparison
        Prints as a table.

    Raises
    ------
    ArgumentError
        If an argument is not a `Fit`, or a tolerance has no such name or is not positive.

    References
    ----------
    Bates, D., Mächler, M., Bolker, B., Walker, S. (2015). Fitting linear mixed-effects models
    using lme4. J. Stat. Softw. 67(1).

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> at_start = pm.evaluate("Reaction ~ Days + (Days | Subject)", sleep, [1.0, 0.0, 1.0])
    >>> pm.compare(fit, at_start).verdict
    'ours lower'
    """
    _check(fit, "fit")
    _check(reference, "reference")
    table = adjusted(tolerances)
    differences = model_diff(fit, reference)
    if differences:
        return _different(fit, reference, differences, table)
    fit, reference = completed(fit, reference), completed(reference, fit)
    reference = align(reference, fit.model)
    pair = _at_one_theta(fit, reference)
    theta_rows = same_theta_rows(*pair.fits, table) if pair else []
    if pair and any(row.ok is False for row in theta_rows):
        theta_rows = forgive_rounding(theta_rows, *pair.fits, table)
    failed = [row for row in theta_rows if row.ok is False]
    if failed:
        differences = [_as_difference(row, "at one theta") for row in failed]
        return _different(fit, reference, differences, table, theta_rows)
    return _judged(fit, reference, pair, theta_rows, table)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both engines at one theta.

    Attributes
    ----------
    fits : tuple of Fit
        Ours and theirs.
    theta : str
        Whose theta it is: ``"ours"`` or ``"theirs"``.
    """

    fits: tuple[Fit, Fit]
    theta: str

    def excess(self, fit: Fit, reference: Fit) -> float:
        """Return our criterion minus theirs, both by the engine that evaluated."""
        ours, theirs = self.fits
        if self.theta == "theirs":
            return fit.criterion - ours.criterion
        return theirs.criterion - reference.criterion

    def at(self, theta: str) -> Fit | None:
        """Return what the other engine says at this side's theta, if it was asked."""
        if theta != self.theta:
            return None
        return self.fits[1] if theta == "ours" else self.fits[0]


def _check(argument: object, name: str) -> None:
    if not isinstance(argument, Fit):
        raise ArgumentError(
            f"{name}: expected a Fit (from pymackay.lmer, pymackay.mackay, pymackay.evaluate or "
            f"pymackay.lme4.lmer), got {type(argument).__name__}."
        )


def _at_one_theta(fit: Fit, reference: Fit) -> _Pair | None:
    """Let either engine evaluate the other's theta; ours first."""
    same_shape = len(fit.theta) == len(reference.theta)
    if not same_shape or not np.isfinite([*fit.theta, *reference.theta]).all():
        return None
    if fit.evaluate_source is not None:
        with contextlib.suppress(ArgumentError):  # theirs may be too far out for float64
            return _Pair((fit.evaluate(reference.theta), reference), "theirs")
    if reference.evaluate_source is not None:
        return _Pair((fit, reference.evaluate(fit.theta)), "ours")
    return None


def _as_difference(row: Row, aspect: str) -> Difference:
    item = ", ".join(part for part in (row.quantity, row.term, row.name) if part)
    return Difference(aspect, item, f"{row.ours:.12g}", f"{row.theirs:.12g}")


def _different(
    fit: Fit,
    reference: Fit,
    differences: list[Difference],
    table: Mapping[str, Tolerance],
    rows: list[Row] | None = None,
) -> Comparison:
    return Comparison(
        verdict="different model",
        ok=False,
        rows=tuple(rows or ()),
        differences=tuple(differences),
        variance_gap=no_gap(),
        same_theta="differs" if rows else "not checked",
        excess=float("nan"),
        fit=fit,
        reference=reference,
        tolerances=table,
    )


def _judged(
    fit: Fit,
    reference: Fit,
    pair: _Pair | None,
    theta_rows: list[Row],
    table: Mapping[str, Tolerance],
) -> Comparison:
    excess = pair.excess(fit, reference) if pair else fit.criterion - reference.criterion
    # numbers that are blurred by more than a standard error agree with anything
    blurred = max([rounding(fit), *(row.tolerance for row in theta_rows if row.ok)])
    checked = pair is not None and blurred < 1.0
    tolerance = criterion_tolerance(reference.criterion, pair is not None, table)
    if pair is not None and excess > tolerance:
        tolerance += criterion_blur(*pair.fits, table)
    singular = fit.singular or reference.singular
    rows = [
        criterion_row(fit, reference, excess, tolerance),
        *statistics_rows(fit, reference, boundary=singular, table=table),
    ]
    by_theta_alone = checked and pair is not None and pair.theta == "theirs"
    judgement = judge(
        rows,
        excess,
        tolerance,
        checked=checked,
        singular=singular,
        resolution=criterion_resolution(reference, table) if by_theta_alone else np.inf,
    )
    contradictions = [row for row in rows if row.ok is False] if judgement.contradicts else []
    where = "numbers" if np.isnan(excess) else "at equal variances"
    return Comparison(
        verdict=judgement.verdict,
        ok=judgement.ok,
        rows=(*theta_rows, *judgement.rows),
        differences=tuple(_as_difference(row, where) for row in contradictions),
        variance_gap=gaps(
            (fit, pair.at("ours") if pair else None),
            (reference, pair.at("theirs") if pair else None),
        ),
        same_theta="agreed" if checked else "not checked",
        excess=excess,
        fit=fit,
        reference=reference,
        tolerances=table,
    )
