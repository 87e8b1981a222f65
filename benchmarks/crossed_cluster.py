"""The reading pass on a cluster of two processes, and what a killed worker costs; one log.

``python -m benchmarks.crossed_cluster`` simulates 8 million rows in 8 Parquet files (``--rows``,
``--files``; ``--folder`` keeps them), sums them up in this process, then by one and by two worker
processes of one thread, then by two of which one is killed in the middle. Clusters are started and
warmed by a small pass before the clock runs. What was measured goes to ``crossed_cluster.json``,
the log of the killed worker to ``crossed_cluster.log``; ``python -m benchmarks.crossed --page``
puts both on the page. ``--only`` runs some of the parts.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.crossed_worker import FORMULA

__all__ = ["cluster_words"]

_HERE = Path(__file__).resolve().parent
_LOG = _HERE / "crossed_cluster.log"
_FOUND = _HERE / "crossed_cluster.json"
_PARTS = ("steps", "here", "one", "two", "killed")
_WARM = 100_000  # rows of the pass that warms a cluster


def note(line: str) -> None:
    """Print a line, and keep it in the log."""
    stamped = f"{time.strftime('%H:%M:%S')} {line}"
    print(stamped, flush=True)
    with _LOG.open("a", encoding="utf-8") as log:
        log.write(stamped + "\n")


class _Kept(logging.Handler):
    """Logs the scheduler's messages about lost workers, without the long names of tasks."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().partition(": {")[0].partition(" (stimulus")[0]
        if "still alive after" not in message:  # a cluster that is being closed
            note(f"{record.name}: {message}")


def make(folder: Path, rows: int, files: int) -> None:
    """Simulate ratings, with as many levels for each row as at 32 million; write them in files."""
    import pymackay as pm

    folder.mkdir(parents=True, exist_ok=True)
    users, items = (max(200, round(count * rows / 32e6)) for count in (200_948, 84_432))
    data = pm.datasets.simulate_crossed(rows, users, items, seed=1)
    data = data[["rating", "user", "item"]]
    for k in range(files):
        data.iloc[k * rows // files : (k + 1) * rows // files].to_parquet(
            folder / f"{k:02}.parquet"
        )


@contextmanager
def cluster(workers: int, folder: Path) -> Iterator[Any]:
    """Hold a warm cluster of processes of one thread each."""
    import dask.dataframe as dd
    import distributed
    import pandas as pd

    from pymackay.model.stream.sources import sum_source

    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as held,
        distributed.Client(held) as client,
    ):
        client.wait_for_workers(workers)
        few = pd.read_parquet(sorted(folder.glob("*.parquet"))[0]).sample(_WARM, random_state=0)
        sum_source(FORMULA, dd.from_pandas(few, npartitions=2 * workers))
        yield client


def timed(work: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """Run a function; return its time and memory, and its value."""
    load = os.getloadavg()[0]
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall, "cpu": cpu, "load": load}, result


def kill_when_busy(client: Any, after: float) -> threading.Timer:
    """Kill one worker process some seconds after it has started to work."""
    victim = next(iter(client.run(os.getpid).values()))

    def kill() -> None:
        note(f"killing worker process {victim}")
        os.kill(victim, signal.SIGKILL)

    timer = threading.Timer(after, kill)
    timer.start()
    return timer


def steps(folder: Path) -> dict[str, float]:
    """Measure the time of each step for one partition, and the size of what it sends."""
    import pandas as pd

    from pymackay.formula.specification import specify
    from pymackay.model.design.arguments import Arguments
    from pymackay.model.stream.accumulate import Accumulator
    from pymackay.model.stream.partition import sum_partition
    from pymackay.model.stream.plan import make_plan

    clock = [time.process_time()]
    frame = pd.read_parquet(sorted(folder.glob("*.parquet"))[0])
    clock.append(time.process_time())
    plan = make_plan(specify(FORMULA, list(frame.columns)), frame, Arguments())
    clock.append(time.process_time())
    part = sum_partition(plan, frame)
    clock.append(time.process_time())
    sent = pickle.dumps(part, protocol=5)
    pickle.loads(sent)
    clock.append(time.process_time())
    sums = Accumulator(plan)
    sums.add(part)
    sums.add(part)
    clock.append(time.process_time())
    spent = [b - a for a, b in pairwise(clock)]
    measured = dict(zip(("read", "plan", "sum", "pickle", "add"), spent, strict=True))
    measured["add"] /= 2.0
    return measured | {"rows": float(len(frame)), "megabytes": len(sent) / 1e6}


