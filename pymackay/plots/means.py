"""`means` and `effect`: plots of marginal means, contrasts or trends with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pymackay.arguments import instance_of, probability
from pymackay.infer.means.emmeans import emmeans, read_specs
from pymackay.infer.means.means import Means
from pymackay.infer.means.predictors import Predictors
from pymackay.plots.canvas import (
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    axes_for,
    key_above,
    label_rows,
    picture,
    shorten,
)
from pymackay.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST = 3  # values of a number from which means make a line
_GRID = 41  # values of a number over which an effect is drawn
_LINES = ("-", "--", "-.", ":")
_MARKED = 20  # points of a line that get a marker


@picture
def means(means: Means, *, level: float = 0.95, ax: Axes | None = None) -> Axes:
    """Draw marginal means, contrasts or trends with their confidence intervals.

    Where the first variable is a number with three values or more, the means are lines with bands,
    one for each combination of the other variables; otherwise each row has a point and an interval.

    Parameters
    ----------
    means : Means
        Of `pymackay.emmeans`, or contrasts or trends of them.
    level : float
        Level of the intervals, with the adjustment that `means` has.

    Raises
    ------
    ArgumentError
        If `means` is something else.
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe + temp + (1 | replicate)", pm.load_data("cake"))
    >>> ax = pm.plots.means(pm.emmeans(fit, "recipe"))
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['C', 'B', 'A']
    """
    instance_of("means", means, Means, "pymackay.emmeans")
    table = pd.DataFrame(means.confint(probability("level", level, 0.95)))
    labels = list(means.labels.columns)
    values = means.labels[labels[0]]
    is_line = values.dtype.kind in "if" and values.nunique() >= _FEWEST
    draw = _draw_lines if is_line else _draw_rows
    estimate = table.columns[len(labels)]
    ax = axes_for(ax, 4.0 if is_line else 1.1 + 0.3 * max(len(table), 3), means.basis.effects.fit)
    return draw(table, labels, estimate, f"{100 * level:g} % interval", ax, means.is_comparison)


@picture
def effect(
    fit: Fit,
    variable: str,
    *,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draw the effect of a variable: the model's mean over its values, with a band.

    The means are those of `pymackay.emmeans`: random effects zero, averages over the levels of
    other factors, other covariates at their means. A number is drawn from its smallest to its
    largest value in the data, a factor as points with intervals.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    variable : str
        A variable of the fixed effects.
    by : str or sequence of str, optional
        Variables for whose combinations there are lines of their own.
    at : mapping of str to value or sequence, optional
        Values of variables, `variable` included.
    level : float
        Level of the band.
    **options
        Other arguments of `pymackay.emmeans`, such as ``type="response"`` and ``weights=``.

    Raises
    ------
    ArgumentError
        If a variable is not part of the fixed effects, or another argument is wrong.
    PymackayError
        If matplotlib is missing, or another engine made the fit.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", pm.load_data("cake"))
    >>> ax = pm.plots.effect(fit, "temp", by="recipe")
    >>> ax.get_xlabel(), ax.get_legend_handles_labels()[1]
    ('temp', ['A', 'B', 'C'])
    """
    (variable,), families = read_specs([variable], by)
    predictors = Predictors.of(fit, "effect", options.get("data"))
    values = dict(at or {})
    if _is_number(predictors, variable) and variable not in values:
        numbers = predictors.numbers(variable)
        values[variable] = np.linspace(numbers.min(), numbers.max(), _GRID).tolist()
    table = emmeans(fit, [variable, *families], at=values or None, **options)
    return means(table, level=level, ax=ax)


def _is_number(predictors: Predictors, variable: str) -> bool:
    """Whether a variable of the model holds numbers, and is not made a factor by the formula."""
    categories = variable in predictors.blueprint.fixed.levels or variable in predictors.coerced
    return variable in predictors.names and not categories


def _draw_rows(
    table: pd.DataFrame, labels: list[str], estimate: str, what: str, ax: Axes, zero: bool
) -> Axes:
    """Draw a point and an interval for each row, the first on top."""
    rows = np.arange(len(table))[::-1]
    value = table[estimate].to_numpy()
    reach = [value - table.iloc[:, -2], table.iloc[:, -1] - value]
    ax.errorbar(value, rows, xerr=reach, fmt="o", color=BLUE, markersize=5, linewidth=1.4,
                label=what)  # fmt: skip
    if zero:
        ax.axvline(
            1.0 if estimate in ("ratio", "odds.ratio") else 0.0, color=GREY, linewidth=0.8, zorder=0
        )
    names = [", ".join(map(_shown, row)) for row in table[labels].itertuples(index=False)]
    label_rows(ax, names[::-1], ", ".join(labels))
    key_above(ax)
    ax.set_xlabel(estimate)
    return ax


def _draw_lines(
    table: pd.DataFrame, labels: list[str], estimate: str, what: str, ax: Axes, zero: bool
) -> Axes:
    """Draw means over a number, a line with a band for each combination of the others."""
    if zero:
        ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    others = labels[1:]
    groups = table.groupby(others, sort=False, observed=True) if others else [("", table)]
    for k, (name, part) in enumerate(groups):
        part = part.sort_values(labels[0])
        colour, x = COLOURS[k % len(COLOURS)], part[labels[0]].to_numpy(dtype=np.float64)
        shown = ", ".join(map(_shown, name)) if isinstance(name, tuple) else str(name)
        ax.fill_between(x, part.iloc[:, -2], part.iloc[:, -1], color=colour, alpha=0.2, linewidth=0)
        marker = MARKERS[k % len(MARKERS)] if len(x) <= _MARKED else None
        ax.plot(x, part[estimate], color=colour, marker=marker, markersize=4, linewidth=1.6,
                linestyle="-" if marker else _LINES[k % len(_LINES)],
                label=shorten(shown) or what)  # fmt: skip
    key_above(ax)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(f"{estimate}, {what}")
    return ax


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
