"""`variance_gap`: plot of the shares of each variance in the predictions and their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.gap.variance_gap import variance_gap as gap_table
from pymackay.plots.canvas import BLUE, GREY, axes_for, key_above, label_bars, picture, plain
from pymackay.results import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LIGHT, _DARK = "#E69F00", "#1a1a1a"
_NARROW = 0.09  # share of the variance; narrower bars have no space for a number


@picture
def variance_gap(fit: Fit | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the two parts of each estimated variance, as shares of the variance.

    The first part is the mean square of the predicted effects, the second the mean error variance.
    At the optimum their sum is the variance; elsewhere it is smaller or larger.

    Parameters
    ----------
    fit : Fit or pandas.DataFrame
        A fit, or a table from `pymackay.variance_gap`.

    Raises
    ------
    ArgumentError
        If the table lacks columns of `pymackay.variance_gap`.
    PymackayError
        If matplotlib is missing, or the fit does not offer its error variances.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> ax = pm.plots.variance_gap(fit)
    >>> float(sum(bar.get_width() for bar in ax.patches))
    100.0
    """
    table = _table(fit)
    ax = axes_for(ax, 1.3 + 0.42 * max(len(table), 2), fit if isinstance(fit, Fit) else None)
    rows = np.arange(len(table))[::-1]
    variance = table["variance"].to_numpy(dtype=np.float64)
    unit = 100.0 / np.where(variance > 0.0, variance, np.nan)
    seen = table["prediction_variance"].to_numpy(dtype=np.float64) * unit
    hidden = table["error_variance"].to_numpy(dtype=np.float64) * unit
    ax.barh(rows, seen, height=0.6, color=BLUE, label="seen in the predictions")
    ax.barh(rows, hidden, left=seen, height=0.6, color=_LIGHT, hatch="//", linewidth=0,
            edgecolor="#8a5f00", label="hidden by shrinkage")  # fmt: skip
    _write(ax, rows, seen, hidden)
    ax.axvline(100.0, color=GREY, linewidth=1.0)
    label_bars(ax, rows, [f"{e.term} {e.effect}\n{plain(e.variance)}" for e in table.itertuples()])
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xlim(0.0, max(104.0, 1.04 * float(np.max(np.nan_to_num(seen + hidden)))))
    ax.set_xlabel("% of the estimated variance")
    key_above(ax)
    return ax


def _table(fit: Fit | pd.DataFrame) -> pd.DataFrame:
    if not isinstance(fit, pd.DataFrame):
        return gap_table(fit)
    needed = ["term", "effect", "variance", "prediction_variance", "error_variance"]
    lacking = [name for name in needed if name not in fit]
    if lacking:
        raise ArgumentError(
            f"fit: expected a Fit or a table of pymackay.variance_gap; the table lacks the "
            f"columns {', '.join(lacking)}."
        )
    return fit


def _write(ax: Axes, rows: np.ndarray, seen: np.ndarray, hidden: np.ndarray) -> None:
    """Write the shares, shape (terms,), on the bars, and a note in place of missing bars."""
    boxed = {"facecolor": _LIGHT, "edgecolor": "none", "pad": 1.5}
    for row, first, second in zip(rows, seen, hidden, strict=True):
        if np.isnan(first):
            ax.text(1.0, row, "the variance is zero: all is hidden", va="center", fontsize="small")
            continue
        for share, begin, colour, box in (
            (first, 0.0, "white", None),
            (second, first, _DARK, boxed),
        ):
            if share > 100.0 * _NARROW:
                ax.text(begin + 0.5 * share, row, f"{share:.0f} %", ha="center", va="center",
                        color=colour, fontsize="small", bbox=box)  # fmt: skip
