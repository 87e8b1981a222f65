"""Writes the measurements as a Markdown table."""

from __future__ import annotations

from typing import Any

from benchmarks.problems import PROBLEMS, Problem, Target

__all__ = ["as_markdown"]

Record = dict[str, Any]

_HEAD = """\
# Benchmarks

This page compares the time that `pymackay` and other engines need to fit a model by REML. The time
is that of a complete call, from a data frame in memory to a fit with estimates, standard errors and
random effects. Every engine runs in a separate process, with its default settings and its default
number of threads. The engines take turns on the same data, so other work on the machine slows all
of them.

Times are medians over repeated fits. The first fit of a process is not counted, unless it is the
only one. CPU seconds are summed over all threads. `python -m benchmarks.run` writes this page;
[README.md](README.md) says how to install the other engines.
"""


def as_markdown(results: Record) -> str:
    """Return the page."""
    machine = results["machine"]
    problems = [(PROBLEMS[k], v) for k, v in results["problems"].items() if k in PROBLEMS]
    problems.sort(key=lambda pair: list(PROBLEMS).index(pair[0].name))
    where = f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}"
    parts = [_HEAD, f"Machine: {where}.\n", _versions(problems), _overview(problems)]
    parts += [_section(problem, record) for problem, record in problems]
    return "\n".join(parts)


def _versions(problems: list[tuple[Problem, Record]]) -> str:
    versions = {
        name: f"{name} {record['version']} ({record['libraries']})"
        for _, problem in problems
        for name, record in problem["engines"].items()
        if "version" in record
    }
    return f"Engines: {'; '.join(versions.values())}.\n"


def _overview(problems: list[tuple[Problem, Record]]) -> str:
    rows = [
        (problem.title, _time(_ours(record)), target.words, *_reached(target, record))
        for problem, record in problems
        for target in problem.targets
        if "seconds" in _ours(record)
    ]
    return _table(("problem", "pymackay", "target", "measured", "reached"), rows)


def _ours(record: Record) -> Record:
    return record["engines"].get("pymackay", {})


def _reached(target: Target, record: Record) -> tuple[str, str]:
    ours = _ours(record)["seconds"]
    if not target.peer:
        return _seconds(ours), _yes(ours <= target.at_most)
    peer = record["engines"].get(target.peer, {})
    if "more_than" in peer:
        ratio = ours / peer["more_than"]
        reached = "yes" if ratio <= target.at_most else "unknown"
        return f"less than {_share(ratio)} of {target.peer}'s time: {peer['note']}", reached
    if "seconds" not in peer:
        return f"{target.peer}: {peer.get('note') or 'not measured'}", "unknown"
    ratio = ours / peer["seconds"]
    return f"{_share(ratio)} of {target.peer}'s {_time(peer)}", _yes(ratio <= target.at_most)


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def _share(ratio: float) -> str:
    return f"1/{1 / ratio:.1f}" if ratio < 0.4 else f"{ratio:.2f}"


def _section(problem: Problem, record: Record) -> str:
    lowest = min(
        (r["criterion"] for r in record["engines"].values() if "criterion" in r), default=0.0
    )
    rows = [_row(problem, name, r, record, lowest) for name, r in record["engines"].items()]
    first = "import" if problem.fresh else "first fit"
    head = (
        "engine", "median", "fastest", "repeats", "CPU s", first, "× pymackay",
        "criterion above lowest", "evaluations", "remark",
    )  # fmt: skip
    text = f"## {problem.title}\n\n`{problem.formula}`; {record['when']}, load average before: "
    text += f"{record['load']:.1f}\n\n" + _table(head, rows)
    if record["stages"]:
        total = sum(record["stages"].values())
        steps = ", ".join(
            f"{name} {_seconds(s)} ({100 * s / total:.0f} %)"
            for name, s in record["stages"].items()
        )
        text += f"\nTime of each step of pymackay: {steps}.\n"
    return text


def _row(problem: Problem, name: str, r: Record, record: Record, lowest: float) -> tuple[str, ...]:
    if "seconds" not in r:
        return (name, "–", "–", "–", "–", "–", "–", "–", "–", r["note"])
    ours = _ours(record).get("seconds")
    return (
        name,
        _seconds(r["seconds"]),
        _seconds(r["fastest"]),
        str(r["repeats"]),
        f"{r['cpu']:.3g}",
        _seconds(r["import"] if problem.fresh else r["first"]),
        f"{r['seconds'] / ours:.2f}" if ours else "–",
        f"{r['criterion'] - lowest:.1e}",
        str(r["evaluations"]) if r["evaluations"] is not None else "–",
        r["note"],
    )


def _time(record: Record) -> str:
    return _seconds(record["seconds"]) if "seconds" in record else "–"


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1.0 else f"{seconds:.3g} s"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
