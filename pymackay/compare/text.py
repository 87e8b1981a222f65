"""Sets a comparison as plain text that survives a mail."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pymackay.compare.judge import VERDICTS
from pymackay.compare.layout import gap_lines, heads, sections, size
from pymackay.compare.model_diff import Difference

if TYPE_CHECKING:
    from pymackay.compare.verdict import Comparison

__all__ = ["as_sentence", "as_text"]

_WIDTH = 96
_LABEL = 39


def as_sentence(comparison: Comparison) -> str:
    """Say the verdict in one sentence, with the size of what it says."""
    theirs, excess = comparison.reference.engine.name, size(abs(comparison.excess))
    if comparison.verdict == "different model":
        return _difference_sentence(comparison.differences)
    agree = "and the numbers that are judged agree" if comparison.ok else "but other numbers differ"
    unchecked = "" if comparison.same_theta == "agreed" else ", not checked at one theta"
    apart = "criteria not offered" if math.isnan(comparison.excess) else f"criteria {excess} apart"
    every = "every number that both offer" if comparison.partial else "every number"
    return {
        "same optimum": f"Same optimum: {apart}, {every} agrees",
        "ours lower": f"Ours lower: {theirs} stopped {excess} above our criterion",
        "theirs lower": f"Theirs lower: our criterion is {excess} above that of {theirs}",
        "flat ridge": f"Flat ridge: equal criteria, unequal variances, {agree}",
        "boundary": f"Boundary: the fit is singular, {apart}, {agree}",
    }[comparison.verdict] + f"{unchecked}."


def as_text(comparison: Comparison) -> str:
    """Set the whole comparison: verdict, model, numbers, variance gap, what to do."""
    lines = [comparison.sentence, ""]
    for name, text in heads(comparison).items():
        lines += _entry("  ", name, text)
    if comparison.verdict == "different model":
        lines += ["", *_diff_lines(comparison.differences)]
    else:
        lines += ["", *_number_lines(comparison), *_gap_lines(comparison)]
    if comparison.verdict != "same optimum":
        meaning = VERDICTS[comparison.verdict]
        lines += ["", *textwrap.wrap(f"{meaning.means} {meaning.advice}", _WIDTH)]
    return "\n".join(line.rstrip() for line in lines)


def _difference_sentence(differences: Sequence[Difference]) -> str:
    named = [", ".join(part for part in (d.aspect, d.item) if part) for d in differences]
    more = f"; and {len(named) - 3} more" if len(named) > 3 else ""
    return f"Different model: the two fits differ in {'; '.join(named[:3])}{more}."


def _entry(indent: str, name: str, text: str) -> list[str]:
    """Set a text beside its name, its further lines below its beginning."""
    hanging = indent + " " * 10
    return textwrap.wrap(
        text or "-", _WIDTH, initial_indent=f"{indent}{name:<10}", subsequent_indent=hanging,
        break_on_hyphens=False,
    )  # fmt: skip


def _diff_lines(differences: Iterable[Difference]) -> Iterator[str]:
    for difference in differences:
        yield "  " + ", ".join(part for part in (difference.aspect, difference.item) if part)
        for side in ("ours", "theirs"):
            yield from _entry("    ", side, getattr(difference, side))


def _number_lines(comparison: Comparison) -> Iterator[str]:
    yield _columns("", "ours", "theirs", "distance", "allowed", "in")
    missing: dict[str, None] = {}
    for section in sections(comparison):
        indent = "" if section.title == "criterion" else "  "
        if indent:
            yield f"  {section.title}"
        for line in section.lines:
            if line.distance == "-" and line.note:
                missing[f"  {line.label}: {line.note}"] = None
                continue
            text = _columns(
                _cut(indent + line.label, _LABEL),
                line.ours, line.theirs, line.distance, line.allowed, line.unit,
            )  # fmt: skip
            yield text + "  <--" * line.bad
    yield from missing


def _columns(label: str, ours: str, theirs: str, distance: str, allowed: str, unit: str) -> str:
    return f"  {label:<{_LABEL}}{ours:>12}{theirs:>12}{distance:>10}{allowed:>9}  {unit}"


def _cut(label: str, width: int) -> str:
    return label if len(label) < width else label[: width - 4] + "..."


def _gap_lines(comparison: Comparison) -> Iterator[str]:
    gap = comparison.variance_gap
    ours = gap_lines(gap, "ours")
    if not ours:
        return
    what = "prediction error" if comparison.fit.reml else "conditional"
    yield ""
    yield f"  variance gap: variance = mean square of the predictions + mean {what} variance"
    yield f"  {'':<26}{'variance':>12}{'predictions':>13}{'errors':>11}{'hidden':>9}{'gamma':>16}"
    for line in ours:
        shown = f"    {_cut(line.label, 24):<24}{line.variance:>12}{line.predictions:>13}"
        yield f"{shown}{line.errors:>11}{line.hidden:>9}{line.gamma:>16}"
    yield f"    left over, of the variance: {_left_over(comparison)}"


def _left_over(comparison: Comparison) -> str:
    gap = comparison.variance_gap[comparison.variance_gap["variance"] > 0.0]
    relative = (gap["residue"].abs() / gap["variance"]).groupby(gap["fit"]).max()
    return ", ".join(f"{size(value)} {side}" for side, value in relative.items())
