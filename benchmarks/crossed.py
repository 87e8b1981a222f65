"""Crossed factors from 10 thousand to 32 million rows: time, memory, error; writes CROSSED.md.

``python -m benchmarks.crossed`` runs what has no result yet, each fit in a process of its own,
keeps every result at once in ``crossed.json``, and writes the page and the growth plot from all
results so far. ``--only 25M`` (or ``--only 25000000``) runs that problem only, ``--engine`` that
engine only, ``--again`` even what has a result; ``--page`` runs nothing. ``--calibration 100``
measures the error bars. ``--peers`` names the Python that has GPBoost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.crossed_page import write_page
from benchmarks.crossed_worker import FORMULA, PROBLEMS
from pymackay._files import write_whole

_HERE = Path(__file__).resolve().parent
RESULTS = _HERE / "crossed.json"
# The exact solver needs a dense matrix of all items; up to this size it takes minutes at most.
EXACT = ("1k", "3k", "10k", "30k", "100k", "300k", "1M")
FROM_PARQUET = ("1M", "32M")
LME4 = ("1k", "3k", "10k", "30k", "100k", "1M")
GPBOOST = ("10k", "100k", "1M")
_LIMIT = 1800.0  # seconds for one fit


class Failed(Exception):
    """A worker ended without a result; the message says why."""


def runs_of(name: str) -> list[tuple[str, str]]:
    """Return (engine, source) of the runs of a problem."""
    runs = [] if name == "32M" else [("iterative", "frame")]
    if name in FROM_PARQUET:
        runs.append(("iterative", "parquet"))
    if name in EXACT:
        runs.append(("exact", "frame"))
    if name in LME4 and shutil.which("Rscript"):
        runs.append(("lme4", "frame"))
    if name in GPBOOST:  # GPBoost fits by ML only, and is compared with ML fits
        runs += [("gpboost", "frame"), ("exact-ml", "frame")]
    return runs


def work(command: list[str]) -> dict[str, Any]:
    """Run a worker; return its line of JSON.

    Raises
    ------
    Failed
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=_HERE.parent,
            env=environment,
            check=False,
            timeout=_LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"more than {_LIMIT:.0f} s") from None
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no word"])[-1])
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}


def ours(*arguments: str) -> dict[str, Any]:
    """Run `benchmarks.crossed_worker`."""
    return work([sys.executable, "-m", "benchmarks.crossed_worker", *arguments])


def fit(path: Path, engine: str, source: str, peers: str) -> dict[str, Any]:
    """Run one fit, ours or a peer's."""
    if engine not in ("lme4", "gpboost"):
        return ours("fit", str(path), engine, source)
    folder = path.with_suffix(".table")
    if not folder.exists():
        ours("table", str(path), str(folder))
    if engine == "lme4":
        script = str(_HERE / "crossed_lme4.R")
        return work(["Rscript", "--vanilla", script, str(folder), FORMULA])
    return work([peers, str(_HERE / "crossed_peers.py"), engine, str(folder)])


def measure(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Make the runs of one problem that have no result yet, and store their results."""
    path = folder / f"{name}.parquet"
    for engine, source in runs_of(name):
        key = "/".join((name, engine, source))
        needed = options.again or key not in stored()
        if not needed or (options.engine and engine not in options.engine):
            continue
        try:
            if not path.exists():
                ours("make", name, str(path))
            load = os.getloadavg()[0]
            record = fit(path, engine, source, options.peers)
        except Failed as error:
            print(key, "failed:", error)
            continue
        record |= {"load": load, "when": time.strftime("%Y-%m-%d %H:%M")}
        keep(key, record)
        print(key, f"{record['seconds']:.2f} s, CPU {record['cpu']:.2f} s", flush=True)


def stored() -> dict[str, Any]:
    """Return all results so far."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def keep(key: str, record: dict[str, Any]) -> None:
    """Store a result; the file is replaced as a whole."""
    write_whole(RESULTS, json.dumps({**stored(), key: record}, indent=1) + "\n")


def problem(word: str) -> str:
    """Return the problem of a name or of a number of rows."""
    sizes = {str(int(sizes["n"])): name for name, sizes in PROBLEMS.items()}
    name = sizes.get(word.replace("_", ""), word)
    if name not in PROBLEMS:
        raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(PROBLEMS)}")
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", type=problem, metavar="PROBLEM", default=list(PROBLEMS)
    )
    parser.add_argument("--engine", nargs="+", help="iterative, exact, exact-ml, lme4, gpboost")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--page", action="store_true", help="write the page only")
    parser.add_argument("--calibration", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--folder", type=Path, help="where Parquet files are kept between runs")
    peers = os.environ.get("PYMACKAY_PEERS", sys.executable)
    parser.add_argument("--peers", default=peers, help="the Python of the peers ($PYMACKAY_PEERS)")
    options = parser.parse_args()
    if options.calibration:
        from benchmarks.crossed_calibration import calibration

        keep("calibration", calibration(options.calibration))
    elif not options.page:
        with tempfile.TemporaryDirectory() as scratch:
            for name in options.only:
                measure(name, options, options.folder or Path(scratch))
    write_page(stored())


if __name__ == "__main__":
    main()
