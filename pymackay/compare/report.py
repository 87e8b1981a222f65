"""Writes a comparison as JSON, as an HTML fragment for notebooks and as a self-contained page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from pymackay.compare.judge import VERDICTS
from pymackay.compare.layout import Section, gap_lines, heads, sections
from pymackay.results import Fit

if TYPE_CHECKING:
    from pymackay.compare.verdict import Comparison

__all__ = ["as_fragment", "as_json", "as_page"]

_STYLE = """
.pymackay{--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--good:#0b6e4f;--bad:#a3281b;
 color:var(--ink);background:var(--paper);font:15px/1.5 system-ui,sans-serif;max-width:60rem}
.pymackay .verdict{border-left:.35rem solid var(--good);padding:.4rem 1rem;font-size:1.25rem}
.pymackay .verdict.bad{border-color:var(--bad)}
.pymackay .advice{color:var(--soft);font-size:1rem;margin:.2rem 0 0}
.pymackay dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1.2rem 0}
.pymackay dt{color:var(--soft)} .pymackay dd{margin:0;overflow-wrap:anywhere}
.pymackay .wide{overflow-x:auto}
.pymackay table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.pymackay th,.pymackay td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid var(--line);
 white-space:nowrap}
.pymackay th:first-child,.pymackay td:first-child,.pymackay td.text{text-align:left;
 white-space:normal} .pymackay th.text{text-align:left}
.pymackay th{color:var(--soft);font-weight:500} .pymackay tr.bad td{color:var(--bad)}
.pymackay tr.title td{font-weight:600;padding-top:.9rem} .pymackay h2{font-size:1.05rem}
@media (prefers-color-scheme:dark){.pymackay{--ink:#e6e9ee;--soft:#9aa6b5;--line:#333c49;
 --paper:#14181f;--good:#4cc79b;--bad:#ff8a7a}}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>html{{color-scheme:light dark;background:#fff}}body{{margin:1.5rem auto;max-width:60rem;
padding:0 1rem}}@media (prefers-color-scheme:dark){{html{{background:#14181f}}}}</style>
</head><body>
{body}
</body></html>
"""


def as_json(comparison: Comparison) -> str:
    """Write everything a machine may want to know; numbers with 17 digits, nan as null."""
    meaning = VERDICTS[comparison.verdict]
    content = {
        "verdict": comparison.verdict,
        "ok": comparison.ok,
        "sentence": comparison.sentence,
        "means": meaning.means,
        "advice": meaning.advice,
        "same_theta": comparison.same_theta,
        "excess": comparison.excess,
        "ours": _engine(comparison.fit),
        "theirs": _engine(comparison.reference),
        "model_diff": [asdict(difference) for difference in comparison.differences],
        "table": [asdict(row) for row in comparison.rows],
        "variance_gap": comparison.variance_gap.to_dict("records"),
        "tolerances": {name: asdict(rule) for name, rule in comparison.tolerances.items()},
    }
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_page(comparison: Comparison) -> str:
    """Write one HTML file that needs nothing else."""
    title = escape(f"{comparison.verdict}: {comparison.fit.formula}")
    return _PAGE.format(title=title, body=as_fragment(comparison))


def as_fragment(comparison: Comparison) -> str:
    """Write the part of a page that holds the comparison, with its style."""
    parts = [_verdict(comparison), _heads(heads(comparison))]
    if comparison.differences:
        parts.append(_frame(comparison.model_diff, "Where the models differ"))
    if comparison.verdict != "different model":
        parts.append(_numbers(sections(comparison)))
        parts.append(_gap(comparison))
    return f'<div class="pymackay"><style>{_STYLE}</style>\n' + "\n".join(parts) + "\n</div>"


def _engine(fit: Fit) -> dict[str, object]:
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


def _plain(value: object) -> object:
    """Turn NumPy numbers into Python's, and what JSON cannot write into null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _verdict(comparison: Comparison) -> str:
    advice = VERDICTS[comparison.verdict]
    tone = "verdict" if comparison.ok else "verdict bad"
    return (
        f'<div class="{tone}">{escape(comparison.sentence)}'
        f'<p class="advice">{escape(advice.means)} {escape(advice.advice)}</p></div>'
    )


def _heads(pairs: dict[str, str]) -> str:
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items())
    return f"<dl>{entries}</dl>"


_NO_TEXT = 99


def _table(head: Iterable[str], body: Iterable[str], text_from: int = _NO_TEXT) -> str:
    """Set a table; columns from `text_from` on hold text and stand to the left."""
    return (
        f'<div class="wide"><table><thead>{_row(head, text_from=text_from, tag="th")}</thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _row(cells: Iterable[str], tone: str = "", text_from: int = _NO_TEXT, tag: str = "td") -> str:
    marked = (f"<{tag} class=text>" if k >= text_from else f"<{tag}>" for k in range(_NO_TEXT))
    inner = "".join(
        f"{start}{escape(cell)}</{tag}>" for start, cell in zip(marked, cells, strict=False)
    )
    return f'<tr class="{tone}">{inner}</tr>' if tone else f"<tr>{inner}</tr>"


def _numbers(parts: Iterable[Section]) -> str:
    def body() -> Iterator[str]:
        for section in parts:
            yield f'<tr class="title"><td colspan="6">{escape(section.title)}</td></tr>'
            for line in section.lines:
                note = line.note if line.distance == "-" else ""  # or else the verdict says it
                cells = (line.label, line.ours, line.theirs, line.distance, line.allowed)
                yield _row((*cells, line.unit or note), "bad" if line.bad else "", text_from=5)

    head = ("", "ours", "theirs", "distance", "allowed", "in")
    return f"<h2>Numbers</h2>{_table(head, body(), text_from=5)}"


def _gap(comparison: Comparison) -> str:
    lines = gap_lines(comparison.variance_gap, "ours")
    if not lines:
        return ""
    head = ("", "variance", "predictions", "errors", "left over", "hidden", "gamma")
    return f"<h2>Variance gap</h2>{_table(head, (_row(asdict(x).values()) for x in lines))}"


def _frame(frame: pd.DataFrame, title: str) -> str:
    body = (_row(map(str, entry), text_from=0) for entry in frame.itertuples(index=False))
    return f"<h2>{escape(title)}</h2>{_table(frame.columns, body, text_from=0)}"
