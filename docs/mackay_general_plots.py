"""The figure of the page on MacKay's loop with counts and yes/no answers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from mackay_plots import BLUE, GREEN, GREY, ORANGE, STYLE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

__all__ = ["draw_group_sizes"]

_LINES = {
    "modes (PQL)": (ORANGE, "o", "-"),
    "means": (BLUE, "s", "-"),
    "exact likelihood": (GREEN, "D", "--"),
}
_TICKS = (2, 4, 8, 16, 32)


def draw_group_sizes(table: pd.DataFrame, truth: float) -> Figure:
    """Draw estimated standard deviations by the size of the groups, one panel for each kind.

    Parameters
    ----------
    table : pandas.DataFrame
        ``kind``, ``size``, ``method`` and ``sd``.
    truth : float
        The standard deviation that was simulated.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    with plt.rc_context({**STYLE, "font.size": 13, "axes.titlesize": 14}):
        figure, axes = plt.subplots(1, len(kinds), figsize=(10, 4.6), sharey=True)
        for axis, kind in zip(axes, kinds, strict=True):
            _draw_kind(axis, table[table["kind"] == kind], truth)
            axis.set_title(kind)
        axes[0].set_ylabel("estimated sd")
        axes[0].set_ylim(0.0, 1.35 * max(truth, table["sd"].max() / 1.25))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper center", ncols=len(handles), frameon=False)
        figure.tight_layout(rect=(0.0, 0.0, 1.0, 0.93))
    plt.close(figure)
    return figure


def _draw_kind(axis: Axes, table: pd.DataFrame, truth: float) -> None:
    axis.axhline(truth, color=GREY, linestyle=":", linewidth=1.6, label="truth")
    for method, (color, marker, line) in _LINES.items():
        rows = table[table["method"] == method]
        axis.plot(
            rows["size"],
            rows["sd"],
            color=color,
            marker=marker,
            linestyle=line,
            linewidth=2.0,
            markersize=7,
            label=method,
        )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(_TICKS, [str(tick) for tick in _TICKS])
    axis.set_xlabel("rows in each group")
