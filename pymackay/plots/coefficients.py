"""`coefficients`: plot of the fixed effects of one fit, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pymackay.arguments import flag, probability
from pymackay.errors import ArgumentError
from pymackay.infer.significance.ddf import quick_ddf
from pymackay.infer.tables.tidy import tidy
from pymackay.plots.canvas import (
    COLOURS,
    GREY,
    MARKERS,
    axes_for,
    key_above,
    label_rows,
    picture,
    shorten,
)
from pymackay.results import Fit, check_fits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = 0.6  # part of a row in which the intervals of several fits lie


@picture
def coefficients(
    fits: Fit | Sequence[Fit],
    *,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    intercept: bool = False,
    ddf: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the fixed effects with their confidence intervals, a row for each coefficient.

    Parameters
    ----------
    fits : Fit or sequence of Fit
        Of any engine, linear or generalised. Coefficients of one name share a row.
    names : sequence of str, optional
        Names of the fits in the legend; by default their formulas, or where two are the same,
        their numbers.
    level : float
        Level of the intervals.
    intercept : bool
        Whether to draw the intercept, which often lies on another scale than the rest. It is drawn
        if there is no other coefficient.
    ddf : str, optional
        Method for degrees of freedom, as in `pymackay.coefficients`. By default Satterthwaite's
        where it takes less than about a second, and otherwise normal intervals.

    Raises
    ------
    ArgumentError
        If there is no fit, or the names are not as many different ones as there are fits.
    PymackayError
        If matplotlib is missing, or a fit does not hold what `ddf` needs.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> one = pm.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    >>> two = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> ax = pm.plots.coefficients([one, two], names=["intercepts", "slopes"])
    >>> ax.get_legend_handles_labels()[1]
    ['intercepts', 'slopes']
    """
    listed = check_fits(fits, "a plot of coefficients")
    labels = _names(listed, names)
    probability("level", level, 0.95)
    tables = [_intervals(fit, level, ddf) for fit in listed]
    rows = list(dict.fromkeys(name for table in tables for name in table.index))
    if not flag("intercept", intercept) and rows != ["(Intercept)"]:
        rows = [name for name in rows if name != "(Intercept)"]
    ax = axes_for(ax, 1.2 + (0.16 + 0.14 * len(listed)) * max(len(rows), 3),
                  listed[0] if len(listed) == 1 else None)  # fmt: skip
    ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=0)
    for k, (table, label) in enumerate(zip(tables, labels, strict=True)):
        place = {name: row for row, name in enumerate(rows[::-1])}
        shown = table.loc[[name for name in rows if name in table.index]]
        value = shown["estimate"].to_numpy()
        shift = _SPREAD * (0.5 - (k + 0.5) / len(listed))
        ax.errorbar(
            value, np.array([place[name] + shift for name in shown.index]),
            xerr=[value - shown["conf.low"], shown["conf.high"] - value],
            fmt=MARKERS[k % len(MARKERS)], color=COLOURS[k % len(COLOURS)], markersize=5,
            linewidth=1.4, label=label,
        )  # fmt: skip
    label_rows(ax, rows[::-1], "coefficient")
    ax.set_xlabel(f"estimate, {100 * level:g} % interval")
    if len(listed) > 1:
        key_above(ax)
    return ax


def _names(fits: list[Fit], names: Sequence[str] | None) -> list[str]:
    """Return the names of the fits in the legend."""
    if names is None:
        formulas = [fit.formula for fit in fits]
        if len(set(formulas)) < len(fits):
            return [f"({k})" for k in range(1, len(fits) + 1)]
        return [shorten(formula, 60) for formula in formulas]
    given = [names] if isinstance(names, str) else list(map(str, names))
    if len(given) != len(fits) or len(set(given)) < len(given):
        raise ArgumentError(
            f"names must be {len(fits)} different names, one for each fit, but they are {given}"
        )
    return [shorten(name) for name in given]


def _intervals(fit: Fit, level: float, ddf: str | None) -> pd.DataFrame:
    """Return estimates and ends of the intervals, indexed by the names of coefficients."""
    method = quick_ddf(fit) if ddf is None else ddf
    table = tidy(fit, "fixed", conf_int=True, conf_level=level, ddf=method).set_index("term")
    return table[["estimate", "conf.low", "conf.high"]].astype(np.float64)
