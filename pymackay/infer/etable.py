"""`etable`: several fits side by side, for papers and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pymackay._text import table_lines
from pymackay.arguments import probability, whole_number
from pymackay.covariance.parameters import parameter_labels, parameter_places, parameter_values
from pymackay.covariance.varcorr import TermSummary, VarCorr
from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.significance.ddf import FixedEffects, fixed_effects
from pymackay.infer.tables.explained import r2
from pymackay.infer.tables.markup import TextTable, html_table, latex_table, markdown_table
from pymackay.model.model import Model
from pymackay.results import Fit, check_fits

_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
_LAST = ("SD residual", "AIC", "BIC")
_CELLS = {"selector": "td", "props": "text-align: right; white-space: pre"}
_LEGEND = "*** p < 0.001, ** p < 0.01, * p < 0.05"


@dataclass(frozen=True, eq=False, repr=False)
class EstimateTable:
    """Fits side by side, as texts.

    Attributes
    ----------
    frame : pandas.DataFrame, shape (rows, fits)
        The cells. The index has the block (``"Fixed effects"``, ``"Random effects"``, ``"Fit"``;
        ``"Residuals"`` where a fit has a residual structure) and the row's name; below an estimate,
        a row without a name has its standard error or interval.
    title, note : str
    """

    frame: pd.DataFrame
    title: str
    note: str

    def to_html(self) -> str:
        """Return the table in HTML."""
        return html_table(self._table())

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        return markdown_table(self._table())

    def to_latex(self) -> str:
        """Return the table in LaTeX (package booktabs)."""
        return latex_table(self._table())

    def to_styler(self) -> Any:
        """Return a `pandas.io.formats.style.Styler`, for styles of one's own and other formats.

        Raises
        ------
        PymackayError
            If jinja2, which pandas' Styler needs, is missing.
        """
        try:
            styler = self.frame.style
        except (ImportError, AttributeError) as error:
            raise PymackayError(
                "to_styler needs jinja2: pip install jinja2. to_html, to_markdown, to_latex and "
                "to_text do without."
            ) from error
        return styler.set_caption(self.title).set_table_styles([_CELLS])

    def to_text(self) -> str:
        """Return the table in plain text."""
        header = ["", *map(str, self.frame.columns)]
        lines = table_lines(header, list(zip(*self._rows(), strict=True)))
        rule = "-" * max(map(len, lines))
        return "\n".join([self.title, rule, lines[0], rule, *lines[1:], rule, self.note])

    __repr__ = to_text

    def _repr_html_(self) -> str:
        return self.to_html()

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the rows with a row for the name of each block."""
        rows, block = [], None
        for (heading, name), cells in zip(self.frame.index, self.frame.to_numpy(), strict=True):
            if heading != block:
                rows.append((heading, *[""] * len(cells)))
                block = heading
            rows.append((f"  {name}".rstrip(), *cells))
        return rows

    def _table(self) -> TextTable:
        header = ("", *self.frame.columns)
        numeric = (False, *[True] * len(self.frame.columns))
        return TextTable(self.title, header, tuple(self._rows()), numeric, self.note, at_point=True)


def etable(
    fits: Fit | Sequence[Fit],
    *,
    names: Sequence[str] | None = None,
    ddf: str = "Satterthwaite",
    intervals: bool = False,
    stars: bool = True,
    level: float = 0.95,
    digits: int = 3,
) -> EstimateTable:
    """Put fits side by side: fixed effects, random effects, and how well they fit.

    Parameters
    ----------
    fits : Fit or sequence of Fit
        Of any engine.
    names : sequence of str, optional
        Headings of the columns; ``(1)``, ``(2)``, ... by default.
    ddf : {"Satterthwaite", "Kenward-Roger", "normal", "none"}
        Where p-values and intervals come from, as in `coefficients`. A fit that does not hold its
        model has no stars, and normal intervals, and the note says so.
    intervals : bool
        Whether confidence intervals stand below the estimates, instead of standard errors.
    stars : bool
        Whether stars stand for small p-values.
    level : float
        Of the intervals.
    digits : int
        Decimals.

    Returns
    -------
    EstimateTable
        Prints as text; ``.to_html()``, ``.to_markdown()``, ``.to_latex()``, and ``.frame``.

    Raises
    ------
    ArgumentError

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> one = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    >>> two = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> table = pm.etable([one, two], names=["intercepts", "slopes"], digits=2)
    >>> table.frame.loc[("Fixed effects", "Days")].tolist()
    ['10.47***', '10.47***']
    """
    listed = check_fits(fits, "etable")
    probability("level", level, 0.95)
    places = whole_number("digits", digits, least=0)
    heads = [f"({k + 1})" for k in range(len(listed))] if names is None else list(map(str, names))
    if len(heads) != len(listed) or len(set(heads)) < len(heads):
        raise ArgumentError(
            f"names must be {len(listed)} different names, one for each fit, but they are {heads}"
        )
    columns, notes = [], []
    for head, fit in zip(heads, listed, strict=True):
        has_model = isinstance(getattr(fit.problem, "model", None), Model)
        needs_model = not has_model and fit.general is None
        effects = fixed_effects(fit, "none" if needs_model else ddf)
        if needs_model and ddf != "none":
            notes.append(f"{head} has no p-values: {fit.engine.name} did not keep its model")
        shown = _fixed(effects, places, stars, level if intervals else None)
        random = {**_random(fit, places), **_residuals(fit, places)}
        columns.append({**shown, **random, **_quality(fit, places, has_model)})
    note = _LEGEND if stars and ddf != "none" else ""
    below = f"{100 * level:g} % intervals in brackets" if intervals else "Standard errors in ()"
    note = "; ".join(text for text in (below, note, *notes, *_incomparable(listed)) if text)
    responses = dict.fromkeys(fit.model.response for fit in listed)
    return EstimateTable(_joined(columns, heads), f"Response: {', '.join(responses)}", note)


