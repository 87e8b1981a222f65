"""`document`: one HTML file in the style of the reports, without external files."""

from __future__ import annotations

from html import escape

from pymackay.compare.show.style import STYLE

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


def document(title: str, body: str) -> str:
    """Return a complete document; `title` is text, `body` is HTML."""
    return _PAGE.format(title=escape(title), style=STYLE, body=body)
