"""Plots of fits and comparisons with matplotlib; each function returns the Axes with the plot.

They need matplotlib: ``pip install matplotlib``. With `ax`, the plot is drawn on it; without, a
new figure of a page's width is made, whose title is the formula. `caterpillars`, `profiles` and
`profile_pairs` have several panels and return the Figure. The colours are those of Okabe and Ito,
which colour-blind people can distinguish, and markers or line styles repeat what the colours show.
"""

from pymackay.plots.coefficients import coefficients
from pymackay.plots.diagnostics import qq, residuals
from pymackay.plots.gap import variance_gap
from pymackay.plots.influence import influence
from pymackay.plots.levels import caterpillar, caterpillars
from pymackay.plots.loop import collapse, trace
from pymackay.plots.means import effect, means
from pymackay.plots.parity import distances
from pymackay.plots.pooling import shrinkage
from pymackay.plots.profiles import profile_pairs, profiles, zeta
from pymackay.plots.simulated import simulated

__all__ = [
    "caterpillar",
    "caterpillars",
    "coefficients",
    "collapse",
    "distances",
    "effect",
    "influence",
    "means",
    "profile_pairs",
    "profiles",
    "qq",
    "residuals",
    "shrinkage",
    "simulated",
    "trace",
    "variance_gap",
    "zeta",
]
