"""`Comparison`: the result of comparing two fits: verdict, distances and differences."""

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
    """The result of comparing two fits.

    Attributes
    ----------
    verdict : str
        One of the words of `pymackay.compare.decision.VERDICTS`:

        - ``"different model"``: rows, columns or levels differ, or the numbers at one theta;
        - ``"same optimum"``: equal criteria, and every number agrees in statistical units;
        - ``"ours lower"``: the reference's criterion is higher than ours, by more than the
          tolerance, or by less and its numbers differ;
        - ``"theirs lower"``: our criterion is higher, which is a defect;
        - ``"flat ridge"``: equal criteria but different variances, which the data do not
          determine;
        - ``"boundary"``: equal criteria, and a covariance matrix is singular;
        - ``"no optimum"``: the response is separated, so that the likelihood has no maximum;
        - ``"not a likelihood"``: the dispersion is estimated by maximum likelihood in one fit and
          by lme4's criterion, which is not a likelihood, in the other;
        - ``"another mode"``: both give the same numbers at their parameters and their random
          effects, but these are not at their lowest mode, so that the criteria differ.
    ok : bool
        Whether the fit passes. True for ``same optimum``; for ``ours lower`` if the numbers at
        one theta were checked; for ``another mode``; for ``flat ridge`` and ``boundary`` if the
        quantities that are judged there agree. False for the others.
    rows : tuple of Row
        Every number that was compared.
    differences : tuple of Difference
        The differences between the models; empty if they are the same.
    variance_gap : pandas.DataFrame
        `pymackay.variance_gap` of both fits, whose first column, ``fit``, is ``"ours"`` or
        ``"theirs"``; without rows for a fit whose error variances are not available.
    same_theta : str
        ``"agreed"``, ``"differs"`` or ``"not checked"``: whether both give the same numbers at
        one theta. It cannot be checked if the response is so large that the rounding error of
        every number exceeds a standard error.
    excess : float
        Our criterion minus theirs, both computed by one engine if either can evaluate the other's
        theta; nan if the models differ.
    fit, reference : Fit
        The reference is in the order of the fit, unless the models differ.
    tolerances : mapping of str to Tolerance
        The tolerances: `pymackay.compare.tolerances.TOLERANCES`, with the user's values.
    reason : str
        Why no numbers are judged, for the verdicts ``"no optimum"``, ``"not a likelihood"`` and
        ``"another mode"``.
    lag : float
        Of generalised models: by how much the number that lme4 reports exceeds its own criterion
        with the determinant taken at the final random effects; nan otherwise. It is an error of
        the number, while `excess` is a distance between the two optima.
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
    tolerances: Mapping[str, Tolerance] = field(default_factory=lambda: dict(TOLERANCES))
    reason: str = ""
    lag: float = float("nan")

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
        """Whether some quantity was not compared because a fit does not offer it."""
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
