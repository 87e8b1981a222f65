"""Shared parts of all plots: Axes, colours, checks of arguments, labels and legends."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

from pymackay.errors import ArgumentError, PymackayError
from pymackay.plots.names import LONGEST, distinct, shorten
from pymackay.results import Fit

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

# Okabe, M., Ito, K. (2008). Color universal design.
BLUE, SKY, GREEN, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#D55E00"
GREY = "#8a8f98"  # visible on white and on black
COLOURS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")

WIDTH = 6.5  # inches: width of the text on a page
_TALLEST = 9.0
_SMALLEST = 5.5  # points: the smallest readable text
_LETTER = 0.56  # average width of a letter, relative to the text size
_HANDLE = 3.2  # width of a legend's mark and the space beside it, relative to the text size
_LINE = 0.6  # height of a text line, relative to a row; the rest is spacing and the legend
_LABELS = 0.34  # largest width of row labels, relative to the width of the plot
_MARGIN = 0.06  # inches around a plot
_TITLE = 90  # characters of a title
_SMALL = 0.8  # smallest size of a legend's text, relative to that of labels


_SHARED = """
ax : matplotlib.axes.Axes, optional
    Axes to draw on; by default those of a new figure.

Returns
-------
matplotlib.axes.Axes
"""


def picture(draw: Callable[P, Axes]) -> Callable[P, Axes]:
    """Insert the argument `ax` and the section Returns, before Raises, in a plot's docstring."""
    before, raises, after = inspect.cleandoc(draw.__doc__ or "").partition("\nRaises\n")
    draw.__doc__ = before.rstrip() + _SHARED + raises + after
    return draw


def axes_for(ax: Axes | None, height: float, about: Fit | None = None) -> Axes:
    """Return `ax`, or the Axes of a new figure with this height in inches.

    The title of a new figure is the formula of the fit `about`.
    """
    figure = figure_for(WIDTH, min(height, _TALLEST), about) if ax is None else None
    ax = figure.add_subplot() if figure is not None else _checked(ax)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def figure_for(width: float, height: float, about: Fit | None = None) -> Figure:
    """Return an empty figure of this size in inches, with the formula of a fit as its title."""
    _need_matplotlib()
    import matplotlib.pyplot as plt

    figure: Figure = plt.figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=_MARGIN, h_pad=_MARGIN)
    if about is not None:
        longest = round(_TITLE * width / WIDTH)
        figure.suptitle(shorten(about.formula, longest), x=0.01, ha="left", fontsize="medium")
    return figure


def _checked(ax: object) -> Axes:
    _need_matplotlib()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise ArgumentError(f"ax: expected a matplotlib Axes, got {type(ax).__name__}.")
    return ax


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401 - whether it is installed
    except ModuleNotFoundError as error:
        raise PymackayError(
            "pymackay.plots needs matplotlib, which is not installed. Run: pip install matplotlib"
        ) from error


def choose_group(fit: Fit, group: str | None) -> str:
    """Return the name of a grouping factor, by default of the first."""
    known = list(fit.ranef)
    if group is None:
        return known[0]
    if group not in known:
        raise ArgumentError(f"group: the fit has {', '.join(known)}, not {group!r}.")
    return group


def choose_effect(fit: Fit, group: str, effect: str | int | None) -> int:
    """Return the position of an effect among those of a grouping factor, by default 0.

    A number is taken as the position, because two terms of a group may have effects with one name.
    """
    known = list(fit.ranef[group].columns)
    if effect is None:
        return 0
    if effect in range(len(known)):
        return int(effect)
    if effect not in known:
        raise ArgumentError(f"effect: {group} has {', '.join(known)}, not {effect!r}.")
    return known.index(effect)


def label_rows(ax: Axes, names: Sequence[str], kind: str) -> None:
    """Label the rows 0, 1, ... of a plot with their names, or, if these are too small, as a whole.

    Parameters
    ----------
    names : sequence of str
        From bottom to top.
    kind : str
        Name of the grouping factor.
    """
    rows = len(names)
    ax.set_ylim(-0.7, rows - 0.3)
    ax.tick_params(axis="y", length=0)
    size = min(_text_size(ax), 0.85 * _row_room(ax, rows + 1))
    if size < _SMALLEST:
        ax.set_yticks([])
        ax.set_ylabel(f"{rows:,} levels of {shorten(kind)}, sorted")
        return
    longest = _label_room(ax, size)
    ax.set_yticks(range(rows), distinct(list(map(str, names)), longest), fontsize=size)
    ax.set_ylabel(shorten(kind))


def label_bars(ax: Axes, places: np.ndarray, names: Sequence[str]) -> None:
    """Label a few rows; long names are broken into lines, or shortened if space is lacking."""
    longest = _label_room(ax, _text_size(ax))
    room = _LINE * _row_room(ax, len(names))
    folded = [fold(name, longest) for name in names]
    size = min(_text_size(ax), room / max(1 + text.count("\n") for text in folded))
    if size < _SMALLEST:
        folded = distinct([name.replace("\n", " ") for name in names], longest)
        size = min(_text_size(ax), room)
    ax.set_yticks(places, folded, fontsize=max(size, _SMALLEST))
    ax.tick_params(axis="y", length=0)


def fold(text: str, longest: int) -> str:
    """Break a text into lines; a word that is longer than a line is shortened."""
    lines = []
    for part in text.split("\n"):
        words = " ".join(shorten(word, longest) for word in part.split())
        lines += textwrap.wrap(words, longest, break_on_hyphens=False)
    return "\n".join(lines)


def _width(ax: Axes) -> float:
    """Return the width of the plot including its labels, in points."""
    figure: Any = ax.get_figure(root=True)
    place = ax.get_subplotspec()
    width = ax.bbox.width if place is None else figure.bbox.width / place.get_gridspec().ncols
    return float(width) * 72.0 / float(figure.dpi)


def _row_room(ax: Axes, rows: int) -> float:
    """Return the height of a row, in points."""
    figure: Any = ax.get_figure(root=True)
    return float(ax.bbox.height) * 72.0 / float(figure.dpi) / rows


def _label_room(ax: Axes, size: float) -> int:
    """Return the largest number of characters of this size in the label of a row."""
    return max(8, min(LONGEST, int(_LABELS * _width(ax) / (_LETTER * size))))


def _text_size(ax: Axes) -> float:
    return float(ax.xaxis.label.get_fontsize())


def coefficient_label(effect: str, group: str) -> str:
    """Return the axis label for an effect of a group."""
    return f"{shorten(effect)} by {shorten(group)}"


def key_above(ax: Axes) -> None:
    """Put the legend above the plot: in one line if there is space, or else in several columns."""
    labels = ax.get_legend_handles_labels()[1]
    if not labels:
        return
    room, size = 0.96 * _width(ax), _text_size(ax)
    line = _LETTER * sum(map(len, labels)) + _HANDLE * len(labels)  # relative to the text size
    columns = len(labels)
    if line * _SMALL * size > room:
        columns = max(1, int(room / ((_LETTER * max(map(len, labels)) + _HANDLE) * size)))
    else:
        size = min(size, room / line)
    ax.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=min(columns, len(labels)),
        frameon=False, fontsize=size, borderaxespad=0.2, handletextpad=0.4, columnspacing=1.0,
        handlelength=1.4,
    )  # fmt: skip


def plain(value: float) -> str:
    """Return a number with three digits, without an exponent if that is short."""
    return f"{value:.3g}" if abs(value) < 1e5 else f"{value:.2e}"
