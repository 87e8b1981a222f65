"""`draw_network_trace`: plot of the updates of MacKay's loop on a network's weight groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pymackay.plots.canvas import BLUE, COLOURS, MARKERS, key_above, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = ("-", "--", "-.", ":")


def draw_network_trace(table: pd.DataFrame, what: str, ax: Axes) -> None:
    """Draw the trace of a network on a logarithmic axis.

    Parameters
    ----------
    table : pandas.DataFrame
        ``trace`` of `pymackay.keras.MacKay`: a row per update with ``noise``, ``log_evidence``,
        and ``sd NAME`` and ``gamma NAME`` of every group.
    what : {"variances", "criterion", "gamma"}
    ax : matplotlib.axes.Axes
    """
    ax.set_xlabel("update")
    if what == "criterion":
        above = -2.0 * (table["log_evidence"] - table["log_evidence"].max())
        above = above[above > 0.0]  # the lowest has no place on a logarithmic axis
        ax.plot(above.index, above, color=BLUE, marker="o", markersize=4, linewidth=1.8)
        ax.set_ylabel("−2 log evidence above its lowest")
        return
    paths = _gammas(table) if what == "gamma" else _variances(table)
    for k, (label, values) in enumerate(paths.items()):
        ax.plot(
            table.index, values.where(values > 0.0), label=shorten(label),
            color=COLOURS[k % len(COLOURS)], linestyle=_LINES[k % len(_LINES)],
            marker=MARKERS[k % len(MARKERS)], markersize=4,
            markevery=max(len(table) // 12, 1), linewidth=1.8,
        )  # fmt: skip
    ax.set_ylabel("γ, weights that the data determine" if what == "gamma" else "prior variance")
    key_above(ax)


def _variances(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the mean prior variance of every group, and the noise variance, by update."""
    groups = {
        str(column).removeprefix("sd "): table[column] ** 2
        for column in table.columns
        if str(column).startswith("sd ")
    }
    return {**groups, "σ²": table["noise"]}


def _gammas(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return γ of every group by update."""
    return {
        str(column).removeprefix("gamma "): table[column]
        for column in table.columns
        if str(column).startswith("gamma ")
    }
