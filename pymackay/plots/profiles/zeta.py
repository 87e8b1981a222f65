"""`zeta`: plot of the profile of one parameter, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from scipy.interpolate import PchipInterpolator

from pymackay.arguments import probability
from pymackay.errors import ArgumentError
from pymackay.plots.canvas import (
    BLUE,
    GREY,
    VERMILION,
    axes_for,
    key_above,
    picture,
    plain,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pymackay.infer.intervals.profile import Profile


@picture
def zeta(
    profile: Profile, parm: str | None = None, *, level: float = 0.95, ax: Axes | None = None
) -> Axes:
    """Draw the profile of one parameter: zeta, the signed root of the rise of −2 log likelihood.

    The line is straight for a parameter whose likelihood is normal. If it is curved, intervals
    from the standard error are misleading.

    Parameters
    ----------
    profile : Profile
        From `pymackay.profile`.
    parm : str, optional
        One of its parameters, by either name (``".sig01"``, ``"sd_(Intercept)|Subject"``); the
        first by default.
    level : float
        Level of the interval that is marked.

    Raises
    ------
    ArgumentError
        If the profile does not have this parameter.
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"), reml=False)
    >>> ax = pm.plots.zeta(pm.profile(fit, ".sigma"))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('sigma', 'ζ')
    """
    name = _parameter(profile, parm)
    probability("level", level, 0.95)
    ax = axes_for(ax, 4.0, profile.fit)
    ends = draw_zeta(ax, profile, name, level)
    interval = f"{100.0 * level:g} % interval: {plain(ends[0])} to {plain(ends[1])}"
    ax.collections[-1].set_label(interval)
    key_above(ax)
    return ax


def draw_zeta(ax: Axes, profile: Profile, name: str, level: float) -> tuple[float, float]:
    """Draw the profile of a parameter and its interval; return the ends of the interval."""
    points = profile.frame[profile.frame["parameter"] == name]
    value, height = (points[column].to_numpy(dtype=np.float64) for column in ("value", "zeta"))
    ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    fine = np.linspace(value[0], value[-1], 200)
    ax.plot(fine, PchipInterpolator(value, height)(fine), color=BLUE, linewidth=1.8)
    ax.plot(value, height, "o", color=BLUE, markersize=4)
    ax.set_xlabel(shorten(profile.labels[name], 40))
    ax.set_ylabel("ζ")
    return _mark_interval(ax, value, height, float(stats.norm.ppf(0.5 + 0.5 * level)))


def check_profile(profile: object) -> list[str]:
    """Return the names of the parameters that were profiled.

    Raises
    ------
    ArgumentError
        If `profile` is no profile.
    """
    frame = getattr(profile, "frame", None)
    if frame is None or not hasattr(profile, "labels"):
        raise ArgumentError(
            f"profile: expected what pymackay.profile(fit) returns, got {type(profile).__name__}."
        )
    return list(dict.fromkeys(frame["parameter"]))


def _parameter(profile: Profile, parm: str | None) -> str:
    known = check_profile(profile)
    matching = [name for name in known if parm in (None, name, profile.labels[name])]
    if not matching:
        raise ArgumentError(f"parm: the profile has {', '.join(known)}, not {parm!r}.")
    return str(matching[0])


def _mark_interval(
    ax: Axes, value: np.ndarray, height: np.ndarray, quantile: float
) -> tuple[float, float]:
    """Mark the interval: where the profile crosses ± the normal quantile, or its ends.

    `value` and `height`, shape (points,), are the parameter and zeta.
    """
    inverse = PchipInterpolator(height, value)
    ends = []
    for edge, target in ((height[0], -quantile), (height[-1], quantile)):
        inside = min(abs(target), abs(edge)) * np.sign(target)
        at = float(inverse(inside))
        ends.append(at)
        ax.vlines(at, 0.0, inside, color=VERMILION, linewidth=1.4, linestyle="--")
    ax.hlines(0.0, ends[0], ends[1], color=VERMILION, linewidth=2.4)
    return ends[0], ends[1]
