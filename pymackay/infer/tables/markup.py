"""Tables in HTML, Markdown and LaTeX, from columns of texts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from pymackay._text import invisible_ends

_TABULAR = 'style="font-variant-numeric:tabular-nums"'  # digits of one width
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "²": r"\textsuperscript{2}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes
    ----------
    title : str
    header : tuple of str
    rows : tuple of tuple of str
    numeric : tuple of bool
        Which columns hold numbers, which are aligned on the right.
    note : str
        A line below.
    at_point : bool
        Whether the decimal points of a numeric column line up although its texts end differently
        (stars, brackets); in HTML and LaTeX.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""
    at_point: bool = False

    def invisible(self) -> list[tuple[str, ...]]:
        """Return, row by row, what follows each cell unseen to line up the decimal points."""
        columns = [
            invisible_ends(column) if is_numeric and self.at_point else [""] * len(self.rows)
            for is_numeric, column in zip(self.numeric, zip(*self.rows, strict=True), strict=True)
        ]
        return list(zip(*columns, strict=True))


def html_table(table: TextTable) -> str:
    """Return a table in HTML, its texts escaped."""
    sides = ["right" if right else "left" for right in table.numeric]

    def line(cells: Sequence[str], tag: str, ends: Sequence[str]) -> str:
        cells_html = "".join(
            f'<{tag} style="text-align:{side}">{_cell_html(cell, end, is_numeric)}</{tag}>'
            for cell, side, end, is_numeric in zip(cells, sides, ends, table.numeric, strict=True)
        )
        return f"<tr>{cells_html}</tr>"

    head = line(table.header, "th", [""] * len(sides))
    ends = table.invisible()
    body = "".join(line(row, "td", end) for row, end in zip(table.rows, ends, strict=True))
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    return (
        f'<table><caption style="text-align:left">{html.escape(table.title)}</caption>'
        f"<thead>{head}</thead><tbody {_TABULAR}>{body}</tbody></table>{note}"
    )


def _cell_html(text: str, end: str, is_numeric: bool) -> str:
    """Return a cell's text; a name that begins with blanks is set in, and `end` follows unseen."""
    indent = "&emsp;" if text.startswith("  ") and not is_numeric else ""
    hidden = f'<span style="visibility:hidden" aria-hidden="true">{html.escape(end)}</span>'
    return f"{indent}{html.escape(text.strip())}{hidden if end else ''}"


def markdown_table(table: TextTable) -> str:
    """Return a table in GitHub's Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_escape_markdown(cell.strip()) for cell in cells) + " |"

    rule = "|" + "|".join("---:" if right else ":---" for right in table.numeric) + "|"
    title, note = _escape_markdown(table.title), _escape_markdown(table.note)
    parts = [f"**{title}**", "", line(table.header), rule, *map(line, table.rows)]
    return "\n".join([*parts, "", note] if note else parts)


def _escape_markdown(text: str) -> str:
    for letter in "\\|*_`<":
        text = text.replace(letter, f"\\{letter}")
    return text


def latex_table(table: TextTable) -> str:
    """Return a table in LaTeX, ruled as the package booktabs does."""

    def line(cells: Sequence[str], ends: Sequence[str] = ()) -> str:
        ends = ends or [""] * len(cells)
        shown = map(_cell_latex, cells, ends, table.numeric)
        return " & ".join(shown) + r" \\"

    sides = "".join("r" if right else "l" for right in table.numeric)
    parts = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape_latex(table.title)}}}",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        line(table.header),
        r"\midrule",
        *map(line, table.rows, table.invisible()),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    note = [rf"\par {_escape_latex(table.note)}"] if table.note else []
    return "\n".join([*parts, *note, r"\end{table}"])


def _cell_latex(text: str, end: str, is_numeric: bool) -> str:
    r"""Return a cell's text; leading blanks of a name are ``\quad``."""
    indent = r"\quad " if text.startswith("  ") and not is_numeric else ""
    phantom = rf"\phantom{{{_escape_latex(end)}}}" if end else ""
    # after the end of a row, TeX reads a bracket or a star as an argument of the line break
    guard = "{}" if text.strip()[:1] in ("[", "*") else ""
    return f"{indent}{guard}{_escape_latex(text.strip())}{phantom}"


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
