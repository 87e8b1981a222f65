"""`Row`, one number of either fit and how far they are apart; `Ruler`, which makes them."""

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
    """One number of either fit, and how far they are apart.

    Attributes
    ----------
    stage : str
        ``"same theta"``: ours and theirs at one theta. ``"optimum"``: each at its own.
    quantity : str
        ``"criterion"``, ``"beta"``, ``"std_error"``, ``"vcov"``, ``"sigma"``, ``"variance"``,
        ``"covariance"``, ``"b"``, ``"condvar"``, ``"pev"`` or ``"fitted"``.
    term : str
        Random-effects term or grouping factor; empty for the rest.
    name : str
        Coefficient, effect, level or row; of many, the worst.
    ours, theirs : float
    difference : float
        ours - theirs, in the quantity's own unit.
    distance : float
        Absolute difference in `unit`.
    unit : str
    tolerance : float
        Largest `distance` that counts as agreement.
    ok : bool or None
        None where there is nothing to judge; `note` says why.
    note : str
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

    def unjudged(self, note: str) -> Row:
        """Return the row without a judgement, with the reason."""
        return self if self.ok is None else replace(self, ok=None, note=note)


TABLE_COLUMNS = tuple(Row.__dataclass_fields__)


def rows_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Lay rows out as a table; `ok` is a nullable boolean."""
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
        By how many statistical units rounding may blur any number.
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
        """Judge one pair of numbers; `scale` is one statistical unit."""
        at_theta = self.stage == "same theta"
        tolerance = self.table["number_same_theta" if at_theta else rule].value + self.blur
        distance = float(in_units(a - b, scale))
        return Row(
            self.stage, quantity, term, name, float(a), float(b), float(a - b), distance,
            self.table[rule].unit, tolerance, bool(distance <= tolerance),
        )  # fmt: skip

    def lacking(self, quantity: str, term: str = "") -> Row | None:
        """Return the row of a quantity that a fit does not offer; None if both do."""
        return self.not_offered(quantity, term, [offers(f, quantity) for f in self.fits])

    def not_offered(self, quantity: str, term: str, has: Iterable[bool]) -> Row | None:
        """Return the row of a quantity that ours, theirs or both do not have."""
        names = [f.engine.name for f, there in zip(self.fits, has, strict=True) if not there]
        if not names:
            return None
        return self.empty(quantity, term, f"not offered by {' and '.join(dict.fromkeys(names))}")

    def empty(self, quantity: str, term: str, note: str) -> Row:
        """Return a row without numbers, and say why."""
        nan = float("nan")
        return Row(self.stage, quantity, term, "", nan, nan, nan, nan, "", nan, None, note)

    @property
    def fits(self) -> tuple[Fit, Fit]:
        """Ours and theirs."""
        return self.ours, self.theirs


def in_units(difference: float | np.ndarray, scale: float | np.ndarray) -> np.ndarray:
    """Return |difference| / scale, with 0 / 0 = 0: equal is equal, whatever the unit."""
    size = np.abs(difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size == 0.0, 0.0, size / scale)