def _incomparable(fits: Sequence[Fit]) -> list[str]:
    """Return remarks on criteria that look comparable and are not."""
    by_reml = [fit for fit in fits if fit.reml]
    if 0 < len(by_reml) < len(fits):
        return ["criteria, AIC and BIC of REML and of ML fits cannot be compared"]
    if len({tuple(fit.model.fixed) for fit in by_reml}) > 1:
        return ["REML criteria, AIC and BIC of different fixed effects cannot be compared"]
    return []


Cells = dict[tuple[str, str, int], str]


def _fixed(effects: FixedEffects, places: int, stars: bool, level: float | None) -> Cells:
    """Return the estimates, each with what stands below it."""
    fit, cells = effects.fit, Cells()
    precision = effects.precision
    errors = np.sqrt(np.diag(precision.vcov))
    for k, (name, value) in enumerate(fit.beta.items()):
        df = precision.t_df(np.eye(len(errors))[k])
        p = 2.0 * stats.t.sf(abs(value) / errors[k], df) if effects.method != "none" else np.nan
        mark = next((mark for limit, mark in _STARS if p < limit), "") if stars else ""
        cells[("Fixed effects", str(name), 0)] = f"{value:.{places}f}{mark}"
        below = f"({errors[k]:.{places}f})"
        if level is not None:
            reach = stats.t.ppf(0.5 + 0.5 * level, df) * errors[k]
            below = f"[{value - reach:.{places}f}, {value + reach:.{places}f}]"
        cells[("Fixed effects", str(name), 1)] = below
    return cells


def _random(fit: Fit, places: int) -> Cells:
    """Return standard deviations and correlations of the random effects."""
    cells = Cells()
    terms = {term.name: term for term in fit.model.terms}
    for term, table in fit.varcorr.items():
        parts = VarCorr.of(table)
        if term in terms and not terms[term].by_pairs:
            cells |= _structured(terms[term], parts, places)
            continue
        for i, effect in enumerate(parts.effects):
            cells[("Random effects", f"SD {effect} | {term}", 0)] = f"{parts.sd[i]:.{places}f}"
            for j in range(i):
                name = f"Cor {parts.effects[j]}, {effect} | {term}"
                value = parts.correlation[i, j]
                text = "" if np.isnan(value) else f"{value:.{places}f}"
                cells[("Random effects", name, 0)] = text
    if fit.has_residual:
        cells[("Random effects", "SD residual", 0)] = f"{fit.sigma:.{places}f}"
    return cells


def _structured(term: TermSummary, parts: VarCorr, places: int) -> Cells:
    """Return the parameters of a term with a structure: one row for those that effects share.

    Of several correlations, as of `toep`, each is that of effects at one distance.
    """
    cells = Cells()
    values = parameter_values(term, parts)
    labels = parameter_labels([term])
    for (i, j), label, value in zip(parameter_places(term), labels, values, strict=True):
        what = label.partition("_")[2].removesuffix(f"|{term.group}").replace("*", "of each effect")
        if i != j and term.n_rho > 1:
            what, value = f"at distance {i}", parts.correlation[i, j]
        name = f"{'SD' if i == j else 'Cor'} {what} | {term.name} ({term.structure})"
        text = "" if np.isnan(value) else f"{value:.{places}f}"
        cells[("Random effects", name, 0)] = text
    return cells


def _residuals(fit: Fit, places: int) -> Cells:
    """Return the structure of the residuals, standard deviations by stratum, and correlations."""
    part = fit.residual_covariance
    if part is None:
        return Cells()
    made = {"Structure": part.text}
    if len(part.sd) > 1:
        made |= {f"SD {level}": f"{sd:.{places}f}" for level, sd in part.sd.items()}
    for name, value in part.par.iloc[len(part.sd) - 1 :].items():
        made[f"Cor {str(name).removeprefix('cor.')}"] = f"{value:.{places}f}"
    return {("Residuals", name, 0): text for name, text in made.items()}


def _quality(fit: Fit, places: int, has_model: bool) -> Cells:
    cells: dict[str, Any] = {"Rows": f"{fit.n_obs:,}"}
    cells |= {f"Levels of {name}": f"{len(v):,}" for name, v in fit.model.levels.items()}
    if has_model and len(fit.problem.model.y):
        shares = r2(fit)
        cells |= {f"R² {name}": f"{value:.{places}f}" for name, value in shares.items()}
    cells["REML criterion" if fit.reml else "−2 log likelihood"] = f"{fit.criterion:.{places}f}"
    cells |= {"AIC": f"{fit.aic:.{places}f}", "BIC": f"{fit.bic:.{places}f}"}
    return {("Fit", name, 0): text for name, text in cells.items()}


def _joined(columns: list[Cells], heads: list[str]) -> pd.DataFrame:
    """Put columns side by side, rows in the order in which they first appear, block by block."""
    keys = list(dict.fromkeys(key for column in columns for key in column))
    keys.sort(key=lambda key: key[1] in _LAST)  # of their block; the sort is stable
    blocks = sorted(dict.fromkeys(key[0] for key in keys), key=lambda block: block == "Fit")
    keys = [key for block in blocks for key in keys if key[0] == block]
    names = dict.fromkeys(key[:2] for key in keys)
    ordered = [(*name, part) for name in names for part in (0, 1) if (*name, part) in keys]
    rows = [[column.get(key, "") for column in columns] for key in ordered]
    index = [(block, name if part == 0 else "") for block, name, part in ordered]
    return pd.DataFrame(rows, columns=heads, index=pd.MultiIndex.from_tuples(index))
