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

This page shows the time and memory that `pymackay` needs to fit a model with crossed factors,
`rating ~ 1 + (1 | user) + (1 | item)`, by REML. It compares the iterative and the exact solver. The
data are simulated by `pymackay.datasets.simulate_crossed`. The numbers of ratings per user and per
item have long-tailed distributions. In the largest data set, users rate only items in their
neighbourhood in half of the rows. Each fit ran in a separate process on two cores.
`python -m benchmarks.crossed` writes this page.

The columns of the first table are:

- *seconds* and *CPU*: wall time and CPU time of the call of `lmer`, without imports
- *load*: the load average; if it is above 2, other work shared the cores, and *CPU* is more
  reliable than *seconds*
- *before*: the memory of the process before the fit (Python, TensorFlow and the data)
- *peak*: the largest resident memory of the process during the fit, including *before*
- *CG*: the number of conjugate gradient iterations
- *error*: the largest Monte-Carlo standard error of a variance, relative to the variance
- *from exact*: the largest relative deviation of a variance from that of the exact solver
"""
_PEER_WORDS = """All engines ran on the same data with their default settings. GPBoost was called as
`GPModel(group_data=..., likelihood="gaussian", matrix_inversion_method="iterative")` with an
intercept. It has no REML, so its variances are compared with the maximum-likelihood estimates of
the exact solver. All other variances are compared with the REML estimates. lme4 was run only on
data sets for which it finishes within about a quarter of an hour."""


def write_page(results: dict[str, Any]) -> None:
    """Write the page, and the plot where matplotlib is installed."""
    lines = [_HEADER, *_table(results), "", *_targets(results), "", *_reading(results)]
    lines += _peers(results)
    if "calibration" in results:
        lines += _calibration(results["calibration"])
    if _plot(results):
        lines += ["## Growth", "", "![Time and memory against rows](crossed_growth.svg)", ""]
        lines += [_crossing_words(results), ""]
    log = _HERE / "crossed_cluster.log"
    if log.exists():
        lines += ["## Reading on a cluster", "", *cluster_words(), "", "```"]
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
    lines = ["| rows | published elsewhere | target | measured |", "|---|---|---|---|"]
    for name, peer in _ELSEWHERE.items():
        record = results.get(f"{name}/iterative/{'parquet' if name == '32M' else 'frame'}")
        measured = ""
        if record:
            measured = (
                f"{record['seconds']:.3g} s (CPU {record['cpu']:.3g} s), {_gigabytes(record)}"
            )
        lines.append(f"| {name} | {peer} | {_TARGETS[name]} | {measured} |")
    return lines


def _gigabytes(record: dict[str, Any]) -> str:
    return f"{record['peak'] * 2**30 / 1e9:.2g} GB"


def _reading(results: dict[str, Any]) -> list[str]:
    """Say what the reading pass takes, and how much memory beside the size of the columns."""
    record = results.get("32M/iterative/parquet", {})
    if "read_share" not in record:
        return []
    return [
        f"Of this time, reading the 32 million rows from Parquet takes "
        f"{record['read_seconds']:.3g} s (CPU {record['read_cpu']:.3g} s). It needs at most "
        f"{record['read_share']:.2f} times the memory of the coded columns (16 bytes per row: two "
        f"32-bit level codes and the response). The target was 2.5 times.",
        "",
    ]


def _peers(results: dict[str, Any]) -> list[str]:
    rows = []
    for name, sizes in PROBLEMS.items():
        keys = [key.split("/") for key in results if key.startswith(f"{name}/")]
        measured = {k[1]: results["/".join(k)] for k in keys if k[2] == "frame"}
        if not measured.keys() & {"lme4", "gpboost"}:
            continue
        for engine in ("iterative", "exact", "lme4", "gpboost", "exact-ml"):
            if engine in measured:
                rows.append(_peer_row(int(sizes["n"]), engine, measured))
    if not rows:
        return []
    versions = {r["versions"] for r in results.values() if isinstance(r, dict) and "versions" in r}
    head = ["| rows | engine | seconds | CPU | load | peak | from exact |"]
    head += ["|---:|---|---:|---:|---:|---:|---:|"]
    words = [_PEER_WORDS, "", f"Versions: {'; '.join(sorted(versions))}.", ""]
    return ["## Comparison with other engines", "", *words, *head, *rows, ""]


def _peer_row(n: int, engine: str, measured: dict[str, dict[str, Any]]) -> str:
    record = measured[engine]
    exact = measured.get("exact-ml" if engine in ("gpboost", "exact-ml") else "exact")
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


def _calibration(measured: dict[str, Any]) -> list[str]:
    expected = measured["expected"]
    lines = [
        "## Calibration of the standard errors",
        "",
        f"For each design, {measured['seeds']} data sets of 2,000 rows with 300 × 100 levels were "
        f"fitted with {measured['probes']} probe vectors and compared with the exact solver. If "
        f"the Monte-Carlo standard errors are right, a deviation divided by its standard error has "
        f"Student's distribution: {100 * expected[0]:.0f} % of the deviations are within one "
        f"standard error, {100 * expected[1]:.0f} % within 1.96, and their root mean square is "
        f"{measured['expected rms']:.2f}. The column *error* is the median standard error relative "
        "to the variance. For tiny variances, most of the standard error is the distance that the "
        "search still had to go when it stopped, and a deviation is about as large as it.",
        "",
        "| design | variances | within 1 | within 1.96 | root mean square | error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, record in measured.items():
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
        "The iterative solver is faster at every size at which both were run. The advantages of "
        "the exact solver are variances without Monte-Carlo error and an exact criterion. With few "
        "rows, most of its time is needed to build TensorFlow graphs, once per process."
    )
