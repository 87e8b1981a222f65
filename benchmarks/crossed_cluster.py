"""The reading pass on a cluster of two processes, and what a killed worker costs; one log.

``python -m benchmarks.crossed_cluster <folder of Parquet files>`` sums the partitions in this
process, then with one and two worker processes, then with two of which one is killed in the
middle, and writes ``crossed_cluster.log``.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.crossed_worker import FORMULA

_LOG = Path(__file__).resolve().parent / "crossed_cluster.log"


def say(line: str) -> None:
    """Print a line, and keep it."""
    stamped = f"{time.strftime('%H:%M:%S')} {line}"
    print(stamped, flush=True)
    with _LOG.open("a", encoding="utf-8") as log:
        log.write(stamped + "\n")


@contextmanager
def cluster(workers: int) -> Iterator[object]:
    """Hold a cluster of processes of one thread each."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as held,
        distributed.Client(held) as client,
    ):
        yield client


class _Kept(logging.Handler):
    """Keeps what the scheduler says of lost workers, without its tasks' long names."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().partition(": {")[0].partition(" (stimulus")[0]
        say(f"{record.name}: {message}")


def timed(what: str, work: Callable[[], object]) -> object:
    """Do some work and log what it took."""
    wall = time.perf_counter()
    found = work()
    say(f"{what}: {time.perf_counter() - wall:.1f} s, load {os.getloadavg()[0]:.1f}")
    return found


def kill_when_busy(client: object, after: float) -> threading.Thread:
    """Kill one worker process when it has been at work for a while."""
    pids = client.run(os.getpid)  # type: ignore[attr-defined]
    victim = next(iter(pids.values()))

    def kill() -> None:
        say(f"killing worker process {victim}")
        os.kill(victim, signal.SIGKILL)

    timer = threading.Timer(after, kill)
    timer.start()
    return timer


def main() -> None:
    import dask.dataframe as dd

    from pymackay.model.sources import sum_source

    folder = Path(sys.argv[1])
    _LOG.unlink(missing_ok=True)
    for name in ("distributed.scheduler", "distributed.nanny"):
        logging.getLogger(name).addHandler(_Kept(logging.WARNING))
    source = dd.read_parquet(folder)
    say(f"{source.npartitions} partitions")
    first = timed("in this process, Parquet", lambda: sum_source(FORMULA, folder))
    wall = {}
    for workers in (1, 2):
        with cluster(workers):
            start = time.perf_counter()
            timed(f"Dask, {workers} processes", lambda: sum_source(FORMULA, source))
            wall[workers] = time.perf_counter() - start
    with cluster(2) as client:
        killer = kill_when_busy(client, 0.4 * wall[2])
        last = timed("Dask, 2 processes, one killed", lambda: sum_source(FORMULA, source))
        killer.join()
    same = first.n == last.n and abs(first.gram.y_scale / last.gram.y_scale - 1.0) < 1e-9  # type: ignore[attr-defined]
    say(f"rows {last.n:,}; the sums agree: {same}")  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
