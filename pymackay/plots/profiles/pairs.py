"""`profile_pairs`: joint regions of all pairs of parameters, from their profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pymackay.arguments import probability
from pymackay.errors import ArgumentError
from pymackay.plots.canvas import BLUE, GREY, VERMILION, axes_for, figure_for
from pymackay.plots.names import distinct
from pymackay.plots.profiles.contours import Trace, contour, value_of
from pymackay.plots.profiles.zeta import check_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pymackay.infer.intervals.profile import Profile

_PANEL = 1.7  # inches
_LABEL = 40  # characters, in two lines
_STYLES = ("-", "--", ":", "-.")


def profile_pairs(profile: Profile, *, levels: Sequence[float] = (0.5, 0.8, 0.95)) -> Figure:
    """Draw joint confidence regions of all pairs of parameters, as R's ``splom(profile)``.

    Panels below the diagonal show the parameters, those above it their zetas, where the regions of
    a normal likelihood are ellipses. The two thin lines are the profile traces: the best value of
    one parameter while the other is held. A region is open where a profile ends at a bound.

    Parameters
    ----------
    profile : Profile
        From `pymackay.profile`, of two parameters or more.
    levels : sequence of float
        Levels of the regions, which hold both parameters together.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        If `profile` is something else, or has one parameter only.
    PymackayError
        If matplotlib is missing.

    References
    ----------
    Bates, D. M., Watts, D. G. (1988). Nonlinear regression analysis and its applications,
    section 6.1.2.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"), reml=False)
    >>> len(pm.plots.profile_pairs(pm.profile(fit)).axes)
    9
    """
    names = check_profile(profile)
    radii = [float(np.sqrt(stats.chi2.ppf(probability("levels", p, 0.95), 2))) for p in levels]
    if len(names) < 2:
        raise ArgumentError(
            f"profile: pairs need the profiles of two parameters or more, but this one has "
            f"{names[0]} only; use pymackay.profile(fit) without parm."
        )
    labels = distinct([profile.labels[name] for name in names], _LABEL)
    size = max(_PANEL * len(names), 5.0)
    figure = figure_for(size, size, profile.fit)
    grid = figure.add_gridspec(len(names), len(names), wspace=0.0, hspace=0.0)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            ax = axes_for(figure.add_subplot(grid[i, j]), _PANEL)
            ax.tick_params(labelsize="small")
            if i == j:
                ax.axis("off")
                ax.text(0.5, 0.5, labels[i].replace("|", "\n| "), ha="center", va="center",
                        fontsize="small", transform=ax.transAxes)  # fmt: skip
                continue
            _draw_pair(ax, profile, column, row, radii, in_zeta=i < j)
            _keep_outer_ticks(ax, i, j, len(names))
    figure.supxlabel(_legend(levels), fontsize="small")
    return figure


def _draw_pair(
    ax: Axes, profile: Profile, x: str, y: str, radii: list[float], *, in_zeta: bool
) -> None:
    """Draw regions of two parameters and both traces, in zetas or in the parameters' units."""
    by_x, by_y = Trace.of(profile, x, y), Trace.of(profile, y, x)

    def shown(zetas: np.ndarray) -> np.ndarray:
        if in_zeta:
            return zetas
        pair = zip((x, y), zetas.T, strict=True)
        return np.column_stack([value_of(profile, name, zeta) for name, zeta in pair])

    for radius, style in zip(radii, _STYLES * len(radii), strict=False):
        ax.plot(*shown(contour(by_x, by_y, radius)).T, color=BLUE, linewidth=1.3, linestyle=style)
    ax.plot(*shown(np.column_stack([by_x.held, by_x.other])).T, color=VERMILION, linewidth=0.8)
    ax.plot(*shown(np.column_stack([by_y.other, by_y.held])).T, color=GREY, linewidth=0.8)
    ax.plot(*shown(np.zeros((1, 2))).T, "o", color=BLUE, markersize=3)


def _keep_outer_ticks(ax: Axes, row: int, column: int, size: int) -> None:
    """Keep labels at the left and the bottom below the diagonal, at the right and top above it."""
    from matplotlib.ticker import MaxNLocator

    ax.spines[["top", "right"]].set_visible(True)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.yaxis.set_major_locator(MaxNLocator(3))
    below = row > column
    ax.tick_params(
        left=below, right=not below, bottom=below, top=not below,
        labelleft=below and column == 0, labelbottom=below and row == size - 1,
        labelright=not below and column == size - 1, labeltop=not below and row == 0,
    )  # fmt: skip


def _legend(levels: Sequence[float]) -> str:
    shown = ", ".join(f"{100.0 * level:g} %" for level in levels)
    return f"joint regions of {shown}; lower left: parameters, upper right: ζ"
