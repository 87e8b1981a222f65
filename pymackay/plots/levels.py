"""`caterpillar`: plot of the predicted effects of all levels with intervals."""

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
    key_above,
    label_rows,
    picture,
)
from pymackay.results import Fit, check_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 200  # with more levels, intervals are drawn as a band


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
    check_fit(fit, "fit")
    probability("level", level, 0.95)
    group = choose_group(fit, group)
    k = choose_effect(fit, group, effect)
    table = fit.ranef[group]
    effects = table.iloc[:, k].to_numpy(dtype=np.float64)
    half = stats.norm.ppf(0.5 + 0.5 * level) * np.sqrt(fit.condvar[group][:, k, k])
    order = np.argsort(effects, kind="stable")
    ax = axes_for(ax, 1.0 + 0.19 * max(len(order), 8) if len(order) <= _MANY else 4.5)
    ax.axvline(0.0, color=GREY, linewidth=0.8, zorder=0)
    draw = _draw_each if len(order) <= _MANY else _draw_band
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
