"""`profiles`: the profiles of all parameters, a panel for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pymackay.arguments import probability
from pymackay.plots.canvas import axes_for, figure_for
from pymackay.plots.profiles.zeta import check_profile, draw_zeta

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pymackay.infer.intervals.profile import Profile

_PANEL = (3.0, 2.3)  # inches
_COLUMNS = 3


def profiles(profile: Profile, *, level: float = 0.95) -> Figure:
    """Draw the profile zeta of each parameter in a panel of its own, as R's ``xyplot(profile)``.

    A straight line means that the likelihood is normal in this parameter; see
    `pymackay.plots.zeta`. The red bar is the interval.

    Parameters
    ----------
    profile : Profile
        From `pymackay.profile`.
    level : float
        Level of the intervals that are marked.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        If `profile` is something else.
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"), reml=False)
    >>> [ax.get_xlabel() for ax in pm.plots.profiles(pm.profile(fit)).axes]
    ['sd_(Intercept)|Batch', 'sigma', '(Intercept)']
    """
    names = check_profile(profile)
    probability("level", level, 0.95)
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = figure_for(max(_PANEL[0] * columns, 6.5), _PANEL[1] * rows + 0.3, profile.fit)
    for k, name in enumerate(names):
        ax = axes_for(figure.add_subplot(rows, columns, k + 1), _PANEL[1])
        draw_zeta(ax, profile, name, level)
        if k % columns:
            ax.set_ylabel("")
    return figure
