"""`Summary`: a fit laid out as R's ``summary`` of an lmer fit is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.infer.tables.markup import TextTable, html_table, latex_table, markdown_table
from pymackay.infer.tables.r_print import (
    abbreviate,
    format_coefficients,
    format_numbers,
    print_matrix,
    significance,
    zap_small,
)

_DIGITS = 4
_LEGEND = "Signif. codes:  0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1 ' ' 1"


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """What `summary` returns: prints as R does, and exports.

    Attributes
    ----------
    title, formula : str
    reml : bool
    criteria : pandas.Series
        ``REML criterion``; or AIC, BIC, logLik, deviance and df.resid under ML.
    scaled_residuals : pandas.Series
        Quartiles and extremes of the residuals, times the root of their weight, over sigma.
    random : pandas.DataFrame
        One row per effect and the residual: ``group``, ``effect``, ``variance``, ``sd``, and the
        correlations with the effects before it, ``corr``, as a tuple.
    n_obs : int
    groups : dict of str to int
        Grouping factor to its number of levels.
    coefficients : pandas.DataFrame
        ``Estimate``, ``Std. Error``, ``t value``; with `ddf`, ``df`` and ``Pr(>|t|)`` too.
    correlation : pandas.DataFrame or None
        Of the fixed effects; None where it is not to be shown.
    left_out : str
        Why it is not.
    hint : str
        How to get other tests; empty where `ddf` was given.
    residual : tuple of str
        Lines about the covariance of the residuals; empty where they are independent.
    messages : tuple of str
    """

    title: str
    formula: str
    reml: bool
    criteria: pd.Series
    scaled_residuals: pd.Series
    random: pd.DataFrame
    n_obs: int
    groups: dict[str, int]
    coefficients: pd.DataFrame
    correlation: pd.DataFrame | None
    left_out: str
    messages: tuple[str, ...]
    hint: str = ""
    residual: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [self.title, f"Formula: {self.formula}", "", *_criteria_lines(self), ""]
        if np.isfinite(self.scaled_residuals).all():
            parts += ["Scaled residuals: ", *_residual_lines(self.scaled_residuals), ""]
        parts += ["Random effects:", *_random_lines(self.random), *self.residual, _size_line(self)]
        if len(self.coefficients):
            parts += ["", "Fixed effects:", *_coefficient_lines(self.coefficients)]
            parts += [self.hint] if self.hint else []
        if self.correlation is not None:
            parts += ["", "Correlation of Fixed Effects:", *_correlation_lines(self.correlation)]
        if self.left_out:
            parts += ["", self.left_out]
        return "\n".join([*parts, *self.messages])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the summary as HTML, for notebooks."""
        tables = [*self._tables(), *self._correlation_tables()]
        return "".join(f"<div>{html_table(table)}</div>" for table in tables)

    def to_markdown(self) -> str:
        """Return the tables of random and fixed effects in Markdown."""
        return "\n\n".join(markdown_table(table) for table in self._tables())

    def to_latex(self) -> str:
        """Return the tables of random and fixed effects in LaTeX (package booktabs)."""
        return "\n\n".join(latex_table(table) for table in self._tables())

    def _tables(self) -> tuple[TextTable, ...]:
        """Return the tables of fixed and of random effects."""
        random = self._random_text()
        return (self._fixed_text(), random) if len(self.coefficients) else (random,)

    def _fixed_text(self) -> TextTable:
        names = list(self.coefficients.columns)
        cells = format_coefficients(self.coefficients.to_numpy(), _DIGITS)
        stars = _stars(self.coefficients)
        notes = [_LEGEND] if stars else []
        columns = [self.coefficients.index.astype(str), *cells, *([stars] if stars else [])]
        return TextTable(
            title=f"{' '.join(self.title.split())}: {self.formula}",
            header=("Fixed effects", *names, *([""] if stars else [])),
            rows=tuple(zip(*columns, strict=True)),
            numeric=(False, *(True for _ in names), *([False] if stars else [])),
            note="; ".join([*notes, *self.messages, *([self.hint] if self.hint else [])]),
        )

    def _random_text(self) -> TextTable:
        header, columns = _random_cells(self.random)
        criteria = ", ".join(f"{name} {value:.1f}" for name, value in self.criteria.items())
        notes = [*self.residual[:1], _size_line(self), criteria]
        if np.isfinite(self.scaled_residuals).all():
            quantiles = (f"{name} {v:.3f}" for name, v in self.scaled_residuals.items())
            notes.append(f"scaled residuals: {', '.join(quantiles)}")
        return TextTable(
            title="Random effects",
            header=header,
            rows=tuple(zip(*columns, strict=True)),
            numeric=(False, False, *(True for _ in header[2:])),
            note="; ".join(notes),
        )

    def _correlation_tables(self) -> tuple[TextTable, ...]:
        """Return the table of correlations of the fixed effects, if it is shown."""
        if self.correlation is None:
            return ()
        names = [str(name) for name in self.correlation.index]
        cells = _correlation_cells(self.correlation)
        return (
            TextTable(
                title="Correlation of fixed effects",
                header=("", *names[:-1]),
                rows=tuple(zip(names[1:], *cells, strict=True)),
                numeric=(False, *(True for _ in cells)),
            ),
        )


