"""`trace`: plot of the iterations of MacKay's loop; `collapse`: plot of its forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pymackay.arguments import one_of
from pymackay.errors import ArgumentError
from pymackay.plots.canvas import (
    BLUE,
    COLOURS,
    MARKERS,
    VERMILION,
    axes_for,
    key_above,
    label_bars,
    picture,
    shorten,
)
from pymackay.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THRESHOLD = 4.0  # t ← (t / (1 + t))² s has a positive fixed point from s = 4 on
_LEAST = 1e-2  # a smaller s is drawn at this value
_LINES = ("-", "--", "-.", ":")


@picture
def trace(fit: Fit | pd.DataFrame, what: str = "variances", *, ax: Axes | None = None) -> Axes:
    """Draw the variances, or the criterion, in all iterations of MacKay's loop.

    Iteration 0 is the starting point, which ``trace.attrs["start"]`` holds.

    Parameters
    ----------
    fit : Fit or pandas.DataFrame
        A fit from `pymackay.mackay`, or its ``trace``.
    what : {"variances", "criterion"}
        The variances, including σ², each in its squared unit, on a logarithmic axis; or the
        difference of the criterion from its lowest value.

    Raises
    ------
    ArgumentError
        If there is no trace, or `what` has another value.
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> fit = pm.mackay(formula, pm.load_data("sleepstudy"), update="gamma")
    >>> ax = pm.plots.trace(fit)
    >>> [line.get_label() for line in ax.lines]
    ['Subject.(Intercept)', 'Subject.Days', 'σ²']
    """
    table = _trace_of(fit)
    one_of("what", what, ("variances", "criterion"))
    ax = axes_for(ax, 4.0, fit if isinstance(fit, Fit) else None)
    table = _label_iterations(ax, table)
    ax.set_yscale("log")
    if what == "criterion":
        above = table["criterion"] - table["criterion"].min()
        ax.plot(table["iteration"], above.where(above > 0.0), color=BLUE, linewidth=1.8,
                marker="o", markersize=4, markevery=max(len(table) // 12, 1))  # fmt: skip
        ax.set_ylabel("criterion above its lowest")
        return ax
    names = [name for name in table.columns if name.endswith(".var")]
    for k, column in enumerate([*names, "sigma_var"]):
        label = "σ²" if column == "sigma_var" else column.removesuffix(".var")
        values = table[column].where(table[column] > 0.0)  # a line ends at a variance of zero
        ax.plot(
            table["iteration"], values, label=shorten(label), color=COLOURS[k % len(COLOURS)],
            linestyle=_LINES[k % len(_LINES)], marker=MARKERS[k % len(MARKERS)], markersize=4,
            markevery=max(len(table) // 12, 1), linewidth=1.8,
        )  # fmt: skip
    _tick_short_decades(ax)
    ax.set_ylabel("variance")
    key_above(ax)
    return ax


def _label_iterations(ax: Axes, table: pd.DataFrame) -> pd.DataFrame:
    """Label the axis of iterations; return the trace with the starting point as iteration 0."""
    from matplotlib.ticker import MaxNLocator

    first = table.attrs.get("start")
    last = int(table["iteration"].iloc[-1])
    if first is None:
        ax.set_xlabel("iteration")
    else:
        table = pd.concat([pd.DataFrame([{"iteration": 0, **first}]), table], ignore_index=True)
        ax.set_xlabel("iteration (0: starting point)")
    if last <= 3:  # room beside the points of a loop that ends at once
        ax.set_xlim(-0.5 if first is not None else 0.5, last + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return table


def _tick_short_decades(ax: Axes) -> None:
    """Set ticks at 1, 2 and 5, without exponents, if the axis has less than three decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = ax.get_ylim()
    if high / low < 1e3:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
        ax.minorticks_off()


