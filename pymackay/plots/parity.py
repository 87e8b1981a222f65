"""`distances`: plot of the distances between two fits, relative to their tolerances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.plots.canvas import BLUE, GREY, VERMILION, axes_for, key_above, label_bars, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEEDED = ("stage", "quantity", "term", "distance", "tolerance", "ok")
_LEAST, _MOST = (
    1e-12,
    1e12,
)  # range of the axis, relative to the tolerance; values beyond are drawn at its ends
_NAMES = {
    "std_error": "standard errors",
    "sigma": "σ",
    "variance": "variances",
    "covariance": "covariances",
    "b": "b",
    "condvar": "var(b | y)",
    "pev": "var(b̂ − b)",
    "fitted": "fitted values",
}


@picture
def distances(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the largest distance of each quantity, divided by its tolerance.

    Parameters
    ----------
    table : pandas.DataFrame
        A comparison's ``table``; the numbers at the two optima are drawn. Quantities that are not
        judged have open marks.

    Raises
    ------
    ArgumentError
        If the table lacks columns, or no number was compared.
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> comparison = pm.compare(fit, fit)
    >>> pm.plots.distances(comparison.table).get_xlabel()
    'distance / allowed'
    """
    worst = _worst(table)
    ax = axes_for(ax, 1.2 + 0.27 * len(worst))
    rows = np.arange(len(worst))[::-1]
    ratio = np.clip(worst["ratio"].to_numpy(dtype=np.float64), _LEAST, _MOST)
    ax.set_xscale("log")
    ax.axvspan(1.0, 1e2 * _MOST, color=VERMILION, alpha=0.10, linewidth=0)
    ax.axvline(1.0, color=VERMILION, linewidth=1.4, linestyle="--", label="allowed")
    ax.hlines(rows, _LEAST, ratio, color=GREY, linewidth=0.8, zorder=1)
    judged = worst["judged"].to_numpy()
    bad = judged & (ratio > 1.0)
    for chosen, marker, colour, face, name in (
        (judged & ~bad, "o", BLUE, BLUE, "agrees"),
        (bad, "X", VERMILION, VERMILION, "disagrees"),
        (~judged, "o", GREY, ax.get_facecolor(), "not judged"),
    ):
        if chosen.any():
            ax.plot(ratio[chosen], rows[chosen], marker, color=colour, markerfacecolor=face,
                    markersize=7, label=name)  # fmt: skip
    label_bars(ax, rows, list(worst["name"]))
    ax.set_ylim(-0.6, len(worst) - 0.4)
    low, high = ratio.min(), max(1.0, ratio.max())
    margin = (high / low) ** 0.04 * 2.0
    ax.set_xlim(low / margin, high * margin)
    ax.set_xlabel("distance / allowed")
    key_above(ax)
    return ax


def _worst(table: pd.DataFrame) -> pd.DataFrame:
    """Return the largest distance of each quantity and term, in units of its tolerance."""
    lacking = [name for name in _NEEDED if name not in getattr(table, "columns", ())]
    if lacking:
        raise ArgumentError(
            f"table: expected a comparison's table (pymackay.compare(...).table); the columns "
            f"{', '.join(lacking)} are missing."
        )
    shown = table[(table["stage"] == "optimum") & table["distance"].notna()]
    if shown.empty:
        raise ArgumentError("table: no number was compared at the two optima, so none is drawn.")
    shown = shown.assign(
        ratio=shown["distance"] / shown["tolerance"],
        judged=shown["ok"].notna(),
        name=[f"{_NAMES.get(e.quantity, e.quantity)} {e.term}".strip() for e in shown.itertuples()],
    )
    kept = shown.loc[shown.groupby("name", sort=False)["ratio"].idxmax().to_numpy()]
    return kept.reset_index(drop=True)
