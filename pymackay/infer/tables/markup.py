"""Tables in HTML, Markdown and LaTeX, from columns of texts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
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
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""


def html_table(table: TextTable) -> str:
    """Return a table in HTML, its texts escaped."""
    sides = ["right" if right else "left" for right in table.numeric]

    def line(cells: Sequence[str], tag: str) -> str:
        cells_html = "".join(
            f'<{tag} style="text-align:{side}">{html.escape(cell.strip())}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{cells_html}</tr>"

    body = "".join(line(row, "td") for row in table.rows)
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    return (
        f"<table><caption>{html.escape(table.title)}</caption>"
        f"<thead>{line(table.header, 'th')}</thead><tbody>{body}</tbody></table>{note}"
    )


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

    def line(cells: Sequence[str]) -> str:
        return " & ".join(_escape_latex(cell.strip()) for cell in cells) + r" \\"

    sides = "".join("r" if right else "l" for right in table.numeric)
    parts = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape_latex(table.title)}}}",
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        line(table.header),
        r"\midrule",
        *map(line, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    note = [rf"\par {_escape_latex(table.note)}"] if table.note else []
    return "\n".join([*parts, *note, r"\end{table}"])


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
