"""The figures of the page on penalties of a network."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from mackay_plots import BLUE, GREEN, GREY, ORANGE, STYLE
from matplotlib.figure import Figure

__all__ = ["draw_cost", "draw_groups"]

_COLOURS = (BLUE, ORANGE, GREEN)
_GAP = 0.055  # least distance of two labels, as a share of the axis


def draw_groups(trace: pd.DataFrame, names: list[str], truth: dict[str, float]) -> Figure:
    """Draw the standard deviation of each table over the updates, and its true value.

    Parameters
    ----------
    trace : pandas.DataFrame
        ``MacKay.trace``.
    names : list of str
        Groups to draw.
    truth : dict of str to float
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9.5, 4.2))
        for name, colour in zip(names, _COLOURS, strict=False):
            path = trace[f"sd {name}"]
            axis.plot(path.index, path, color=colour, linewidth=2.0)
            axis.axhline(truth[name], color=colour, linestyle="--", linewidth=1.0)
            axis.annotate(
                name,
                (path.index[-1], path.iloc[-1]),
                xytext=(6, 0),
                textcoords="offset points",
                color=colour,
                va="center",
            )
        axis.set(xlabel="update", ylabel="standard deviation of the prior", ylim=(-0.03, None))
        figure.tight_layout()
    plt.close(figure)
    return figure


def draw_cost(table: pd.DataFrame) -> Figure:
    """Draw each method's test error against its cost in units of one training.

    Marks of methods that have not run on all seeds are hollow.

    Parameters
    ----------
    table : pandas.DataFrame
        What `benchmarks.keras.report.summary` returns.
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9.0, 5.6))
        for method, row in table.iterrows():
            colour, marker = _look(str(method), row["trainings"])
            face = colour if row["seeds"] == table["seeds"].max() else "white"
            axis.plot(row["ratio"], row["level"], marker, color=colour, mfc=face, markersize=8)
        axis.set_xscale("log")
        axis.set(
            xlabel="CPU time, in units of one training without penalty",
            ylabel="RMSE on new rows, mean over the seeds",
            xlim=(0.07, 400.0),
        )
        ticks = [1, 2, 5, 10, 20]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        _label(axis, table)
        figure.tight_layout()
    plt.close(figure)
    return figure


def _look(method: str, trainings: float) -> tuple[str, str]:
    """Return colour and marker of a kind of method."""
    if method.startswith("loop"):
        return BLUE, "o"
    if method.startswith("laplace"):
        return GREEN, "D"
    return (ORANGE, "s") if trainings > 1 else (GREY, "^")


def _label(axis: plt.Axes, table: pd.DataFrame) -> None:
    """Write the names in two columns, those of one training on the left, and join them to marks."""
    low, high = axis.get_ylim()
    gap = _GAP * (high - low)
    for left in (True, False):
        side = table[(table["trainings"] == 1) == left].sort_values("level")
        height = low - gap
        for method, row in side.iterrows():
            height = max(row["level"], height + gap)
            axis.annotate(
                str(method),
                (row["ratio"], row["level"]),
                xytext=(0.75 if left else 27.0, height),
                color=_look(str(method), row["trainings"])[0],
                ha="right" if left else "left",
                va="center",
                arrowprops={"arrowstyle": "-", "color": "0.8", "linewidth": 0.8},
            )
