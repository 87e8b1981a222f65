"""Writes a comparison as a report: one HTML file with all pictures and styles inside."""

from __future__ import annotations

import platform
from html import escape
from pathlib import Path

from pymackay._files import write_whole
from pymackay.compare.comparison import Comparison
from pymackay.compare.show.document import document
from pymackay.compare.show.html import as_body
from pymackay.compare.show.layout import side_names
from pymackay.compare.show.pictures import Album, draw_album
from pymackay.compare.show.reproduce import as_section


def as_page(comparison: Comparison) -> str:
    """Return the report as one HTML document without external files."""
    album = draw_album(comparison) if comparison.verdict != "different model" else None
    parts = [
        as_body(comparison, "h1"),
        _pictures(album) if album is not None else "",
        _versions(comparison),
        as_section(comparison),
    ]
    title = f"{comparison.verdict}: {comparison.fit.formula}"
    return document(title, "\n".join(part for part in parts if part))


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
        f"<dt>{escape(side)}</dt><dd>{escape(str(fit.engine))}</dd>"
        for side, fit in zip(
            side_names(comparison), (comparison.fit, comparison.reference), strict=True
        )
    )
    here = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"<h2>Versions</h2><dl>{entries}<dt>report</dt><dd>{escape(here)}</dd></dl>"
