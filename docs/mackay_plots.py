"""The figures of the page on MacKay's loop.

``python docs/mackay_plots.py TABLE.csv FOLDER`` draws them from a table of
``python -m benchmarks.collapse_study``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout

from benchmarks.collapse_study import STUDIES, survival_chance
from pymackay.infer.gap.forecast import fixed_point

__all__ = ["draw_loop_map", "draw_path", "draw_phase", "draw_study"]

# distinguishable for colour-blind readers; shapes and dashes are distinguishable in print
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"

STYLE = {
    "figure.dpi": 110,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "pymackay",
}


def draw_loop_map(values: tuple[float, ...] = (2.697, 4.0, 7.0)) -> Figure:
    """Draw the literal loop's map of t for some s, with the paths that it takes."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(values), figsize=(11, 3.8), sharey=True)
        for axis, s in zip(axes, values, strict=True):
            _draw_map(axis, s)
        axes[0].set_ylabel("t after the round")
        figure.tight_layout()
    plt.close(figure)
    return figure


def draw_phase(directions: pd.DataFrame) -> Figure:
    """Draw where the loop goes from any t, and what it did to directions of data sets.

    Parameters
    ----------
    directions : pandas.DataFrame
        ``label``, ``s`` and ``kept``, the measured share of REML's t = s − 1.
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9.5, 5.2))
        _draw_phases(axis, largest=200.0)
        for row in directions.itertuples():
            _draw_fate(axis, row.label, row.s, row.kept)
        figure.tight_layout()
    plt.close(figure)
    return figure


_BOTTOM, _TOP = 0.03, 2000.0


def _draw_phases(axis: Axes, largest: float) -> None:
    s = np.geomspace(4.0, largest, 400)
    stable = fixed_point(s)
    grid = np.concatenate([[1.001, 4.0], s])
    border = np.concatenate([[_TOP, _TOP], 1.0 / stable])  # the product of the fixed points is 1
    axis.fill_between(grid, _BOTTOM, border, color=ORANGE, alpha=0.13, linewidth=0)
    axis.plot(s, stable, color=BLUE, linewidth=2.2, label="stable fixed point: t*")
    axis.plot(s, 1.0 / stable, "--", color=BLUE, linewidth=1.4, label="unstable fixed point: 1/t*")
    every = np.geomspace(1.03, largest, 400)
    axis.plot(every, every - 1.0, color=GREEN, linewidth=1.4, label="REML: s − 1")
    axis.text(1.12, 700.0, "collapses to zero", color=ORANGE, size=12)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(1.05, largest)
    axis.set_ylim(_BOTTOM, _TOP)
    _plain_ticks(axis, [2, 4, 8, 16, 32, 64, 128])
    axis.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axis.set_xlabel("s: sample variance of the direction over its sampling variance")
    axis.set_ylabel("t: the loop's variance over its sampling variance")
    axis.set_title("Fixed points of the literal loop for one direction")
    axis.legend(loc="lower right")


def _draw_fate(axis: Axes, label: str, s: float, kept: float) -> None:
    """Draw the way from the REML estimate to the loop's end."""
    begin, end = s - 1.0, kept * (s - 1.0)
    collapsed = end < _BOTTOM
    shown = 1.2 * _BOTTOM if collapsed else end
    axis.plot([s, s], [begin, shown], color="black", linewidth=1, zorder=3)
    axis.plot([s], [begin], "D", color=GREEN, markersize=6, zorder=4)
    axis.plot([s], [shown], "v" if collapsed else "o", color="black", markersize=6, zorder=4)
    axis.annotate(
        label, (s, begin), (0, 9), textcoords="offset points", rotation=90, ha="center", size=9
    )


def _draw_map(axis: Axes, s: float) -> None:
    t = np.linspace(0.0, 6.0, 400)
    axis.plot(t, t, color=GREY, linewidth=1)
    axis.plot(t, (t / (1.0 + t)) ** 2 * s, color=BLUE, linewidth=2)
    path, x = [], 5.5
    for _ in range(60):
        following = (x / (1.0 + x)) ** 2 * s
        path += [(x, x), (x, following)]
        x = following
    axis.plot(*np.array(path).T, color=ORANGE, linewidth=1.2)
    end = float(fixed_point(s))
    axis.plot([end], [end], "o", color=ORANGE, markersize=7, zorder=3)
    axis.plot([s - 1.0], [s - 1.0], "D", color=GREEN, markersize=6, zorder=3)
    axis.annotate(
        "REML", (s - 1.0, s - 1.0), (-8, 2), textcoords="offset points", color=GREEN, ha="right"
    )
    verdict = "collapses to 0" if end == 0.0 else f"converges to t* = {end:.2f}"
    axis.set_title(f"s = {s:g}: {verdict}")
    axis.set_xlabel("t before the round")
    axis.set_xlim(0.0, 6.3)
    axis.set_ylim(0.0, 6.3)