def _criteria_lines(summary: Summary) -> list[str]:
    if summary.reml:
        value = format_numbers([round(summary.criteria.iloc[0], 1)], 7)[0]
        return [f"REML criterion at convergence: {value}"]
    cells = format_numbers(summary.criteria.round(1).to_numpy(), 7)
    cells[-1] = f"{summary.criteria.iloc[-1]:.0f}"
    return _named_line(list(summary.criteria.index), cells)


def _named_line(names: list[str], cells: list[str]) -> list[str]:
    width = max(len(text) for text in [*names, *cells])
    return [" ".join(text.rjust(width) for text in line) + " " for line in (names, cells)]


def _residual_lines(quantiles: pd.Series) -> list[str]:
    rounded = zap_small(quantiles.to_numpy(), _DIGITS + 1)
    return _named_line(list(quantiles.index), format_numbers(rounded, _DIGITS))


def _random_cells(random: pd.DataFrame) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the header and the columns of the table of random effects."""
    first = ~random["group"].duplicated()
    columns = [
        [name if is_first else "" for name, is_first in zip(random["group"], first, strict=True)],
        random["effect"].tolist(),
        format_numbers(random["variance"].to_numpy(), _DIGITS),
        format_numbers(random["sd"].to_numpy(), _DIGITS),
    ]
    n_correlations = max(len(corr) for corr in random["corr"])
    for k in range(n_correlations):
        columns.append([_correlation_cell(corr, k) for corr in random["corr"]])
    header = (
        "Groups",
        "Name",
        "Variance",
        "Std.Dev.",
        *("Corr" if k == 0 else "" for k in range(n_correlations)),
    )
    return header, columns


def _correlation_cell(corr: tuple[float | str, ...], k: int) -> str:
    if k >= len(corr):
        return ""
    value = corr[k]
    if isinstance(value, str):
        return value
    return "NaN" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}"


def _random_lines(random: pd.DataFrame) -> list[str]:
    header, columns = _random_cells(random)
    for k in range(4, len(columns)):
        width = max(len(cell) for cell in columns[k])
        columns[k] = [cell.rjust(width) if cell else cell for cell in columns[k]]
    return print_matrix(columns, header, [""] * len(random))


def _size_line(summary: Summary) -> str:
    groups = "; ".join(f"{name}, {levels}" for name, levels in summary.groups.items())
    if not groups:
        return f"Number of obs: {summary.n_obs}"
    return f"Number of obs: {summary.n_obs}, groups:  {groups}"


def _coefficient_lines(table: pd.DataFrame) -> list[str]:
    names = list(table.columns)
    cells = format_coefficients(table.to_numpy(), _DIGITS)
    stars = _stars(table)
    rows = [str(name) for name in table.index]
    lines = print_matrix(cells, names, rows, right=True)
    if not stars:
        return lines
    lines = [f"{line} {star.ljust(3)}" for line, star in zip(lines, ["", *stars], strict=True)]
    return [*lines, "---", _LEGEND]


def _stars(table: pd.DataFrame) -> list[str]:
    """Return the stars of the p-values; none where there are no p-values, or none is small."""
    tests = [name for name in ("Pr(>|t|)", "Pr(>|z|)") if name in table]
    stars = significance(table[tests[0]]) if tests else []
    return stars if any(star.strip() for star in stars) else []


def _correlation_cells(correlation: pd.DataFrame) -> list[list[str]]:
    """Return the lower triangle of correlations by columns, without the first row."""
    p = len(correlation)
    rounded = correlation.to_numpy().round(3) + 0.0  # no negative zeros
    return [
        [f"{rounded[i, j]:.3f}".rjust(6) if j < i else "" for i in range(1, p)]
        for j in range(p - 1)
    ]


def _correlation_lines(correlation: pd.DataFrame) -> list[str]:
    names = [str(name) for name in correlation.index]
    cells = _correlation_cells(correlation)
    width = max(len(cell) for column in cells for cell in column)
    cells = [[cell.rjust(width) if cell else "" for cell in column] for column in cells]
    return print_matrix(cells, abbreviate(names, 6)[:-1], abbreviate(names, 11)[1:])
