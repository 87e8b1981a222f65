"""Writes CROSSED.md and the growth plot from the results of `benchmarks.crossed`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crossed_cluster import cluster_words
from benchmarks.crossed_growth import crossing, draw_growth
from benchmarks.crossed_worker import PROBLEMS

__all__ = ["write_page"]

_HERE = Path(__file__).resolve().parent
_ELSEWHERE = {
    "1M": "lme4 ~190 CPU s",
    "5M": "lme4 cannot",
    "25M": "MixedModels.jl 9,294 s, 28.4 GiB, 32 threads",
    "32M": "MixedModels.jl 48,128 s, 29.5 GiB, 32 threads",
}
_TARGETS = {
    "1M": "2 s; within 0.1 % of exact",
    "5M": "10 s, 2 GB",
    "25M": "40 s, 4 GB",
    "32M": "120 s, 6 GB",
}
_NAMES = {
    "iterative": "pymackay, iterative",
    "exact": "pymackay, exact",
    "exact-ml": "pymackay, exact, ML",
    "gpboost": "GPBoost, iterative, ML",
}
_HEADER = """# Crossed factors from 10 thousand to 32 million rows

`rating ~ 1 + (1 | user) + (1 | item)`, REML, on data of `pymackay.datasets.simulate_crossed` with
long tails (32M: half of the rows assortative, too). Two cores, each fit in a process of its own;
`python -m benchmarks.crossed` makes this page. "seconds" and "CPU" are those of the call of
`lmer`, imports not counted; "peak" is the process's largest resident memory while it runs, with
what Python, TensorFlow and the data themselves take ("before"). Where "load" is above 2 other work
shared the cores, and "CPU" is the better guide. "error" is the largest Monte-Carlo standard error
of a variance, relative; "from exact" the largest deviation of a variance from the exact engine's.
"""
_PEER_WORDS = """Each with its defaults, on the same data. GPBoost (`GPModel(group_data=...,
likelihood="gaussian", matrix_inversion_method="iterative")`, its own optimiser, preconditioner
and number of probe vectors, an intercept) has maximum likelihood only: its variances are compared
with the exact engine's ML ones, all others' with its REML ones. lme4 is run where it ends within
a quarter of an hour on busy cores."""


def write_page(results: dict[str, Any]) -> None:
    """Write the page, and the plot where matplotlib is installed."""
    lines = [_HEADER, *_table(results), "", *_targets(results), "", *_reading(results)]
    lines += _peers(results)
    if "calibration" in results:
        lines += _calibration(results["calibration"])
    if _plot(results):
        lines += ["## Growth", "", "![time and memory against rows](crossed_growth.svg)", ""]
        lines += [_crossing_words(results), ""]
    log = _HERE / "crossed_cluster.log"
    if log.exists():
        lines += ["## Reading on a cluster, and a killed worker", "", *cluster_words(), "", "```"]
        lines += [*log.read_text(encoding="utf-8").splitlines(), "```", ""]
    (_HERE / "CROSSED.md").write_text("\n".join(lines), encoding="utf-8")


def _table(results: dict[str, Any]) -> list[str]:
    head = "| rows | users × items | solver | seconds | CPU | load | before | peak | CG | error | "
    lines = [head + "from exact |", "|---:|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, sizes in PROBLEMS.items():
        exact = results.get(f"{name}/exact/frame")
        for key, record in results.items():
            problem, _, run = key.partition("/")
            if problem != name:
                continue
            engine, source = run.split("/")
            if engine not in ("iterative", "exact"):
                continue
            solver = engine if source == "frame" else f"{engine}, from Parquet"
            cells = [
                f"{int(sizes['n']):,}",
                f"{int(sizes['users']):,} × {int(sizes['items']):,}",
                solver,
                f"{record['seconds']:.3g}",
                f"{record['cpu']:.3g}",
                f"{record['load']:.1f}",
                f"{record['before']:.2f} GiB",
                f"{record['peak']:.2f} GiB",
                str(record["iterations"]) if engine == "iterative" else "",
                _error(record) if engine == "iterative" else "",
                _deviation(record, exact) if engine == "iterative" and exact else "",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _error(record: dict[str, Any]) -> str:
    errors, variances = record["errors"], record["variances"]
    shares = [
        errors["Residual" if name == "Residual" else f"{name}.(Intercept)"] / value
        for name, value in variances.items()
    ]
    return f"{100 * max(shares):.2g} %"


def _deviation(record: dict[str, Any], exact: dict[str, Any]) -> str:
    shares = [abs(v / exact["variances"][k] - 1.0) for k, v in record["variances"].items()]
    return f"{100 * max(shares):.2g} %"


def _targets(results: dict[str, Any]) -> list[str]:
    lines = ["| rows | published elsewhere | aimed at | measured |", "|---|---|---|---|"]
    for name, peer in _ELSEWHERE.items():
        record = results.get(f"{name}/iterative/{'parquet' if name == '32M' else 'frame'}")
        found = ""
        if record:
            found = f"{record['seconds']:.3g} s (CPU {record['cpu']:.3g} s), {_gigabytes(record)}"
        lines.append(f"| {name} | {peer} | {_TARGETS[name]} | {found} |")
    return lines


def _gigabytes(record: dict[str, Any]) -> str:
    return f"{record['peak'] * 2**30 / 1e9:.2g} GB"


def _reading(results: dict[str, Any]) -> list[str]:
    """Say what the reading pass takes, and how much memory beside the size of the columns."""
    record = results.get("32M/iterative/parquet", {})
    if "read_share" not in record:
        return []
    return [
        f"Reading the 32 million rows from Parquet takes {record['read_seconds']:.3g} s of that "
        f"(CPU {record['read_cpu']:.3g} s), and at most {record['read_share']:.2f} times the "
        f"memory of the coded columns (16 bytes a row: two levels of 32 bits, and the response; "
        f"aimed at: 2.5 times).",
        "",
    ]


def _peers(results: dict[str, Any]) -> list[str]:
    rows = []
    for name, sizes in PROBLEMS.items():
        keys = [key.split("/") for key in results if key.startswith(f"{name}/")]
        found = {k[1]: results["/".join(k)] for k in keys if k[2] == "frame"}
        if not found.keys() & {"lme4", "gpboost"}:
            continue
        for engine in ("iterative", "exact", "lme4", "gpboost", "exact-ml"):
            if engine in found:
                rows.append(_peer_row(int(sizes["n"]), engine, found))
    if not rows:
        return []
    versions = {r["versions"] for r in results.values() if isinstance(r, dict) and "versions" in r}
    head = ["| rows | engine | seconds | CPU | load | peak | from exact |"]
    head += ["|---:|---|---:|---:|---:|---:|---:|"]
    words = [_PEER_WORDS, "", f"Versions: {'; '.join(sorted(versions))}.", ""]
    return ["## Peers", "", *words, *head, *rows, ""]


def _peer_row(n: int, engine: str, found: dict[str, dict[str, Any]]) -> str:
    record = found[engine]
    exact = found.get("exact-ml" if engine in ("gpboost", "exact-ml") else "exact")
    same = exact is None or exact is record
    cells = [
        f"{n:,}",
        _NAMES.get(engine, engine),
        f"{record['seconds']:.3g}",
        f"{record['cpu']:.3g}",
        f"{record['load']:.1f}",
        f"{record['peak']:.2f} GiB",
        "" if same else _deviation(record, exact),
    ]
    return "| " + " | ".join(cells) + " |"


def _calibration(found: dict[str, Any]) -> list[str]:
    expected = found["expected"]
    lines = [
        "## Error bars",
        "",
        f"{found['seeds']} data sets of 2,000 rows, 300 × 100 levels, {found['probes']} probe "
        f"vectors, each against the exact engine. With {found['probes']} probes a deviation in "
        f"standard errors has Student's distribution: {100 * expected[0]:.0f} % within one, "
        f"{100 * expected[1]:.0f} % within 1.96, root mean square {found['expected rms']:.2f}. "
        '"error" is the median standard error relative to its variance. Where variances are tiny, '
        "most of it is the step that the search left to go, and a deviation is about that long.",
        "",
        "| design | variances | within 1 | within 1.96 | root mean square | error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, record in found.items():
        if isinstance(record, dict):
            one, two = (f"{100 * share:.0f} %" for share in record["within"])
            cells = [name, str(record["n"]), one, two, f"{record['rms']:.2f}"]
            lines.append("| " + " | ".join([*cells, f"{100 * record['error']:.2g} %"]) + " |")
    return [*lines, ""]


def _plot(results: dict[str, Any]) -> bool:
    """Draw the growth plot; say whether there is one."""
    try:
        draw_growth(results, _HERE / "crossed_growth.svg")
    except ImportError:
        return False
    return True


def _crossing_words(results: dict[str, Any]) -> str:
    equal = crossing(results)
    if np.isfinite(equal):
        return f"Both solvers take the same time at about {equal:,.0f} rows."
    return (
        "At every size at which both ran, the iterative solver takes less time; what the exact "
        "one has over it is an answer without Monte-Carlo error, and the criterion to all digits. "
        "With few rows, most of the exact one's time goes into its graphs, built once in a process."
    )
