"""The report's pictures, as inline SVG with the colours of the page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pymackay.compare.comparison import Comparison
from pymackay.compare.offered import offers
from pymackay.errors import PymackayError
from pymackay.results import Fit

_SIZE = (4.3, 3.2)  # inches: text of 9 points is readable on a phone and in two columns
_MOST_EFFECTS = 4  # effects that get a picture

# These colours are replaced by CSS variables of the page, which differ in dark mode.
_INK, _PAPER = "#101418", "#fdfdfe"
_VARIABLES = {
    _INK: "var(--ink)",
    "#000000": "var(--ink)",
    _PAPER: "var(--paper)",
    "#ffffff": "var(--paper)",
    "#0072b2": "var(--blue)",
}
_STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.facecolor": _PAPER,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.unicode_minus": True,
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "pymackay",
}


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    caption : str
        Description of the picture.
    spoken : str
        What the picture shows, for screen readers.
    svg : str
        An ``<svg>`` element.
    """

    caption: str
    spoken: str
    svg: str


@dataclass(frozen=True)
class Album:
    """The pictures of a report.

    Attributes
    ----------
    pictures : tuple of Picture
    left_out : tuple of str
        The pictures that could not be drawn, with the reason.
    """

    pictures: tuple[Picture, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """A picture to be drawn; `draw` takes the keyword ``ax``."""

    caption: str
    spoken: Callable[[], str]
    draw: Callable[..., object]


def draw_album(comparison: Comparison) -> Album:
    """Draw all pictures for which the fits offer the data; none without matplotlib."""
    try:
        import matplotlib  # noqa: F401 - whether it is installed
    except ModuleNotFoundError:
        reason = "matplotlib is not installed; run: pip install matplotlib"
        return Album((), (f"all: {reason}",))
    pictures: list[Picture] = []
    left_out: list[str] = []
    for plan in _plans(comparison):
        try:
            svg = _as_svg(plan.draw, f"p{len(pictures)}-")
            pictures.append(Picture(plan.caption, plan.spoken(), svg))
        except PymackayError as error:
            left_out.append(f"{plan.caption}: {error}")
    return Album(tuple(pictures), tuple(left_out))


def _plans(comparison: Comparison) -> Iterator[_Plan]:
    """Yield the pictures for which the fits offer the data."""
    from pymackay import plots

    fit, table = comparison.fit, comparison.table
    yield _Plan(
        "Largest distance of each quantity between the two fits, divided by its tolerance",
        lambda: _say_distances(comparison),
        partial(plots.distances, table),
    )
    gap = comparison.variance_gap[comparison.variance_gap["fit"] == "ours"]
    if len(gap):
        yield _Plan(
            "The variance gap: parts of each variance in the predictions and hidden by shrinkage",
            lambda: "; ".join(
                f"{e.term} {e.effect}: {100 * e.hidden_share:.0f} % hidden"
                for e in gap.itertuples()
            ),
            partial(plots.variance_gap, gap),
        )
    yield from _effect_plans(fit)
    if offers(fit, "fitted"):
        scaled = fit.residuals.to_numpy() / fit.sigma
        span = f"from {scaled.min():.1f} to {scaled.max():.1f}"
        spoken = f"{fit.n_obs} residuals, scaled by sigma, {span}"
        yield _Plan(
            "Residuals against fitted values", lambda: spoken, partial(plots.residuals, fit)
        )
        yield _Plan(
            "Quantiles of the residuals against normal ones", lambda: spoken, partial(plots.qq, fit)
        )
    if fit.trace is not None:
        trace = fit.trace
        yield _Plan(
            "The iterations of MacKay's loop",
            lambda: f"{len(trace)} rounds",
            partial(plots.trace, trace),
        )


def _effect_plans(fit: Fit) -> Iterator[_Plan]:
    """Yield the pictures of predicted effects, up to four, and of shrinkage, up to two."""
    from pymackay import plots

    effects = [(group, k) for group, table in fit.ranef.items() for k in range(table.shape[1])]
    for group, k in effects[:_MOST_EFFECTS] if offers(fit, "condvar") else ():
        yield _Plan(
            f"Predicted effects of {_effect_name(fit, group, k)}, with 95 % intervals given beta",
            partial(_say_effects, fit, group, k),
            partial(plots.caterpillar, fit, group, k),
        )
    for group in list(fit.ranef)[:2] if fit.problem is not None else ():
        yield _Plan(
            f"Shrinkage: from the least-squares estimates of each {group} to the predictions",
            partial(_say_shrinkage, fit, group),
            partial(plots.shrinkage, fit, group),
        )


def _effect_name(fit: Fit, group: str, k: int) -> str:
    """Return the name of column k of a group's effects, with the term if names repeat."""
    columns = fit.ranef[group].columns
    terms = [t.name for t in fit.model.terms if t.group == group for _ in t.effects]
    return f"{group if columns.is_unique else terms[k]}, {columns[k]}"


def _say_shrinkage(fit: Fit, group: str) -> str:
    return f"{len(fit.ranef[group])} levels of {group} are pulled towards the population"


def _say_distances(comparison: Comparison) -> str:
    judged = [row for row in comparison.rows if row.stage == "optimum" and row.ok is not None]
    bad = sum(row.ok is False for row in judged)
    return f"{len(judged)} numbers are judged, {bad} of them beyond their tolerances"


def _say_effects(fit: Fit, group: str, k: int) -> str:
    values = fit.ranef[group].iloc[:, k]
    low, high = values.idxmin(), values.idxmax()
    return (
        f"{len(values)} levels of {group}, from {values.min():.4g} ({low}) to {values.max():.4g} "
        f"({high})"
    )


def _as_svg(draw: Callable[..., object], prefix: str) -> str:
    """Draw on a new figure with default settings, and return it as an SVG element."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {**mpl.rcParamsDefault, "backend": mpl.rcParams["backend"], **_STYLE}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser uses other fonts
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        draw(ax=figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return _inline(out.getvalue(), prefix)


def _inline(document: str, prefix: str) -> str:
    """Turn an SVG file of matplotlib into an element with unique ids and the page's colours."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[^>]*>", lambda match: _fit_in(match[0], prefix), svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _fit_in(tag: str, prefix: str) -> str:
    """Change ids, fonts and colours in one tag; text between tags is not touched."""
    if tag.startswith("<svg"):
        box = re.search(r'viewBox="[^"]*"', tag)
        return f"<svg {box[0] if box else ''}>"
    tag = re.sub(r'\bid="', f'id="{prefix}', tag)
    tag = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", tag)
    tag = re.sub(r"font-family: [^;\"]*;?", "", tag)
    return re.sub(
        "|".join(_VARIABLES), lambda match: _VARIABLES[match[0].lower()], tag, flags=re.IGNORECASE
    )
