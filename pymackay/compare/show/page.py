"""Writes a comparison as a report: one HTML file with all pictures and styles inside."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from html import escape
from pathlib import Path

from pymackay._files import write_whole
from pymackay.compare.comparison import Comparison
from pymackay.compare.offered import offers
from pymackay.compare.show.html import as_body
from pymackay.compare.show.pictures import Album, draw_album
from pymackay.compare.show.style import STYLE
from pymackay.results import Fit

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>html{{background:#fff}}body{{margin:1.5rem auto;max-width:64rem;padding:0 1rem}}
@media screen and (prefers-color-scheme:dark){{html{{background:#14181f}}}}
@media print{{body{{margin:0;padding:0}}}}{style}</style>
</head><body>
<main class="pymackay">
{body}
</main>
</body></html>
"""


def as_page(comparison: Comparison) -> str:
    """Return the report as one HTML document without external files."""
    album = draw_album(comparison) if comparison.verdict != "different model" else None
    parts = [
        as_body(comparison, "h1"),
        _pictures(album) if album is not None else "",
        _versions(comparison),
        _again(comparison),
    ]
    return _PAGE.format(
        title=escape(f"{comparison.verdict}: {comparison.fit.formula}"),
        style=STYLE,
        body="\n".join(part for part in parts if part),
    )


def to_html(comparison: Comparison, path: str | Path) -> None:
    """Write the comparison as one HTML file that needs no network and no other files.

    It contains verdict, model, numbers, variance gap, pictures (with the extra ``plots``),
    versions, and code to repeat the comparison. Its layout suits screens, light or dark, phones
    and paper.

    Parameters
    ----------
    path : path-like
        An existing file is replaced.

    Raises
    ------
    ArgumentError
        If the file cannot be written.
    """
    write_whole(path, as_page(comparison))


def _pictures(album: Album) -> str:
    figures = "".join(
        f'<figure><div role="img" aria-label="{escape(f"{p.caption}. {p.spoken}.")}">{p.svg}</div>'
        f"<figcaption>{escape(p.caption)}</figcaption></figure>"
        for p in album.pictures
    )
    left_out = "".join(
        f'<p class="note">Left out, {escape(reason)}</p>' for reason in album.left_out
    )
    return f'<h2>Pictures</h2><div class="pictures">{figures}</div>{left_out}'


def _versions(comparison: Comparison) -> str:
    entries = "".join(
        f"<dt>{side}</dt><dd>{escape(str(fit.engine))}</dd>"
        for side, fit in (("ours", comparison.fit), ("theirs", comparison.reference))
    )
    here = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"<h2>Versions</h2><dl>{entries}<dt>report</dt><dd>{escape(here)}</dd></dl>"


def _again(comparison: Comparison) -> str:
    """Return code that makes the same comparison from the same data."""
    fit = comparison.fit
    python = "\n".join(_python_lines(fit, comparison.reference))
    blocks = [("In Python", python)]
    if fit.model.weights is None and fit.model.offset is None:
        command = f"pymackay compare DATA.csv {_quoted(fit.formula)}{'' if fit.reml else ' --ml'}"
        blocks.append(("On the command line", f"{command} --report report.html"))
    blocks.append(("In R", f"library(lme4)\n{_r_line(fit)}"))
    shown = "".join(f"<h3>{name}</h3><pre>{escape(code)}</pre>" for name, code in blocks)
    return f"<h2>How to reproduce</h2><p>{escape(_data_sentence(fit))}</p>{shown}"


def _data_sentence(fit: Fit) -> str:
    if not (offers(fit, "n_obs") and offers(fit, "fitted")):
        return "The data are yours; the fit does not say which rows it used."
    y = fit.fitted.to_numpy() + fit.residuals.to_numpy()
    return (
        f"The data are yours. They are the right ones if {fit.n_obs} rows are used and "
        f"{fit.model.response} has the mean {y.mean():.8g} and the standard deviation "
        f"{y.std(ddof=1):.8g}. Weights, offset, subset and contrasts are to be given as before."
    )


def _python_lines(fit: Fit, reference: Fit) -> Iterator[str]:
    extra = "".join(
        f', {name}="..."' for name in ("weights", "offset") if getattr(fit.model, name) is not None
    )
    arguments = f"formula, data{'' if fit.reml else ', reml=False'}{extra}"
    yield "import pymackay as pm"
    yield ""
    yield f"formula = {_quoted(fit.formula)}"
    yield f"fit = {_call(fit, arguments)}"
    yield f"reference = {_call(reference, arguments)}"
    yield 'pm.compare(fit, reference).to_html("report.html")'


def _call(fit: Fit, arguments: str) -> str:
    name = fit.engine.name
    if name == "pymackay":
        return f"pm.{'lmer' if fit.trace is None else 'mackay'}({arguments})"
    if name == "lme4":
        return f"pm.lme4.lmer({arguments})"
    return f"pm.adapters.as_fit(result)  # the result of {name}"


def _r_line(fit: Fit) -> str:
    extra = "".join(
        f", {name} = ..." for name in ("weights", "offset") if getattr(fit.model, name) is not None
    )
    return f"lmer({fit.formula}, data, REML = {'TRUE' if fit.reml else 'FALSE'}{extra})"


def _quoted(formula: str) -> str:
    """Quote a formula for Python and a shell, with quotes that it does not contain."""
    return f"'{formula}'" if '"' in formula else f'"{formula}"'
