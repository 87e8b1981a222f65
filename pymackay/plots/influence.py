"""`influence`: plot of Cook's distances of groups or rows left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pymackay.arguments import instance_of
from pymackay.infer.checks.influence import Influence
from pymackay.plots.canvas import BLUE, axes_for, label_rows, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 30  # units that are drawn


@picture
def influence(influence: Influence, *, ax: Axes | None = None) -> Axes:
    """Draw Cook's distance of each group or row that was left out, the largest on top.

    Parameters
    ----------
    influence : Influence
        Of `Fit.influence`. Of more than 30 units the most influential are drawn.

    Raises
    ------
    ArgumentError
        If `influence` is something else.
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> pm.plots.influence(fit.influence()).get_xlabel()
    "Cook's distance without each Batch"
    """
    instance_of("influence", influence, Influence, "fit.influence()")
    shown = influence.cooks_distance.dropna().sort_values(ascending=False).head(_MOST).iloc[::-1]
    ax = axes_for(ax, 1.0 + 0.19 * max(len(shown), 8))
    rows = np.arange(len(shown))
    ax.hlines(rows, 0.0, shown, color=BLUE, linewidth=1.2)
    ax.plot(shown, rows, "o", color=BLUE, markersize=4.5, label="Cook's distance")
    label_rows(ax, [str(name) for name in shown.index], influence.by)
    ax.set_xlim(left=0.0)
    ax.set_xlabel(f"Cook's distance without each {influence.by}")
    return ax
