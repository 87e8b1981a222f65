"""`Comparison`: what two fits have in common, what not, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from pymackay.compare.model_diff import Difference, diff_table
from pymackay.compare.rows import Row, rows_table
from pymackay.compare.tolerances import TOLERANCES, Tolerance
from pymackay.late import LateMethod
from pymackay.results import Fit


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What two fits have in common, what not, and the verdict.

    Attributes
    ----------
    verdict : str
        One of the six words of `pymackay.compare.decision.VERDICTS`:

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
        return str(self._as_sentence())

    _as_sentence = LateMethod("pymackay.compare.show.text", "as_sentence")
    __str__ = __repr__ = LateMethod("pymackay.compare.show.text", "as_text")
    _repr_html_ = LateMethod("pymackay.compare.show.html", "as_fragment")
    to_html = LateMethod("pymackay.compare.show.page", "to_html")
    to_json = LateMethod("pymackay.compare.show.html", "to_json")
