"""`check`: the panel of `pymackay.check`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pymackay.infer.checks.check import Check
from pymackay.infer.checks.smooth import Smooth
from pymackay.plots.bands import order_band
from pymackay.plots.canvas import BLUE, COLOURS, GREY, MARKERS, VERMILION, figure_for, shorten
from pymackay.plots.diagnostics import hexagons
from pymackay.plots.names import distinct

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY = 3000  # points that are drawn; of more, hexagons
_BARS = 12  # levels of the influence picture


def check(check: Check) -> Figure:
    """Draw the panel: residuals, their quantiles and sizes, random effects, influence.

    Parameters
    ----------
    check : Check
        Of `pymackay.check`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    PymackayError
        If matplotlib is missing.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> len(pm.check(fit).plot().axes)
    6
    """
    figure = figure_for(8.5, 8.5)
    axes = figure.subplots(3, 2).ravel()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    _draw_cloud(axes[0], check.fitted, check.residuals, check.mean_curve, check.label)
    axes[0].axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    _draw_cloud(axes[1], check.fitted, np.sqrt(np.abs(check.residuals)), check.variance_curve,
                f"√|{check.label}|")  # fmt: skip
    spread = check.residuals.std() or 1.0
    quantiles = {"residuals": (check.residuals - check.residuals.mean()) / spread}
    _draw_quantiles(axes[2], quantiles, "standardised residual")
    _draw_quantiles(axes[3], check.effects, "standardised effect")
    _draw_influence(axes[4], check)
    _write(axes[5], check)
    for ax, name in zip(axes, (*check.sentences, ""), strict=False):
        ax.set_title(_TITLES.get(name, ""), loc="left", fontsize="medium")
    axes[1].set_title(_TITLES["variance"], loc="left", fontsize="medium")
    return figure


_TITLES = {
    "mean": "Mean: residuals over fitted values",
    "variance": "Variance: sizes of residuals",
    "normal residuals": "Quantiles of residuals",
    "normal effects": "Quantiles of random effects",
    "influence": "Influence of groups",
}


def _draw_cloud(ax: Axes, x: np.ndarray, y: np.ndarray, curve: Smooth | None, label: str) -> None:
    if len(x) > _MANY:
        hexagons(ax, x, y)
    else:
        ax.plot(x, y, "o", color=BLUE, markersize=3.5, alpha=0.55, markeredgewidth=0)
    if curve is not None:
        low, high = curve.mean - curve.half, curve.mean + curve.half
        ax.fill_between(curve.x, low, high, color=VERMILION, alpha=0.25, linewidth=0)
        ax.plot(curve.x, curve.mean, color=VERMILION, linewidth=1.6)
    ax.set_xlabel("fitted value")
    ax.set_ylabel(label)


def _draw_quantiles(ax: Axes, named: Mapping[str, np.ndarray], label: str) -> None:
    """Draw normal quantiles of samples, with the band of the largest."""
    if not named:
        _leave_empty(ax, "no random effect varies")
        return
    n = max(map(len, named.values()))
    rows = np.unique(np.linspace(0, n - 1, min(n, 400)).round().astype(int))
    low, high = order_band(rows, n)
    normal = stats.norm.ppf((rows + 0.5) / n)
    ax.fill_between(normal, stats.norm.ppf(low), stats.norm.ppf(high), color=GREY, alpha=0.3,
                    linewidth=0)  # fmt: skip
    ax.axline((0.0, 0.0), slope=1.0, color=GREY, linewidth=0.8)
    for k, (name, values) in enumerate(named.items()):
        m = len(values)
        shown = np.unique(np.linspace(0, m - 1, min(m, 1000)).round().astype(int))
        ax.plot(stats.norm.ppf((shown + 0.5) / m), np.sort(values)[shown],
                MARKERS[k % len(MARKERS)], color=COLOURS[k % len(COLOURS)], markersize=3.5,
                alpha=0.7, markeredgewidth=0, label=shorten(name))  # fmt: skip
    if "residuals" not in named:
        ax.legend(loc="upper left", frameon=False, fontsize="x-small")
    ax.set_xlabel("normal quantile")
    ax.set_ylabel(label)


def _draw_influence(ax: Axes, check: Check) -> None:
    names, values, colours = [], [], []
    share = max(3, _BARS // max(len(check.influence), 1))
    for k, (group, series) in enumerate(check.influence.items()):
        top = series.head(share)
        names += distinct([f"{group} {level}" for level in top.index], 22)
        values += top.tolist()
        colours += [COLOURS[k % len(COLOURS)]] * len(top)
    if not names:
        _leave_empty(ax, "no groups that could move fixed effects")
        return
    rows = np.arange(len(names))[::-1]
    ax.hlines(rows, 0.0, values, colors=colours, linewidth=1.4)
    ax.scatter(values, rows, color=colours, s=18, zorder=3)
    ax.set_yticks(rows, names, fontsize="x-small")
    ax.set_xlim(left=0.0)
    ax.set_xlabel("approximate Cook's distance")


def _leave_empty(ax: Axes, reason: str) -> None:
    """Say why there is no picture."""
    ax.axis("off")
    ax.text(0.5, 0.5, reason, ha="center", transform=ax.transAxes)


def _write(ax: Axes, check: Check) -> None:
    """Write the sentences."""
    ax.axis("off")
    text = "\n".join(
        textwrap.fill(f"{name}: {_unbroken(sentence)}", 52, subsequent_indent="   ")
        for name, sentence in check.sentences.items()
    )
    ax.text(0.0, 1.0, text, va="top", ha="left", fontsize="small", transform=ax.transAxes)


def _unbroken(sentence: str) -> str:
    """Keep ``p = 0.1`` on one line."""
    return sentence.replace(" = ", "\u00a0=\u00a0").replace(" < ", "\u00a0<\u00a0")
