"""`Row`: one number of both fits and their distance; `Ruler`, which makes rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from pymackay.compare.offered import offers
from pymackay.compare.tolerances import Tolerance
from pymackay.results import Fit


@dataclass(frozen=True)
class Row:
    """One number of both fits, and their distance.

    Attributes
    ----------
    stage : str
        ``"same theta"``: both fits at one theta. ``"optimum"``: each fit at its optimum.
    quantity : str
        ``"criterion"``, ``"beta"``, ``"std_error"``, ``"vcov"``, ``"sigma"``, ``"shape"``,
        ``"variance"``, ``"covariance"``, ``"b"``, ``"condvar"``, ``"pev"`` or ``"fitted"``.
    term : str
        Random-effects term or grouping factor; empty for other quantities.
    name : str
        Coefficient, effect, level or row. If only the worst of many is compared, its name.
    ours, theirs : float
    difference : float
        ours - theirs, in the unit of the quantity itself.
    distance : float
        Absolute difference in `unit`.
    unit : str
    tolerance : float
        Largest `distance` that counts as agreement.
    ok : bool or None
        Whether the distance is within the tolerance; None if it is not judged.
    note : str
        Why it is not judged.
    """

    stage: str
    quantity: str
    term: str
    name: str
    ours: float
    theirs: float
    difference: float
    distance: float
    unit: str
    tolerance: float
    ok: bool | None
    note: str = ""

    def label(self, separator: str = " ") -> str:
        """Return quantity, term and name, as far as they are not empty."""
        return separator.join(part for part in (self.quantity, self.term, self.name) if part)

    def unjudged(self, note: str) -> Row:
        """Return the row with ``ok=None``, and with the reason as its note."""
        return self if self.ok is None else replace(self, ok=None, note=note)


TABLE_COLUMNS = tuple(Row.__dataclass_fields__)


def rows_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a table; `ok` is a nullable boolean."""
    table = pd.DataFrame([asdict(row) for row in rows], columns=list(TABLE_COLUMNS))
    return table.astype({"ok": "boolean"})


@dataclass(frozen=True, eq=False)
class Ruler:
    """Makes the rows of one stage.

    Attributes
    ----------
    stage : str
        ``"same theta"`` or ``"optimum"``.
    ours, theirs : Fit
    blur : float
        Rounding error of any number, in statistical units; it is added to all tolerances.
    table : mapping of str to Tolerance
    """

    stage: str
    ours: Fit
    theirs: Fit
    blur: float
    table: Mapping[str, Tolerance]

    def row(
        self, quantity: str, term: str, name: str, a: float, b: float, scale: float, rule: str
    ) -> Row:
        """Judge a pair of numbers; `scale` is the size of one statistical unit."""
        at_theta = self.stage == "same theta"
        tolerance = self.table["number_same_theta" if at_theta else rule].value + self.blur
        distance = float(in_units(a - b, scale))
        return Row(
            self.stage, quantity, term, name, float(a), float(b), float(a - b), distance,
            self.table[rule].unit, tolerance, bool(distance <= tolerance),
        )  # fmt: skip

    def lacking(self, quantity: str, term: str = "") -> Row | None:
        """Return a row that says that a quantity is not offered; None if both fits offer it."""
        return self.not_offered(quantity, term, [offers(f, quantity) for f in self.fits])

    def not_offered(self, quantity: str, term: str, has: Iterable[bool]) -> Row | None:
        """Return a row that names the fits without a quantity; None if both have it."""
        names = [f.engine.name for f, there in zip(self.fits, has, strict=True) if not there]
        if not names:
            return None
        return self.empty(quantity, term, f"not offered by {' and '.join(dict.fromkeys(names))}")

    def empty(self, quantity: str, term: str, note: str) -> Row:
        """Return a row without numbers, with the reason as its note."""
        nan = float("nan")
        return Row(self.stage, quantity, term, "", nan, nan, nan, nan, "", nan, None, note)

    @property
    def fits(self) -> tuple[Fit, Fit]:
        """Ours and theirs."""
        return self.ours, self.theirs


def in_units(difference: float | np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Return |difference| / scale, with 0 / 0 = 0: equal numbers have distance 0 in any unit."""
    size = np.abs(difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size == 0.0, 0.0, size / scale)
