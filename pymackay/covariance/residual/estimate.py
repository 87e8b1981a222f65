"""`ResidualCovariance`: the estimated covariance of the residuals, in the user's units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


def _table(values: pd.Series, heading: str, digits: int) -> list[str]:
    """Return a small table of names and numbers."""
    cells = [(str(name), f"{value:.{digits}g}") for name, value in values.items()]
    first = max(len(name) for name, _ in cells)
    second = max(len(heading), *(len(value) for _, value in cells))
    lines = [f" {'':{first}} {heading:>{second}}"]
    return [*lines, *(f" {name:{first}} {value:>{second}}" for name, value in cells)]


@dataclass(frozen=True, eq=False)
class ResidualCovariance:
    """What a fit has besides sigma: standard deviations and correlations of the residuals.

    Attributes
    ----------
    text : str
        The argument `residual`: ``"us(visit | id)"``.
    tag : str
        ``"us"``, ``"ar1"``, ...; ``"varident"`` where residuals are independent.
    group : str
        What groups the residuals; empty if they are independent.
    n_groups : int
    par : pandas.Series, shape (k,)
        Estimated parameters besides sigma: ratios of standard deviations to the first
        (``varident.B``, ``sd.visit2``), and correlations (``ar1.rho``, ``cor.visit1.visit2``).
    sd : pandas.Series
        Standard deviations by stratum or visit, absolute; one, sigma, if they are all the same.
        For a row with a prior weight, divide by its root.
    correlation : pandas.DataFrame or None
        Of the visits, with their names; None where residuals are independent, where there are more
        than 60 visits, or where they have strata besides.
    """

    text: str
    tag: str
    group: str
    n_groups: int
    par: pd.Series
    sd: pd.Series
    correlation: pd.DataFrame | None

    def lines(self, digits: int = 4) -> list[str]:
        """Return what is printed: standard deviations and correlations."""
        where = f" within {self.group} ({self.n_groups} groups)" if self.group else ""
        lines = [f"Residuals: {self.text}{where}"]
        if self.correlation is not None and len(self.sd) == len(self.correlation):
            return [*lines, *self._triangle(digits)]
        if len(self.sd) > 1:
            lines += _table(self.sd, "Std.Dev.", digits)
        rho = self.par[[str(name).startswith(f"{self.tag}.") for name in self.par.index]]
        return lines + (_table(rho, "Corr", digits) if self.group and len(rho) else [])

    def _triangle(self, digits: int) -> list[str]:
        """Return standard deviations with the correlations below the diagonal."""
        assert self.correlation is not None
        R, names = self.correlation.to_numpy(), [str(name) for name in self.sd.index]
        rows = [
            [name, f"{sd:.{digits}g}", *(f"{R[i, j]:.2f}" if j < i else "" for j in range(i))]
            for i, (name, sd) in enumerate(zip(names, self.sd, strict=True))
        ]
        rows.insert(0, ["", "Std.Dev.", "Corr"])
        width = max(len(row) for row in rows)
        columns = [[row[k] if k < len(row) else "" for row in rows] for k in range(width)]
        sizes = [max(len(cell) for cell in column) for column in columns]
        return [
            " " + " ".join(columns[k][i].rjust(sizes[k]) for k in range(width)).rstrip()
            for i in range(len(rows))
        ]

    @property
    def covariance(self) -> pd.DataFrame | None:
        """Covariance matrix of the visits, absolute; None where `correlation` is."""
        if self.correlation is None:
            return None
        sd = np.broadcast_to(self.sd.to_numpy(), len(self.correlation))
        return self.correlation * np.outer(sd, sd)
