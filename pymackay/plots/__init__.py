"""Plots of fits and comparisons with matplotlib; each function returns the Axes with the plot.

They need the extra ``plots``: ``pip install 'pymackay[plots]'``. With `ax`, the plot is drawn on
it; without, a new figure of a page's width is made. The colours are those of Okabe and Ito, which
colour-blind people can distinguish, and markers or line styles repeat what the colours show.
"""

from pymackay.plots.diagnostics import qq, residuals
from pymackay.plots.gap import variance_gap
from pymackay.plots.influence import influence
from pymackay.plots.levels import caterpillar
from pymackay.plots.likelihood import zeta
from pymackay.plots.loop import collapse, trace
from pymackay.plots.means import means
from pymackay.plots.parity import distances
from pymackay.plots.pooling import shrinkage
from pymackay.plots.simulated import simulated

__all__ = [
    "caterpillar",
    "collapse",
    "distances",
    "influence",
    "means",
    "qq",
    "residuals",
    "shrinkage",
    "simulated",
    "trace",
    "variance_gap",
    "zeta",
]
