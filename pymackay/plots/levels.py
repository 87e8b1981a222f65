"""`caterpillar` and `caterpillars`: plots of the predicted effects of all levels with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pymackay.arguments import probability
from pymackay.plots.canvas import (
    BLUE,
    GREY,
    axes_for,
    choose_effect,
    choose_group,
    coefficient_label,
    figure_for,
    key_above,
    label_rows,
    picture,
)
from pymackay.results import Fit, check_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 200  # with more levels, intervals are drawn as a band
_PANEL, _TALLEST = 3.4, 6.0  # inches: width of a panel, largest height


@picture
def caterpillar(
    fit: Fit,
    group: str | None = None,
    effect: str | int | None = None,
    *,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw the predicted effects of each level with their intervals, sorted.

    The intervals are b̂ ± z √condvar, given beta, as in R's ``dotplot(ranef(fit))``. Points whose
    interval excludes zero are filled.

    Parameters
    ----------
    fit : Fit
        A fit by any engine that offers `condvar`.
    group : str, optional
        Grouping factor; the first by default.
    effect : str or int, optional
        One of its effects; the first by default. If two terms of the group have effects with one
        name, give the position among the columns of ``fit.ranef[group]``.
    level : float
        Level of the intervals.

    Raises
    ------
    ArgumentError
        If the fit does not have this group or effect.
    PymackayError
        If matplotlib is missing, or the fit does not offer `condvar`.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> ax = pm.plots.caterpillar(fit, effect="Days")
    >>> [tick.get_text() for tick in ax.get_yticklabels()][-1]
    '308'
    """
    check_fit(fit, "caterpillar")
    probability("level", level, 0.95)
    group = choose_group(fit, group)
    k = choose_effect(fit, group, effect)
    order = _order(fit, group, k)
    return _draw(axes_for(ax, _height(len(order)), fit), fit, group, k, order, level)


def caterpillars(fit: Fit, group: str | None = None, *, level: float = 0.95) -> Figure:
    """Draw the predicted effects of all grouping factors: a panel for each of their effects.

    The panels of a factor show its levels in the same order, sorted by its first effect, as R's
    ``dotplot(ranef(fit))``; with more than 200 levels each panel is sorted by its own effect.

    Parameters
    ----------
    fit : Fit
        A fit by any engine that offers `condvar`.
    group : str, optional
        One grouping factor; all by default.
    level : float
        Level of the intervals.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        If the fit does not have this group.
    PymackayError
        If matplotlib is missing, or the fit does not offer `condvar`.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", pm.load_data("Penicillin"))
    >>> [ax.get_xlabel() for ax in pm.plots.caterpillars(fit).axes]
    ['(Intercept) by plate', '(Intercept) by sample']
    """
    check_fit(fit, "caterpillars")
    probability("level", level, 0.95)
    groups = list(fit.ranef) if group is None else [choose_group(fit, group)]
    rows = _rows([(name, k) for name in groups for k in range(fit.ranef[name].shape[1])], groups)
    columns = max(map(len, rows))
    heights = [max(min(_height(len(fit.ranef[name])), _TALLEST) for name, _ in row) for row in rows]
    figure = figure_for(max(_PANEL * columns, 6.5), sum(heights) + 0.3, fit)
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for i, row in enumerate(rows):
        for j, (name, k) in enumerate(row):
            ax = axes_for(figure.add_subplot(grid[i, j]), heights[i])
            _draw(ax, fit, name, k, _order(fit, name, 0 if _has_rows(fit, name) else k), level)
            if k and j and _has_rows(fit, name):  # the names stand beside the first panel
                ax.set_yticks([])
                ax.set_ylabel("")
            key = ax.get_legend()
            if key is not None and (i or j):  # the first panel's legend holds for all
                key.remove()
    return figure


def _rows(panels: list[tuple[str, int]], groups: list[str]) -> list[list[tuple[str, int]]]:
    """Return the panels, (group, effect), by row: a row for each group, or two of one effect."""
    if len(panels) == len(groups):
        return [panels[i : i + 2] for i in range(0, len(panels), 2)]
    return [[panel for panel in panels if panel[0] == name] for name in groups]


def _has_rows(fit: Fit, group: str) -> bool:
    """Whether each level has a row of its own; otherwise each panel is sorted by itself."""
    return len(fit.ranef[group]) <= _MANY


def _order(fit: Fit, group: str, k: int) -> np.ndarray:
    """Return the positions of the levels, sorted by their k-th effect."""
    return np.argsort(fit.ranef[group].iloc[:, k].to_numpy(dtype=np.float64), kind="stable")


def _height(levels: int) -> float:
    return 1.0 + 0.19 * max(levels, 8) if levels <= _MANY else 4.5


def _draw(ax: Axes, fit: Fit, group: str, k: int, order: np.ndarray, level: float) -> Axes:
    """Draw the k-th effect of a group, its levels in `order`, shape (levels,), from the bottom."""
    table = fit.ranef[group]
    effects = table.iloc[:, k].to_numpy(dtype=np.float64)
    half = stats.norm.ppf(0.5 + 0.5 * level) * np.sqrt(fit.condvar[group][:, k, k])
    ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=0)
    draw = _draw_each if _has_rows(fit, group) else _draw_band
    draw(ax, effects[order], half[order], f"{100 * level:g} % interval")
    label_rows(ax, [str(name) for name in table.index[order]], group)
    ax.set_xlabel(coefficient_label(str(table.columns[k]), group))
    return ax


def _draw_each(ax: Axes, effects: np.ndarray, half: np.ndarray, what: str) -> None:
    """Draw each level's effect with its interval, effect ± half, both of shape (levels,)."""
    rows = np.arange(len(effects))
    clear = np.abs(effects) > half
    for chosen, face, name in (
        (clear, BLUE, f"{what} excludes 0"),
        (~clear, ax.get_facecolor(), "includes 0"),
    ):
        ax.errorbar(
            effects[chosen], rows[chosen], xerr=half[chosen], fmt="o", color=BLUE,
            markerfacecolor=face, markersize=4.5, linewidth=1.2, markeredgewidth=1.2,
            label=name if chosen.any() else None,
        )  # fmt: skip
    key_above(ax)


def _draw_band(ax: Axes, effects: np.ndarray, half: np.ndarray, what: str) -> None:
    rows = np.arange(len(effects))
    ax.fill_betweenx(
        rows, effects - half, effects + half, color=BLUE, alpha=0.35, linewidth=0, label=what
    )
    ax.plot(effects, rows, color=BLUE, linewidth=1.6, label="prediction")
    key_above(ax)
