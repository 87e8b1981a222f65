"""The growth plot of `benchmarks.crossed`: time and memory against rows, and against levels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.crossed_worker import PROBLEMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["crossing", "draw_growth"]

_SERIES = {  # run: label, colour, marker, line (Okabe & Ito 2008, Color universal design)
    "exact/frame": ("pymackay, exact", "#0072B2", "o", "-"),
    "iterative/frame": ("pymackay, iterative", "#D55E00", "s", "-"),
    "iterative/parquet": ("pymackay, iterative, from Parquet", "#D55E00", "D", ":"),
    "gpboost/frame": ("GPBoost, iterative (ML)", "#009E73", "^", "--"),
    "lme4/frame": ("lme4", "#8a8f98", "v", "--"),
}
_PUBLISHED = {"25M": (9_294.0, 28.4), "32M": (48_128.0, 29.5)}  # MixedModels.jl: seconds, GiB
_QUANTITIES = {"seconds": "seconds", "peak": "peak memory, GiB"}
_TICKS = {
    "rows": [1e3, 1e4, 1e5, 1e6, 1e7],
    "levels of both factors": [1e2, 1e3, 1e4, 1e5],
    "seconds": [0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0],
    "peak": [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
}
_SIZES: dict[str, Callable[[dict[str, float]], float]] = {
    "rows": lambda sizes: sizes["n"],
    "levels of both factors": lambda sizes: sizes["users"] + sizes["items"],
}


def draw_growth(results: dict[str, Any], path: Path) -> None:
    """Draw every engine's seconds and peak memory over the size of the problem.

    Parameters
    ----------
    results : dict
        What `benchmarks.crossed` keeps.
    path : pathlib.Path
        Of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 6.6), layout="constrained")
    panels = figure.subplots(2, 2)
    for row, measure in zip(panels, _SIZES, strict=True):
        for axes, quantity in zip(row, _QUANTITIES, strict=True):
            _draw(axes, results, measure, quantity)
    equal = crossing(results)
    if np.isfinite(equal):
        panels[0, 0].axvline(equal, color="0.6", linestyle=":", zorder=0)
        panels[0, 0].annotate(
            f"equal at {_short(equal)} rows",
            (equal, 0.96),
            xycoords=("data", "axes fraction"),
            xytext=(5, 0),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color="0.35",
        )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path)


def crossing(results: dict[str, Any]) -> float:
    """Return the rows at which both solvers take the same time, by log-linear interpolation."""
    points = []
    for name, sizes in PROBLEMS.items():
        pair = [results.get(f"{name}/{engine}/frame") for engine in ("exact", "iterative")]
        if all(pair):
            ratio = np.log(pair[0]["seconds"] / pair[1]["seconds"])
            points.append((np.log(sizes["n"]), ratio))
    for (x0, r0), (x1, r1) in pairwise(points):
        if r0 < 0.0 <= r1:
            return float(np.exp(x0 - r0 * (x1 - x0) / (r1 - r0)))
    return float("nan")


def _draw(axes: Axes, results: dict[str, Any], measure: str, quantity: str) -> None:
    size = _SIZES[measure]
    for run, (label, colour, marker, line) in _SERIES.items():
        points = [
            (size(sizes), results[f"{name}/{run}"][quantity])
            for name, sizes in PROBLEMS.items()
            if f"{name}/{run}" in results
        ]
        hollow = {"markerfacecolor": "white"} if run.endswith("parquet") else {}
        axes.plot(
            *zip(*points, strict=True), line, color=colour, marker=marker, label=label, **hollow
        )
    place = list(_QUANTITIES).index(quantity)
    published = [(size(PROBLEMS[name]), numbers[place]) for name, numbers in _PUBLISHED.items()]
    label = "MixedModels.jl, 32 threads (published)"
    axes.plot(*zip(*published, strict=True), "*", color="0.2", markersize=10, label=label)
    axes.set(xscale="log", yscale="log", xlabel=measure, ylabel=_QUANTITIES[quantity])
    for axis, ticks in ((axes.xaxis, _TICKS[measure]), (axes.yaxis, _TICKS[quantity])):
        low, high = axis.get_view_interval()
        kept = [tick for tick in ticks if low <= tick <= high]
        axis.set_ticks(kept, [_short(tick) for tick in kept])
        axis.set_ticks([], minor=True)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _short(value: float) -> str:
    """Write a number as 30k or 5M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:g}" if value < 1.0 else f"{value:.3g}"
