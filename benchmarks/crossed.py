"""Crossed factors from 10 thousand to 32 million rows: time, memory, error; writes CROSSED.md.

``python -m benchmarks.crossed [problem ...]`` runs what has no result yet (``--again``: all that
are named), each fit in a process of its own, and writes the table and the growth plot from all
results so far. ``python -m benchmarks.crossed --calibration 100`` measures the error bars.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.crossed_page import write_page
from benchmarks.crossed_worker import PROBLEMS

_HERE = Path(__file__).resolve().parent
RESULTS = _HERE / "crossed.json"
# The exact solver's dense matrix of all items: up to here it fits and ends within minutes.
EXACT = ("10k", "30k", "100k", "300k", "1M")
FROM_PARQUET = ("1M", "32M")


def runs_of(name: str) -> list[tuple[str, str]]:
    """Return (engine, source) of the runs of a problem."""
    runs = [] if name == "32M" else [("iterative", "frame")]
    if name in EXACT:
        runs.append(("exact", "frame"))
    if name in FROM_PARQUET:
        runs.append(("iterative", "parquet"))
    return runs


def work(*arguments: str) -> dict[str, Any]:
    """Run the worker; return its line of JSON."""
    command = [sys.executable, "-m", "benchmarks.crossed_worker", *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=_HERE.parent, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}


def measure(name: str, folder: Path, results: dict[str, Any], *, again: bool) -> None:
    """Run what is to be run of one problem and keep it."""
    todo = [run for run in runs_of(name) if again or "/".join((name, *run)) not in results]
    if not todo:
        return
    path = folder / f"{name}.parquet"
    if not path.exists():
        work("make", name, str(path))
    for engine, source in todo:
        load = os.getloadavg()[0]
        record = work("fit", str(path), engine, source)
        record |= {"load": load, "when": time.strftime("%Y-%m-%d %H:%M")}
        results["/".join((name, engine, source))] = record
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(name, engine, source, f"{record['seconds']:.2f} s, CPU {record['cpu']:.2f} s")


def calibrate(seeds: int, results: dict[str, Any]) -> None:
    """Compare the iterative fits of many small data sets with the exact ones."""
    from benchmarks.crossed_calibration import calibration

    results["calibration"] = calibration(seeds)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", help=", ".join(PROBLEMS))
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--calibration", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--folder", type=Path, help="where Parquet files are kept between runs")
    given = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if given.calibration:
        calibrate(given.calibration, results)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        for name in given.problems or ([] if given.calibration else PROBLEMS):
            measure(name, folder, results, again=given.again)
    write_page(results)


if __name__ == "__main__":
    main()
