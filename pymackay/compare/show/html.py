"""Writes a comparison as JSON, and as the HTML for notebooks and for the report page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

import pandas as pd

from pymackay._files import write_whole
from pymackay.compare.comparison import Comparison
from pymackay.compare.decision import VERDICTS
from pymackay.compare.show.layout import Section, gap_lines, heads, sections, side_names
from pymackay.compare.show.style import STYLE
from pymackay.incoming.parts import json_types
from pymackay.results import Fit

_NO_TEXT = 99  # beyond the last column of any table


def as_json(comparison: Comparison) -> str:
    """Return the whole comparison as JSON; numbers with 17 digits, nan as null."""
    meaning = VERDICTS[comparison.verdict]
    content = {
        "verdict": comparison.verdict,
        "ok": comparison.ok,
        "sentence": comparison.sentence,
        "means": meaning.means,
        "advice": meaning.advice,
        "same_theta": comparison.same_theta,
        "excess": comparison.excess,
        "lag": comparison.lag,
        "ours": _engine(comparison.fit),
        "theirs": _engine(comparison.reference),
        "model_diff": [asdict(difference) for difference in comparison.differences],
        "table": [asdict(row) for row in comparison.rows],
        "variance_gap": comparison.variance_gap.to_dict("records"),
        "tolerances": {name: asdict(rule) for name, rule in comparison.tolerances.items()},
    }
    return json.dumps(json_types(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_json(comparison: Comparison, path: str | Path) -> None:
    """Write the comparison as JSON: every number with 17 digits, nan as null.

    Raises
    ------
    ArgumentError
        If the file cannot be written.
    """
    write_whole(path, as_json(comparison))


def as_fragment(comparison: Comparison) -> str:
    """Return the HTML that a notebook shows, with its style sheet."""
    body = as_body(comparison, "b")
    return f'<div class="pymackay"><style>{STYLE}</style>\n{body}\n</div>'


def as_body(comparison: Comparison, headline: str) -> str:
    """Return the comparison as HTML: verdict, model, differences or numbers, variance gap.

    Parameters
    ----------
    comparison : Comparison
    headline : {"h1", "b"}
        The HTML element of the verdict: a headline for a page, or bold text.
    """
    names = side_names(comparison)
    parts = [_verdict(comparison, headline), "<h2>Model</h2>", _heads(heads(comparison, names))]
    if comparison.differences:
        parts.append(_frame(comparison.model_diff, "Where the models differ"))
    if comparison.verdict != "different model":
        parts.append(_numbers(sections(comparison), names))
        parts.append(_gap(comparison))
    return "\n".join(part for part in parts if part)


def _engine(fit: Fit) -> dict[str, object]:
    """Return the description of one fit for JSON."""
    return {
        "engine": fit.engine.name,
        "versions": dict(fit.engine.versions),
        "source": fit.engine.source,
        "formula": fit.formula,
        "reml": fit.reml,
        "rows": fit.n_obs,
        "criterion": fit.criterion,
        "singular": fit.singular,
        "messages": list(fit.messages),
        "not_offered": sorted(fit.not_offered),
    }


def _verdict(comparison: Comparison, headline: str) -> str:
    advice = VERDICTS[comparison.verdict]
    tone = "verdict" if comparison.ok else "verdict bad"
    return (
        f'<div class="{tone}"><{headline}>{escape(comparison.sentence)}</{headline}>'
        f'<p class="advice">{escape(advice.means)} {escape(advice.advice)}</p></div>'
    )


def _heads(pairs: dict[str, str]) -> str:
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items())
    return f"<dl>{entries}</dl>"


def _table(head: Sequence[str], body: Iterable[str], text_from: int = _NO_TEXT) -> str:
    """Return a table, shown as cards on a phone; columns from `text_from` on hold text."""
    cells = "".join(
        f'<th scope="col"{_marked(k, text_from)}>{escape(name)}</th>' for k, name in enumerate(head)
    )
    return (
        f'<div class="wide"><table class="cards"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _row(
    cells: Iterable[str], head: Sequence[str], tone: str = "", text_from: int = _NO_TEXT
) -> str:
    """Return a row; each cell has its column's name, which cards show beside the value."""
    inner = "".join(
        f'<td{_marked(k, text_from)} data-head="{escape(name)}">{escape(cell)}</td>'
        if name
        else f"<td>{escape(cell)}</td>"
        for k, (cell, name) in enumerate(zip(cells, head, strict=True))
    )
    return f'<tr class="{tone}">{inner}</tr>' if tone else f"<tr>{inner}</tr>"


def _marked(column: int, text_from: int) -> str:
    return ' class="text"' if column >= text_from else ""


def _numbers(parts: Iterable[Section], names: tuple[str, str]) -> str:
    """Return the table of numbers of the two fits, with a title row for each section."""
    head = ("", *names, "distance", "allowed", "in")

    def body() -> Iterator[str]:
        for section in parts:
            yield f'<tr class="title"><td colspan="6">{escape(section.title)}</td></tr>'
            for line in section.lines:
                note = (
                    line.note if line.distance == "-" else ""
                )  # otherwise the verdict explains it
                cells = (line.label, line.ours, line.theirs, line.distance, line.allowed)
                tone = "bad" if line.bad else ""
                yield _row((*cells, line.unit or note), head, tone, text_from=5)

    return f"<h2>Numbers</h2>{_table(head, body(), text_from=5)}"


def _gap(comparison: Comparison) -> str:
    lines = gap_lines(comparison.variance_gap, "ours")
    if not lines:
        return ""
    head = ("", "variance", "predictions", "errors", "left over", "hidden", "gamma")
    what = "prediction error" if comparison.fit.reml else "conditional"
    return (
        f"<h2>Variance gap</h2>{_table(head, (_row(asdict(x).values(), head) for x in lines))}"
        f'<p class="note">variance = mean square of the predictions + mean {what} variance '
        f"(errors); what is left over is relative to the variance.</p>"
    )


def _frame(frame: pd.DataFrame, title: str) -> str:
    head = [str(name) for name in frame.columns]
    body = (_row(map(str, entry), head, text_from=0) for entry in frame.itertuples(index=False))
    return f"<h2>{escape(title)}</h2>{_table(head, body, text_from=0)}"
