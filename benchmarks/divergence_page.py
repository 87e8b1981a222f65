"""Writes the register as a page: per engine the models, the differences and the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.divergence_reasons import REASONS

__all__ = ["as_page"]

Row = Mapping[str, Any]

_HEAD = """\
# Differences between engines

This page lists where engines for linear mixed models give other results than `pymackay.lmer`. Each
engine was run on the models whose lme4 answer is recorded in `r_reference/` ({models} models). A
difference is listed if it exceeds the tolerance of `pymackay.compare` for that quantity. Units are
statistical: standard errors, conditional standard deviations, or relative differences. To show how
far above the optimum an engine stops, `pymackay` evaluates its own criterion at the engine's theta
(the relative covariance parameters). This makes engines comparable that use other constants in the
likelihood.

The engines include three ways to use lme4:

- *lme4* is `lmer()` with default settings (the recorded answer).
- *lme4 tight* is lme4's criterion minimised with tight tolerances (the recorded answer).
- *lme4 refit* converts the fit of `pymackay` to a merMod and calls `refit()` on the same response.

lme4 refit and the engines other than lme4 were run on models with at most {most_rows} rows.
statsmodels cannot read the random-effects terms of lme4's formulas. It gets the design matrices of
`pymackay`, with crossed factors as variance components of a single group.

`python -m benchmarks.divergences` writes this page and [register.json](register.json), which
contains the same differences, one per line. The test `tests/docs/test_divergences.py` fails if a
difference from lme4 is missing in the register, or if a registered difference no longer exists.
"""


def as_page(
    rows: Iterable[Row],
    asked: Mapping[str, int],
    examples: Iterable[Row],
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
        The fuzzer's long runs: ``first`` seed, ``models``, ``hours``, ``disagreements``, their
        ``outcome``.
    most_rows : int
        The largest data that the slow engines are asked for.
    """
    rows = list(rows)
    engines = [engine for engine in asked if any(row["engine"] == engine for row in rows)]
    head = _HEAD.format(models=max(asked.values()), most_rows=most_rows)
    parts = [head, _summary(rows, asked), _reasons(rows), _found(examples), _campaigns(campaigns)]
    return "\n".join([*parts, *(_engine(engine, rows) for engine in engines)])


def _summary(rows: list[Row], asked: Mapping[str, int]) -> str:
    lines = []
    for engine, models in asked.items():
        of_engine = [row for row in rows if row["engine"] == engine]
        why = {row["case"]: row["reason"] for row in of_engine if row["quantity"] == "fit"}
        differ = {row["case"] for row in of_engine} - set(why)
        above = [row["size"] for row in of_engine if row["quantity"] == "criterion"]
        counts = Counter(why.values())
        lines.append(
            (
                engine,
                ", ".join(sorted({row["version"] for row in of_engine})),
                str(models),
                str(counts["cannot"]),
                str(counts["fails"]),
                str(len(differ)),
                str(len(above)),
                f"{max(above):.2g}" if above else "",
            )
        )
    head = (
        "engine", "version", "models", "cannot state", "fails", "differs for",
        "above the optimum for", "by at most",
    )  # fmt: skip
    text = (
        "The columns count models: those on which the engine was run, those that it cannot state, "
        "those on which it fails, those with at least one difference, and those for which it stops "
        "above the optimum. The last column is the largest distance from the optimum, in units of "
        "the criterion.\n\n"
    )
    return f"## Engines\n\n{text}{_table(head, lines)}"


def _reasons(rows: list[Row]) -> str:
    used = Counter(row["reason"] for row in rows)
    lines = [(name, str(used[name]), text) for name, text in REASONS.items() if used[name]]
    return "## Reasons\n\n" + _table(("reason", "differences", "meaning"), lines)


def _found(examples: Iterable[Row]) -> str:
    lines = [
        (
            f"[{row['file']}](found/{row['file']})",
            f"`{row['model']}`",
            row["verdict"],
            row["reason"],
        )
        for row in examples
    ]
    if not lines:
        return ""
    text = (
        "## Examples found by the fuzzer\n\n"
        "`pymackay fuzz` fits random models with several engines. When they disagree, it reduces "
        "the data set to a small one with the same disagreement. "
        "`pymackay fuzz --again FILE` fits one of these examples again. In the table, *ours* is "
        "pymackay.\n\n"
    )
    return text + _table(("file", "model", "verdict", "reason"), lines)


def _campaigns(campaigns: Iterable[Row]) -> str:
    names = ("first seed", "models", "hours", "disagreements", "outcome")
    lines = [tuple(str(run[name]) for name in names) for run in campaigns]
    text = (
        "## Long runs of the fuzzer\n\nEach run drew models from consecutive seeds. Each model was "
        "fitted by pymackay, by lme4 with default and with tight settings, and by dense formulas "
        "in extended precision (long double). Every fixed defect has a test. A seed gives the same "
        "model only with the version of the generator that was used for the run.\n\n"
    )
    return text + _table(names, lines)


def _engine(engine: str, rows: list[Row]) -> str:
    """Return one line for each model and reason, with all differences."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["engine"] == engine:
            grouped.setdefault((row["case"], row["reason"]), []).append(_words(row))
    lines = [(f"`{case}`", "; ".join(words), reason) for (case, reason), words in grouped.items()]
    return f"## {engine}\n\n" + _table(("model", "differences", "reason"), lines)


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