def on_cluster(source: Any, workers: int, folder: Path) -> tuple[dict[str, Any], Any]:
    """Compute the sums of a source on a warm cluster."""
    from pymackay.model.stream.sources import sum_source

    with cluster(workers, folder) as client:
        before = client.run(time.process_time)
        measured, sums = timed(lambda: sum_source(FORMULA, source))
        after = client.run(time.process_time)
    measured["workers_cpu"] = sum(after[worker] - before[worker] for worker in after)
    return measured, sums


def with_a_death(source: Any, after: float, folder: Path) -> dict[str, Any]:
    """Compute sums on two workers, one of which is killed; compare with sums of this process."""
    from pymackay.model.stream.sources import sum_source

    _LOG.unlink(missing_ok=True)
    kept = _Kept(logging.WARNING)
    loggers = [logging.getLogger(f"distributed.{name}") for name in ("scheduler", "nanny")]
    with cluster(2, folder) as client:
        for logger in loggers:
            logger.addHandler(kept)
        note(f"two workers, {source.npartitions} partitions")
        killer = kill_when_busy(client, after)
        measured, sums = timed(lambda: sum_source(FORMULA, source))
        killer.join()
        note(f"summed in {measured['seconds']:.1f} s")
        for logger in loggers:
            logger.removeHandler(kept)
    here = sum_source(FORMULA, folder)
    measured["same"] = sums.n == here.n and abs(sums.gram.y_scale / here.gram.y_scale - 1.0) < 1e-9
    note(f"rows {sums.n:,}; the sums are those without a cluster: {measured['same']}")
    return measured


def measure(folder: Path, only: list[str], measured: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the selected parts; yield all results after each."""
    import dask.dataframe as dd

    from pymackay.model.stream.sources import sum_source

    source = dd.read_parquet(folder)
    for part in only:
        if part == "steps":
            measured[part] = steps(folder)
        elif part == "here":
            measured[part], sums = timed(lambda: sum_source(FORMULA, folder))
            measured["rows"] = sums.n
        elif part == "killed":
            usual = measured.get("two", {}).get("seconds", 5.0)
            measured[part] = with_a_death(source, 0.4 * usual, folder)
        else:
            measured[part], _ = on_cluster(source, {"one": 1, "two": 2}[part], folder)
        print(part, {name: round(value, 3) for name, value in measured[part].items()}, flush=True)
        yield measured


def cluster_words() -> list[str]:
    """Return the text of the page about the measurements."""
    if not _FOUND.exists():
        return []
    measured = json.loads(_FOUND.read_text(encoding="utf-8"))
    lines = [
        f"`pymackay` reads data in partitions and keeps only sums over the rows. This table shows "
        f"the time to read {measured.get('rows', 0):,} rows from Parquet files, one partition per "
        f"file: in one process, and on Dask workers with one thread each. The workers were started "
        f"and had read a small data set before. The workers, the scheduler and the process that "
        f"adds the sums share two cores. The optimisation that follows is the same in all cases "
        f"and is not included. `python -m benchmarks.crossed_cluster` makes the measurements.",
        "",
        "| run | seconds | CPU of the main process | CPU of the workers | load |",
        "|---|---:|---:|---:|---:|",
    ]
    names = {
        "here": "main process, no cluster",
        "one": "one worker",
        "two": "two workers",
        "killed": "two workers, one killed during the run",
    }
    for part, words in names.items():
        if part in measured:
            r = measured[part]
            workers = f"{r['workers_cpu']:.1f}" if "workers_cpu" in r else ""
            numbers = f"{r['seconds']:.1f} | {r['cpu']:.1f} | {workers} | {r['load']:.1f}"
            lines.append(f"| {words} | {numbers} |")
    if "one" in measured and "two" in measured:
        share = measured["two"]["seconds"] / measured["one"]["seconds"]
        lines += ["", f"Two workers need {100 * share:.0f} % of the time of one worker."]
    if "steps" in measured:
        s = measured["steps"]
        lines += [
            "",
            f"For a partition of {s['rows']:,.0f} rows, a worker needs {s['read']:.2f} CPU seconds "
            f"to read it and {s['sum']:.2f} to sum it. It sends {s['megabytes']:.0f} MB (the coded "
            f"rows are {s['rows'] * 16e-6:.0f} MB). Packing and unpacking take {s['pickle']:.2f} "
            f"seconds, and adding the sums in the main process takes {s['add']:.2f}.",
        ]
    return (
        [*lines, "", "The log of the run in which a worker was killed:"] if _LOG.exists() else lines
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where the files are kept between runs")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS))
    options = parser.parse_args()
    known = json.loads(_FOUND.read_text(encoding="utf-8")) if _FOUND.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not list(folder.glob("*.parquet")):
            make(folder, options.rows, options.files)
        for measured in measure(folder, options.only, known):
            _FOUND.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
