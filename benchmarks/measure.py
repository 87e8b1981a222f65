"""Measures the time of engines on one problem, in warm or in fresh processes, in turn."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.engines import Engine, TimeLimit, Worker, WorkerError
from benchmarks.problems import Problem
from benchmarks.tables import write_table

__all__ = ["measure"]

Record = dict[str, Any]

MOST_ROUNDS = 15
FRESH_ROUNDS = 3


def measure(
    problem: Problem,
    engines: Iterable[Engine],
    *,
    python: str,
    budget: float,
    say: Callable[[str], None],
) -> Record:
    """Return the times of every engine for `problem`.

    Parameters
    ----------
    problem : Problem
    engines : iterable of Engine
    python : str
        The interpreter that has the peers.
    budget : float
        Seconds for the warm repeats of each engine; an engine whose single fit takes longer is
        timed once.
    say : callable
        Takes a line on what happens.

    Returns
    -------
    dict
        ``load``: the machine's load average before; ``engines``: name to a record with ``runs``,
        ``seconds`` (median), ``note`` and so on; ``stages``: seconds of our steps.
    """
    record: Record = {"when": time.strftime("%Y-%m-%d %H:%M"), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder)
        write_table(problem.data(), table)
        trial = _Trial(problem, table, python, budget, say)
        record["engines"] = trial.fresh(engines) if problem.fresh else trial.alternate(engines)
        record["stages"] = trial.stages
    return record


class _Trial:
    """One problem while it is being measured."""

    def __init__(
        self, problem: Problem, table: Path, python: str, budget: float, say: Callable[[str], None]
    ) -> None:
        self.problem, self.table, self.python = problem, table, python
        self.budget, self.say = budget, say
        self.stages: dict[str, float] = {}

    def alternate(self, engines: Iterable[Engine]) -> dict[str, Record]:
        """Start every engine once, then time them in turn until the time limit."""
        records: dict[str, Record] = {}
        running: list[tuple[Engine, Worker]] = []
        try:
            for engine in engines:
                records[engine.name], worker = self._start(engine)
                if worker:
                    running.append((engine, worker))
            for _ in range(MOST_ROUNDS):
                running = [pair for pair in running if self._turn(*pair, records[pair[0].name])]
                if not running:
                    break
        finally:
            for _, worker in running:
                worker.close()
        return {name: _summary(record, warm=True) for name, record in records.items()}

    def fresh(self, engines: Iterable[Engine]) -> dict[str, Record]:
        """Time the first fit in new processes, with the engines in turn."""
        records: dict[str, Record] = {}
        engines = tuple(engines)
        for _ in range(FRESH_ROUNDS):
            for engine in engines:
                record, worker = self._start(engine)
                if worker:
                    worker.close()
                kept = records.setdefault(engine.name, record)
                if kept is not record:
                    kept["runs"] += record["runs"]
                    kept["import"] = min(kept.get("import", 0.0), record.get("import", 0.0))
        return {name: _summary(record, warm=False) for name, record in records.items()}

    def _start(self, engine: Engine) -> tuple[Record, Worker | None]:
        """Start a worker and let it fit once; the record's first run."""
        record: Record = {"runs": [], "note": engine.cannot(self.problem)}
        if record["note"]:
            return record, None
        worker = None
        try:
            worker = Worker(engine.command(self.problem, self.table, self.python))
            record.update(worker.hello)
            self._run(engine, worker, record)
            if engine.name == "pymackay" and not self.problem.fresh:
                self.stages = worker.ask("stages", 3 * engine.limit)
        except TimeLimit as late:
            record["note"] = f"too slow: {late}"
            record["more_than"] = engine.limit
        except WorkerError as error:
            record["note"] = f"failed: {error}"
        if record["note"]:
            self.say(f"  {engine.name}: {record['note']}")
            return record, None
        return record, worker

    def _run(self, engine: Engine, worker: Worker, record: Record) -> None:
        answer = worker.ask("fit", engine.limit)
        record["runs"].append(answer)
        self.say(f"  {engine.name}: {answer['seconds']:.4f} s")

    def _turn(self, engine: Engine, worker: Worker, record: Record) -> bool:
        """Let the worker fit once more within its time limit; return whether to go on."""
        seconds = [run["seconds"] for run in record["runs"]]
        if sum(seconds[1:]) + min(seconds) > self.budget:
            worker.close()
            return False
        try:
            self._run(engine, worker, record)
        except (TimeLimit, WorkerError) as error:
            record["note"] = f"stopped: {error}"
            return False
        return True


def _summary(record: Record, *, warm: bool) -> Record:
    """Add medians, without the first of several warm runs, which includes tracing."""
    runs = record.pop("runs")
    if not runs:
        return record
    counted = runs[1:] if warm and len(runs) > 1 else runs
    record["first"] = runs[0]["seconds"]
    record["repeats"] = len(counted)
    record["seconds"] = statistics.median(run["seconds"] for run in counted)
    record["fastest"] = min(run["seconds"] for run in counted)
    record["cpu"] = statistics.median(run["cpu"] for run in counted)
    record["criterion"] = runs[-1]["criterion"]
    record["evaluations"] = runs[-1]["evaluations"]
    record["note"] = record["note"] or runs[-1]["note"]
    return record
