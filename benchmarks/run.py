"""Times pymackay and its peers: ``python -m benchmarks.run [problem ...]``.

Writes `results.json` after every problem and `RESULTS.md` from it, so that a run can be broken off
and taken up again, or one problem repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from benchmarks.engines import ENGINES
from benchmarks.measure import measure
from benchmarks.problems import PROBLEMS
from benchmarks.report import as_markdown

__all__ = ["main"]

_HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Measure the problems named, all by default; returns the exit status."""
    options = _parser().parse_args(arguments)
    results = _load(options.results)
    names = options.problems or list(PROBLEMS)
    engines = [e for e in ENGINES if not options.engines or e.name in options.engines]
    for name in names:
        if options.missing and name in results["problems"]:
            continue
        started = time.perf_counter()
        print(f"{name}: {PROBLEMS[name].title}", flush=True)
        record = measure(
            PROBLEMS[name],
            engines,
            python=options.python,
            budget=options.budget,
            say=lambda line: print(line, flush=True),
        )
        results["machine"] = _machine()
        _merge(results["problems"], name, record, whole=not options.engines)
        _save(results, options.results)
        for stage, seconds in record["stages"].items():
            print(f"    {stage}: {1e3 * seconds:.1f} ms")
        print(f"  in {time.perf_counter() - started:.0f} s altogether", flush=True)
    print(f"written: {options.results.with_name('RESULTS.md')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("problems", nargs="*", metavar="problem", choices=[*PROBLEMS, []])
    parser.add_argument("--engines", nargs="+", choices=[e.name for e in ENGINES], default=[])
    parser.add_argument(
        "--budget", type=float, default=15.0, help="seconds of repeats for an engine and problem"
    )
    parser.add_argument(
        "--python",
        default=os.environ.get("PYMACKAY_PEERS", sys.executable),
        help="the interpreter that has the peers (default: $PYMACKAY_PEERS, or this one)",
    )
    parser.add_argument("--missing", action="store_true", help="only problems without a result")
    parser.add_argument("--results", type=Path, default=_HERE / "results.json")
    return parser


def _load(path: Path) -> dict:
    if not path.exists():
        return {"machine": {}, "problems": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def _merge(problems: dict, name: str, record: dict, *, whole: bool) -> None:
    """Replace the record of a problem, or of those engines that were run."""
    if whole or name not in problems:
        problems[name] = record
        return
    problems[name]["engines"].update(record["engines"])
    problems[name]["stages"] = record["stages"] or problems[name]["stages"]


def _save(results: dict, path: Path) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    path.with_name("RESULTS.md").write_text(as_markdown(results), encoding="utf-8")


def _machine() -> dict:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return {"cores": os.cpu_count(), "processor": model, "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main())
