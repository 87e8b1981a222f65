"""`residuals` and `qq`: plots of residuals against fitted values and normal quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from pymackay.errors import PymackayError
from pymackay.infer.kinds import by_kind
from pymackay.plots.bands import order_band
from pymackay.plots.canvas import BLUE, GREY, VERMILION, axes_for, key_above, picture
from pymackay.results import Fit, check_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 2000  # with more rows, points would overlap
_BINS = 20
_FEWEST = 8  # rows in a bin, at least


@by_kind(
    cure="Draw fit.residuals, which are deviance residuals, over fit.general.linear_predictor."
)
@picture
def residuals(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Draw the scaled residuals against the fitted values.

    A line connects the means of bins with equal numbers of rows: if the model's mean is right, it
    is close to zero. With more than 2,000 rows, hexagons show the numbers of rows, with a colour
    bar.

    Parameters
    ----------
    fit : Fit
        A fit by any engine that offers `fitted` and `residuals`. Residuals are scaled as in R,
        ``√weight · residual / sigma``.

    Raises
    ------
    PymackayError
        If matplotlib is missing, or the fit does not offer its residuals.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> pm.plots.residuals(fit).get_xlabel()
    'fitted value'
    """
    scaled = scaled_residuals(fit)
    fitted = fit.fitted.to_numpy(dtype=np.float64)
    ax = axes_for(ax, 4.0, fit)
    if len(scaled) > _MANY:
        hexagons(ax, fitted, scaled)
    else:
        ax.plot(fitted, scaled, "o", color=BLUE, markersize=4, alpha=0.6, markeredgewidth=0)
    ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    where, mean = _binned(fitted, scaled)
    if len(where) > 2:
        ax.plot(where, mean, color=VERMILION, linewidth=1.8, label="mean of a bin of rows")
    key_above(ax)
    ax.set_xlabel(
        f"fitted value of {len(scaled):,} rows" if len(scaled) > _MANY else "fitted value"
    )
    ax.set_ylabel("residual / σ")
    return ax


@by_kind(cure="The residuals of a generalised model are not normal.")
@picture
def qq(fit: Fit, *, ax: Axes | None = None) -> Axes:
    """Draw the quantiles of the scaled residuals against those of the normal distribution.

    The line goes through the quartiles, as R's ``qqline``. The band holds 95 % of each quantile of
    independent normal residuals with the line's mean and standard deviation.

    Parameters
    ----------
    fit : Fit
        As in `residuals`. With more than 2,000 rows, the 100 most extreme at either end are drawn,
        and between them a part with even spacing.

    Raises
    ------
    PymackayError
        If matplotlib is missing, or the fit does not offer its residuals.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> len(pm.plots.qq(fit).lines[0].get_xdata())
    30
    """
    scaled = np.sort(scaled_residuals(fit))
    n = len(scaled)
    offset = 3.0 / 8.0 if n <= 10 else 0.5  # R's ppoints
    normal = stats.norm.ppf((np.arange(n) + 1.0 - offset) / (n + 1.0 - 2.0 * offset))
    shown = _spread(n)
    ax = axes_for(ax, 4.0, fit)
    ax.plot(normal[shown], scaled[shown], "o", color=BLUE, markersize=4, alpha=0.7,
            markeredgewidth=0)  # fmt: skip
    low, high = np.quantile(scaled, [0.25, 0.75])
    slope = (high - low) / (2.0 * stats.norm.ppf(0.75))
    centre = 0.5 * (low + high)
    bottom, top = (centre + slope * stats.norm.ppf(p) for p in order_band(shown, n))
    ax.fill_between(normal[shown], bottom, top, color=GREY, alpha=0.3, linewidth=0,
                    label="95 % band")  # fmt: skip
    ax.axline((0.0, centre), slope=slope, color=VERMILION, linewidth=1.4,
              label="through the quartiles")  # fmt: skip
    key_above(ax)
    ax.set_xlabel("normal quantile")
    ax.set_ylabel("residual / σ")
    return ax


def scaled_residuals(fit: Fit) -> np.ndarray:
    """Return √weight · residual / sigma, shape (n,)."""
    check_fit(fit, "a plot of residuals")
    scaled = fit.residuals.to_numpy(dtype=np.float64) / fit.sigma
    if not np.isfinite(scaled).all():
        reason = fit.not_offered.get("residuals", "or sigma is zero")
        raise PymackayError(
            f"residuals are not offered by this fit, which was made by {fit.engine} ({reason}). "
            f"Fit the model with pymackay.lmer to draw them."
        )
    weights = fit.model.weights
    return scaled if weights is None else scaled * np.sqrt(weights)


def hexagons(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the numbers of rows in hexagons of the plane of x and y, (n,), with a colour bar."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("blue", ["#9ccbe8", BLUE, "#00344f"])
    drawn = ax.hexbin(x, y, gridsize=(40, 24), mincnt=1, bins="log", cmap=shades, linewidths=0)
    figure: Any = ax.get_figure()
    bar = figure.colorbar(drawn, ax=ax, pad=0.02, aspect=30)
    bar.set_label("rows in a hexagon")
    bar.outline.set_visible(False)


def _binned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of x and y, shape (n,), in bins with equal numbers of rows."""
    bins = min(_BINS, len(x) // _FEWEST)
    parts = np.array_split(np.argsort(x, kind="stable"), max(bins, 1))
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _spread(n: int) -> np.ndarray:
    """Return the positions, among n sorted rows, of the rows that are drawn."""
    if n <= _MANY:
        return np.arange(n)
    between = np.linspace(100, n - 101, _MANY - 200).round().astype(int)
    return np.unique(np.concatenate([np.arange(100), between, np.arange(n - 100, n)]))
