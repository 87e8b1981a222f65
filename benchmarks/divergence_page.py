"""The register as a page: what each engine was asked, where it differs, by how much, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.divergence_reasons import REASONS

__all__ = ["as_page"]

Row = Mapping[str, Any]

_HEAD = """\
# Differences between engines

Every model whose answer by lme4 is recorded in `r_reference/` ({models} of them), by every engine,
compared with `pymackay.lmer`. A difference is listed when it exceeds the tolerance that
`pymackay.compare` has for the quantity; units are statistical (standard errors, conditional
standard deviations, relative). How far an engine stops above the optimum is measured by one
arithmetic, ours, at its theta, so that engines with other constants are on the same scale.

"lme4" is `lmer()` as it comes, "lme4 tight" its own criterion driven to a tight optimum; both are
the recorded answers. "lme4 refit" is `refit()` of our fit, as a merMod, to the response that it
has. It and the other engines are run when the page is made, on models of up to {most_rows} rows.
statsmodels has no bars: it is handed our matrices, with crossed factors as variance components of
one group.

Made with `python -m benchmarks.divergences`; [register.json](register.json) is the same, one
difference a line. `tests/docs/test_divergences.py` fails on a difference from lme4 that is not in
it, and on a row that is no longer true.

"""


def as_page(
    rows: Iterable[Row],
    asked: Mapping[str, int],
    found: Iterable[Row],
    campaigns: Iterable[Row],
    most_rows: int,
) -> str:
    """Return the page.

    Parameters
    ----------
    rows : iterable of mapping
        The register.
    asked : mapping of str to int
        Engine to the number of models that it was asked for.
    found : iterable of mapping
        What the fuzzer has found: ``file``, ``model``, ``verdict``, ``reason``.
    campaigns : iterable of mapping
        The fuzzer's long runs: ``first`` seed, ``models``, ``hours``, ``disagreements``, what they
        ``came to``.
    most_rows : int
        The largest data that the slow engines are asked for.
    """
    rows = list(rows)
    engines = [engine for engine in asked if any(row["engine"] == engine for row in rows)]
    head = _HEAD.format(models=max(asked.values()), most_rows=most_rows)
    parts = [head, _summary(rows, asked), _reasons(rows), _found(found), _campaigns(campaigns)]
    return "\n".join([*parts, *(_engine(engine, rows) for engine in engines)])


def _summary(rows: list[Row], asked: Mapping[str, int]) -> str:
    lines = []
    for engine, models in asked.items():
        mine = [row for row in rows if row["engine"] == engine]
        why = {row["case"]: row["reason"] for row in mine if row["quantity"] == "fit"}
        differ = {row["case"] for row in mine} - set(why)
        above = [row["size"] for row in mine if row["quantity"] == "criterion"]
        counts = Counter(why.values())
        lines.append(
            (
                engine,
                ", ".join(sorted({row["version"] for row in mine})),
                str(models),
                str(counts["cannot"]),
                str(counts["fails"]),
                str(len(differ)),
                str(len(above)),
                f"{max(above):.2g}" if above else "",
            )
        )
    head = (
        "engine", "version", "models asked", "cannot state", "fails", "differs in",
        "above the optimum in", "by at most",
    )  # fmt: skip
    return "## Engines\n\n" + _table(head, lines)


def _reasons(rows: list[Row]) -> str:
    used = Counter(row["reason"] for row in rows)
    lines = [(name, str(used[name]), text) for name, text in REASONS.items() if used[name]]
    return "## Reasons\n\n" + _table(("reason", "rows", "what it means"), lines)


def _found(found: Iterable[Row]) -> str:
    lines = [
        (
            f"[{row['file']}](found/{row['file']})",
            f"`{row['model']}`",
            row["verdict"],
            row["reason"],
        )
        for row in found
    ]
    if not lines:
        return ""
    text = (
        "## Found by the fuzzer\n\nSmall data sets on which engines part, drawn and shrunk. "
        "`pymackay fuzz --again FILE` fits them again.\n\n"
    )
    return text + _table(("file", "model", "verdict", "reason"), lines)


def _campaigns(campaigns: Iterable[Row]) -> str:
    names = ("first seed", "models", "hours", "disagreements", "what they came to")
    lines = [tuple(str(run[name]) for name in names) for run in campaigns]
    text = (
        "## Long runs of the fuzzer\n\nModels drawn from consecutive seeds, each fitted by ours, "
        "by lme4 as it comes and tightened, and by dense formulas in long double. What was mended "
        "is kept as tests; a seed stands for a model of the generator of its time.\n\n"
    )
    return text + _table(names, lines)


def _engine(engine: str, rows: list[Row]) -> str:
    """Return one line a model and reason: everything that differs there for it."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["engine"] == engine:
            grouped.setdefault((row["case"], row["reason"]), []).append(_words(row))
    lines = [(f"`{case}`", "; ".join(words), reason) for (case, reason), words in grouped.items()]
    return f"## {engine}\n\n" + _table(("model", "what differs", "reason"), lines)


def _words(row: Row) -> str:
    if row["quantity"] == "fit":
        return str(row["said"])
    where = f" ({row['where']})" if row["where"] else ""
    size = "" if row["size"] is None else f" {row['size']:.2g} {row['unit']}"
    return f"{row['quantity']}{where}{size}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    escaped = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    lines = [head, ("---",) * len(head), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
