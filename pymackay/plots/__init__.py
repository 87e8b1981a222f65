"""Pictures of fits and comparisons, for matplotlib: each function returns the Axes it has drawn on.

They need the extra ``plots``: ``pip install 'pymackay[plots]'``. Without `ax` a figure is made, as
wide as a page; with `ax` the picture is drawn there. Colours are Okabe and Ito's, which the
colour-blind can tell apart, and no picture tells anything by colour alone.
"""

from pymackay.plots.diagnostics import qq, residuals
from pymackay.plots.gap import variance_gap
from pymackay.plots.levels import caterpillar
from pymackay.plots.likelihood import zeta
from pymackay.plots.loop import collapse, trace
from pymackay.plots.parity import distances
from pymackay.plots.pooling import shrinkage

__all__ = [
    "caterpillar",
    "collapse",
    "distances",
    "qq",
    "residuals",
    "shrinkage",
    "trace",
    "variance_gap",
    "zeta",
]
