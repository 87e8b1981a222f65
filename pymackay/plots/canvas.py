"""What all pictures share: the Axes to draw on, the colours, labels that can be read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pymackay.errors import ArgumentError, PymackayError
from pymackay.results import Fit

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

# Okabe, M., Ito, K. (2008). Color universal design.
BLUE, SKY, GREEN, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#D55E00"
GREY = "#8a8f98"  # seen on white and on black
COLOURS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")

WIDTH = 6.5  # inches: the text of a page
_TALLEST = 9.0
_SMALLEST = 5.5  # points: text that can still be read
_LONGEST = 28  # characters of a label
_LETTER = 0.56  # width of a letter, of its size, on average
_HANDLE = 3.2  # width of a mark in a key and the space beside it, in letter sizes
_LINE = 0.6  # of a row's height: a line of its label, beside the lines' distance and the key's room
_LABELS = 0.34  # of the picture's width: the most that row labels may take


def axes_for(ax: Axes | None, height: float) -> Axes:
    """Return the Axes to draw on: the given ones, or those of a new figure of this height."""
    try:
        from matplotlib.axes import Axes
    except ModuleNotFoundError as error:
        raise PymackayError(
            "pymackay.plots needs matplotlib, which is not installed: "
            "pip install 'pymackay[plots]'."
        ) from error
    if ax is None:
        import matplotlib.pyplot as plt

        size = (WIDTH, min(height, _TALLEST))
        ax = plt.figure(figsize=size, layout="constrained").add_subplot()
    elif not isinstance(ax, Axes):
        raise ArgumentError(f"ax: expected a matplotlib Axes, got {type(ax).__name__}.")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def check_fit(fit: object) -> Fit:
    """Return `fit`, or refuse what is no `Fit`."""
    if not isinstance(fit, Fit):
        raise ArgumentError(
            f"fit: expected a Fit (from pymackay.lmer or pymackay.lme4.lmer), "
            f"got {type(fit).__name__}."
        )
    return fit


def check_level(level: float) -> None:
    """Refuse what is no level of an interval."""
    if not 0.0 < level < 1.0:
        raise ArgumentError(f"level: expected a number between 0 and 1, got {level!r}.")


def choose_group(fit: Fit, group: str | None) -> str:
    """Return the grouping factor, the first by default."""
    known = list(fit.ranef)
    if group is None:
        return known[0]
    if group not in known:
        raise ArgumentError(f"group: the fit has {', '.join(known)}, not {group!r}.")
    return group


def choose_effect(fit: Fit, group: str, effect: str | int | None) -> int:
    """Return the position of an effect among those of a grouping factor, the first by default.

    A number is a position already: two terms of a group may have effects of one name.
    """
    known = list(fit.ranef[group].columns)
    if effect is None:
        return 0
    if effect in range(len(known)):
        return int(effect)
    if effect not in known:
        raise ArgumentError(f"effect: {group} has {', '.join(known)}, not {effect!r}.")
    return known.index(effect)


def shorten(text: str, longest: int = _LONGEST) -> str:
    """Cut the middle out of a long name; names that belong together often differ at the end.

    A dollar sign, which would begin a formula, is marked as one.
    """
    if len(text) > longest:
        head = (longest - 1) // 2
        text = f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"
    return text.replace("$", r"\$")


def label_rows(ax: Axes, names: Sequence[str], kind: str) -> None:
    """Label the rows 0, 1, ... of a picture where their names can be read, else say what they are.

    Parameters
    ----------
    names : sequence of str
        From the bottom up.
    kind : str
        What the names are of: the grouping factor.
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
    ax.set_yticks(range(rows), [shorten(str(name), longest) for name in names], fontsize=size)
    ax.set_ylabel(shorten(kind))


def label_bars(ax: Axes, places: np.ndarray, names: Sequence[str]) -> None:
    """Label a few rows; a long name is broken into lines, or shortened where there is no room."""
    longest = _label_room(ax, _text_size(ax))
    room = _LINE * _row_room(ax, len(names))
    folded = [fold(name, longest) for name in names]
    size = min(_text_size(ax), room / max(1 + text.count("\n") for text in folded))
    if size < _SMALLEST:
        folded = [shorten(name.replace("\n", " "), longest) for name in names]
        size = min(_text_size(ax), room)
    ax.set_yticks(places, folded, fontsize=max(size, _SMALLEST))
    ax.tick_params(axis="y", length=0)


def fold(text: str, longest: int) -> str:
    """Break a text into lines; a word that is too long for one is shortened."""
    lines = []
    for part in text.split("\n"):
        words = " ".join(shorten(word, longest) for word in part.split())
        lines += textwrap.wrap(words, longest, break_on_hyphens=False)
    return "\n".join(lines)


def _width(ax: Axes) -> float:
    """Return the width of the place that a picture has for itself, in points."""
    figure: Any = ax.get_figure(root=True)
    place = ax.get_subplotspec()
    width = ax.bbox.width if place is None else figure.bbox.width / place.get_gridspec().ncols
    return float(width) * 72.0 / float(figure.dpi)


def _row_room(ax: Axes, rows: int) -> float:
    """Return the height of a row, in points."""
    figure: Any = ax.get_figure(root=True)
    return float(ax.bbox.height) * 72.0 / float(figure.dpi) / rows


def _label_room(ax: Axes, size: float) -> int:
    """Return how many characters of this size the label of a row may have."""
    return max(8, min(_LONGEST, int(_LABELS * _width(ax) / (_LETTER * size))))


def _text_size(ax: Axes) -> float:
    return float(ax.xaxis.label.get_fontsize())


def coefficient_label(effect: str, group: str) -> str:
    """Name an effect of a group, short enough for an axis."""
    return f"{shorten(effect)} by {shorten(group)}"


def key_above(ax: Axes) -> None:
    """Put the key above the picture, where it hides nothing, in as many columns as it has room."""
    labels = ax.get_legend_handles_labels()[1]
    if not labels:
        return
    size = _text_size(ax)
    widest = (_LETTER * max(map(len, labels)) + _HANDLE) * size
    columns = max(1, min(len(labels), int(0.96 * _width(ax) / widest)))
    ax.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, frameon=False, fontsize=size,
        borderaxespad=0.2, handletextpad=0.4, columnspacing=1.0, handlelength=1.4,
    )  # fmt: skip


def plain(value: float) -> str:
    """Write a number of three digits, without an exponent where that is short."""
    return f"{value:.3g}" if abs(value) < 1e5 else f"{value:.2e}"
