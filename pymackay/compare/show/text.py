"""Writes a comparison as plain text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from pymackay.compare.comparison import Comparison
from pymackay.compare.decision import VERDICTS
from pymackay.compare.model_diff import Difference
from pymackay.compare.show.layout import Line, gap_lines, heads, sections, size, theta_lines

_WIDTH = 96
_LABEL = 39


def as_sentence(comparison: Comparison) -> str:
    """Return the verdict in one sentence, with the difference of the criteria."""
    theirs, excess = comparison.reference.engine.name, size(abs(comparison.excess))
    if comparison.verdict == "different model":
        return _difference_sentence(comparison.differences)
    if comparison.reason:
        return f"{comparison.verdict.capitalize()}: {comparison.reason}."
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
    """Return the whole comparison as text: verdict, model, numbers, variance gap, advice."""
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


def as_failure(comparison: Comparison) -> str:
    """Return a failed comparison as text: verdict, advice, failed numbers, then the rest."""
    lines = [comparison.sentence, *_advice(comparison)]
    judged = any(row.stage == "optimum" for row in comparison.rows)
    if comparison.same_theta == "differs":
        lines += ["", *_theta_lines(comparison)]
    elif not judged:
        lines += ["", *_diff_lines(comparison.differences)]
    lines += [""]
    for name, text in heads(comparison).items():
        lines += _entry("  ", name, text)
    if judged:
        lines += ["", *_number_lines(comparison, bad_first=True), *_gap_lines(comparison)]
    lines += _messages(comparison)
    return "\n".join(line.rstrip() for line in lines)


def _advice(comparison: Comparison) -> list[str]:
    """Return the advice for a comparison that fails, wrapped."""
    advice = VERDICTS[comparison.verdict].advice
    if comparison.verdict == "ours lower":
        advice = (
            "It does not count here, because neither fit could be evaluated at the other's theta: "
            "a lower criterion may be another function's. Ask R itself (lme4='live'), or give the "
            "fit an engine that can be evaluated."
        )
    elif comparison.same_theta == "differs":
        advice = (
            "The models have the same parts, and yet other numbers at one theta. Look for another "
            "criterion or another scale of the variances, or for numbers with too few digits: "
            "the tolerance number_same_theta says how exact they are to be."
        )
    return _entry("", "To do:", advice)


def _messages(comparison: Comparison) -> list[str]:
    """Return the messages of the engines, such as a warning that lme4 did not converge."""
    lines: list[str] = []
    for side, fit in (("ours", comparison.fit), ("theirs", comparison.reference)):
        for message in fit.messages:
            lines += _entry("  ", side, f"{fit.engine.name} said: {message}")
    return ["", *lines] if lines else []


def _difference_sentence(differences: Sequence[Difference]) -> str:
    named = [difference.label for difference in differences]
    where = "at one theta, "
    at_theta = all(name.startswith(where) for name in named)
    named = [name.removeprefix(where) if at_theta else name for name in named]
    more = f"; and {len(named) - 3} more" if len(named) > 3 else ""
    place = "at one theta in" if at_theta else "in"
    return f"Different model: the two fits differ {place} {'; '.join(named[:3])}{more}."


def _entry(indent: str, name: str, text: str) -> list[str]:
    """Return a name and its text, wrapped, with all lines of the text aligned."""
    hanging = indent + " " * 10
    return textwrap.wrap(
        text or "-", _WIDTH, initial_indent=f"{indent}{name:<10}", subsequent_indent=hanging,
        break_on_hyphens=False,
    )  # fmt: skip


def _diff_lines(differences: Iterable[Difference]) -> Iterator[str]:
    for difference in differences:
        yield f"  {difference.label}"
        for side in ("ours", "theirs"):
            yield from _entry("    ", side, getattr(difference, side))


def _theta_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the numbers at one theta, the worst of each quantity, the failed ones first."""
    yield _columns("at one theta", "ours", "theirs", "distance", "allowed", "in")
    lines = theta_lines(comparison)
    yield from _section_lines("", [line for line in lines if line.bad])
    yield from _section_lines("", [line for line in lines if not line.bad and not line.note])


def _number_lines(comparison: Comparison, bad_first: bool = False) -> Iterator[str]:
    """Yield the table of numbers; lines of quantities that are not offered come last."""
    yield _columns("", "ours", "theirs", "distance", "allowed", "in")
    parts = sections(comparison)
    if bad_first:
        bad = tuple(line for part in parts for line in part.lines if line.bad)
        yield from _section_lines("out of tolerance", bad)
    missing: dict[str, None] = {}
    for section in parts:
        lines = [line for line in section.lines if not (bad_first and line.bad)]
        absent = [line for line in lines if line.distance == "-" and line.note]
        missing |= {f"  {line.label}: {line.note}": None for line in absent}
        shown = [line for line in lines if line not in absent]
        yield from _section_lines("" if section.title == "criterion" else section.title, shown)
    yield from missing


def _section_lines(title: str, lines: Sequence[Line]) -> Iterator[str]:
    if title and lines:
        yield f"  {title}"
    indent = "  " if title else ""
    for line in lines:
        text = _columns(
            _cut(indent + line.label, _LABEL),
            line.ours, line.theirs, line.distance, line.allowed, line.unit,
        )  # fmt: skip
        yield text + "  <--" * line.bad


def _columns(label: str, ours: str, theirs: str, distance: str, allowed: str, unit: str) -> str:
    return f"  {label:<{_LABEL}}{ours:>12}{theirs:>12}{distance:>10}{allowed:>9}  {unit}"


def _cut(label: str, width: int) -> str:
    return label if len(label) < width else label[: width - 4] + "..."


def _gap_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the table of our variance gap, and the residues of both fits."""
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
