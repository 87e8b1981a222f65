"""`simulated`: quantiles of simulated residuals against the uniform distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pymackay.arguments import instance_of
from pymackay.infer.checks.simulated import SimulatedResiduals
from pymackay.plots.bands import order_band
from pymackay.plots.canvas import BLUE, GREY, axes_for, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 2000  # points that are drawn


@picture
def simulated(simulated: SimulatedResiduals, *, ax: Axes | None = None) -> Axes:
    """Draw the quantiles of simulated residuals against those of the uniform distribution.

    Parameters
    ----------
    simulated : SimulatedResiduals
        Of `pymackay.simulated_residuals`. The band holds 95 % of each quantile of independent
        residuals of a right model.

    Raises
    ------
    ArgumentError
        If `simulated` is something else.
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> pm.plots.simulated(pm.simulated_residuals(fit)).get_ylabel()
    'simulated residual'
    """
    instance_of("simulated", simulated, SimulatedResiduals, "pymackay.simulated_residuals")
    values = np.sort(simulated.scaled.to_numpy())
    n = len(values)
    rows = np.unique(np.linspace(0, n - 1, min(n, _MOST)).round().astype(int))
    uniform = (rows + 0.5) / n
    low, high = order_band(rows, n)
    ax = axes_for(ax, 4.0)
    ax.fill_between(uniform, low, high, color=GREY, alpha=0.3, linewidth=0, label="95 % band")
    ax.plot([0.0, 1.0], [0.0, 1.0], color=GREY, linewidth=0.8)
    ax.plot(uniform, values[rows], "o", color=BLUE, markersize=3.5, alpha=0.7, markeredgewidth=0,
            label="residual")  # fmt: skip
    p = simulated.tests["p.value"]
    ax.set_title(
        ", ".join(f"{name} p = {value:.3g}" for name, value in p.items()), fontsize="small",
        loc="left",
    )  # fmt: skip
    ax.legend(loc="lower right", frameon=False, fontsize="small")
    ax.set_xlabel("uniform quantile")
    ax.set_ylabel("simulated residual")
    return ax