def draw_path(trace: pd.DataFrame, reml: float) -> Figure:
    """Draw the way of the raw loop into the collapse: how far the correlation is from 1."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6.5, 3.8))
        rounds = trace["iteration"]
        gap = np.maximum(1.0 - trace["Subject.(Intercept).Days.corr"], 1e-17)
        axis.semilogy(rounds, gap, "o-", color=ORANGE)
        for x, y in zip(rounds, gap, strict=True):
            decimals = int(np.clip(np.ceil(-np.log10(y)), 2, 9))
            label = f"{1.0 - y:.{decimals}f}" if y > 1e-15 else "1"
            axis.annotate(label, (x, y), (-5, -14), textcoords="offset points", size=9, ha="right")
        axis.axhline(1.0 - reml, color=GREEN, linewidth=1.2, linestyle="--")
        axis.annotate(
            f"REML: {reml:.3f}",
            (rounds.max() + 0.9, 1.0 - reml),
            (-2, 5),
            color=GREEN,
            textcoords="offset points",
            ha="right",
        )
        axis.set_xlabel("round")
        axis.set_ylabel("1 − correlation")
        axis.set_title("Literal loop on sleepstudy: the correlation goes to 1")
        axis.set_xlim(0.3, rounds.max() + 0.9)
        axis.set_ylim(1e-19, 1e2)
        figure.tight_layout()
    plt.close(figure)
    return figure


def draw_study(table: pd.DataFrame) -> Figure:
    """Draw the simulation study: how often a variance stays positive, and the share kept."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.6))
        _draw_survival(axes[0], table)
        _draw_kept(axes[1], table)
        figure.tight_layout()
    plt.close(figure)
    return figure


def _draw_survival(axis: Axes, table: pd.DataFrame) -> None:
    grid = np.geomspace(0.25, 20.0, 300)
    studies = [s for s in STUDIES if s.balanced and len(s.weights) == 1]
    looks = ((GREY, "^", ":"), (BLUE, "o", "-"), (ORANGE, "s", "--"))
    for study, (colour, marker, dashes) in zip(studies, looks, strict=True):
        axis.plot(grid, survival_chance(study, grid), dashes, color=colour, linewidth=2)
        own = table[table["study"] == study.name]
        measured = own.groupby("snr")["survives"].agg(["mean", "size"])
        error = np.sqrt(measured["mean"] * (1.0 - measured["mean"]) / measured["size"])
        axis.errorbar(
            measured.index,
            measured["mean"],
            error,
            fmt=marker,
            color=colour,
            markersize=5,
            label=f"{study.design.levels} levels",
        )
    axis.axvline(3.0, color=GREY, linewidth=0.8)
    axis.annotate("s = 4", (3.0, 0.0), (6, 3), textcoords="offset points", color=GREY)
    axis.set_xscale("log")
    _plain_ticks(axis, [0.25, 0.5, 1, 2, 3, 5, 10, 20])
    axis.set_xlabel("true signal-to-noise ratio of the effects")
    axis.set_ylabel("share of data sets with a positive variance")
    axis.set_title("How often the variance stays positive")
    axis.legend(loc="upper left", title="lines: theory\nmarks: measured", alignment="left")
    axis.set_ylim(-0.03, 1.08)


def _draw_kept(axis: Axes, table: pd.DataFrame) -> None:
    shown = table[(table["s"] > 1.02) & (table["s"] < 60.0)]
    at_loop = shown["s"] / shown["noise_ratio"]
    kept = shown["kept"] * (shown["s"] - 1.0) / shown["noise_ratio"] / (at_loop - 1.0)
    several = shown["study"].str.contains("slope")
    groups = [
        ("equal levels, one effect", shown["balanced"] & ~several, BLUE, "o"),
        ("equal levels, two effects", shown["balanced"] & several, GREEN, "s"),
        ("levels of unequal size", ~shown["balanced"], ORANGE, "x"),
    ]
    for label, chosen, colour, marker in reversed(groups):
        index = np.flatnonzero(chosen & (at_loop > 1.05))
        index = np.random.default_rng(0).permutation(index)[:500]
        axis.plot(
            at_loop.to_numpy()[index],
            kept.to_numpy()[index],
            marker,
            color=colour,
            markersize=4,
            alpha=0.5,
            linestyle="none",
            rasterized=True,
            label=label,
            markeredgewidth=0.8,
        )
    s = np.concatenate([np.linspace(1.05, 3.9999, 50), np.geomspace(4.0, 60.0, 400)])
    axis.plot(s, fixed_point(s) / (s - 1.0), color="black", linewidth=1.6, label="theory", zorder=4)
    axis.set_xscale("log")
    _plain_ticks(axis, [1, 2, 4, 8, 16, 32, 60])
    axis.set_xlim(1.0, 62.0)
    axis.set_ylim(-0.04, 1.2)
    axis.set_xlabel("s of the direction, at the loop's σ²")
    axis.set_ylabel("share kept, t / (s − 1), at the loop's σ²")
    axis.set_title("Share of the variance kept; theory: t*/(s − 1), 0 for s < 4")
    handles, labels = axis.get_legend_handles_labels()
    order = [labels.index(x) for x in ("theory", *(group[0] for group in groups))]
    axis.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower right",
        bbox_to_anchor=(1.0, 0.08),
    )


def _plain_ticks(axis: Axes, ticks: list[float]) -> None:
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def main() -> None:
    table, folder = pd.read_csv(sys.argv[1]), Path(sys.argv[2])
    for name, figure in {"loop_map": draw_loop_map(), "collapse_study": draw_study(table)}.items():
        for kind in ("png", "svg"):
            figure.savefig(folder / f"mackay_{name}.{kind}", dpi=160)


if __name__ == "__main__":
    main()