@picture
def collapse(fit: Fit | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the forecast of which directions survive MacKay's literal loop.

    A direction survives if s ≥ 4 (see `pymackay.forecast_collapse`). Each point's label is the
    share of its REML variance that the loop keeps. The threshold holds for a constant σ². The loop
    changes σ², so that a direction near the threshold may end on the other side.

    Parameters
    ----------
    fit : Fit or pandas.DataFrame
        A REML fit by pymackay, or a table from `pymackay.forecast_collapse` for ``update="raw"``.

    Raises
    ------
    ArgumentError
        If `fit` is not a REML fit, or the table has no column s.
    PymackayError
        If matplotlib is missing, or the fit does not offer what the forecast needs.

    References
    ----------
    MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4, section 4.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> ax = pm.plots.collapse(fit)
    >>> [text.get_text() for text in ax.texts][:2]
    ['keeps 94 %', 'dies']
    """
    table = _forecast_of(fit)
    ax = axes_for(ax, 1.4 + 0.36 * max(len(table), 2), fit if isinstance(fit, Fit) else None)
    rows = np.arange(len(table))[::-1]
    s = np.maximum(table["s"].to_numpy(dtype=np.float64), _LEAST)
    ax.set_xscale("log")
    ax.axvspan(1e-9, _THRESHOLD, color=VERMILION, alpha=0.10, linewidth=0)
    ax.axvline(_THRESHOLD, color=VERMILION, linewidth=1.4, linestyle="--", label="threshold, s = 4")
    for alive, colour, marker, name in (
        (True, BLUE, "o", "survives"),
        (False, VERMILION, "X", "dies"),
    ):
        chosen = table["survives"].to_numpy(dtype=bool) == alive
        ax.plot(s[chosen], rows[chosen], marker, color=colour, markersize=9,
                label=name if chosen.any() else None)  # fmt: skip
    for row, place, entry in zip(rows, s, table.itertuples(), strict=True):
        kept = f"keeps {100.0 * entry.kept:.0f} %" if entry.survives else "dies"
        ax.annotate(
            kept, (place, row), (0, 8), textcoords="offset points", ha="center", va="bottom",
            fontsize="small", bbox={"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    _label(ax, table, rows, s)
    return ax


def _label(ax: Axes, table: pd.DataFrame, rows: np.ndarray, s: np.ndarray) -> None:
    """Set labels, limits and ticks; `s` and `rows`, (directions,), are the places of the points."""
    several = table["term"].nunique() > 1
    names = [
        f"{entry.term}: {entry.direction}" if several else str(entry.direction)
        for entry in table.itertuples()
    ]
    label_bars(ax, rows, names)
    ax.set_ylim(-0.5, len(table) - 0.2)
    ax.set_xlim(min(1.0, 0.8 * s.min()), max(16.0, 2.0 * s.max()))
    decades = 10.0 ** np.arange(0, np.ceil(np.log10(ax.get_xlim()[1])) + 1)
    ticks = [tick for tick in (*decades, _THRESHOLD) if tick <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("signal ratio s")
    key_above(ax)


def _trace_of(fit: Fit | pd.DataFrame) -> pd.DataFrame:
    table = fit.trace if isinstance(fit, Fit) else fit
    if not isinstance(table, pd.DataFrame) or "sigma_var" not in table:
        raise ArgumentError(
            "fit: expected a fit of pymackay.mackay, or its trace; only the loop leaves one."
        )
    return table


def _forecast_of(fit: Fit | pd.DataFrame) -> pd.DataFrame:
    """Return the table of the forecast, and check that every direction has its s."""
    if isinstance(fit, pd.DataFrame):
        table = fit
    else:
        # only for fits of pymackay, for which TensorFlow is loaded already
        from pymackay.infer.gap.forecast import forecast_collapse

        table = forecast_collapse(fit)
    if "s" not in table or table["s"].isna().any() or table.empty:
        raise ArgumentError(
            "fit: expected a REML fit, or what pymackay.forecast_collapse(fit) has returned for "
            "update='raw': no other rule has one s for each direction."
        )
    return table
