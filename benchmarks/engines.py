"""The engines, and the worker processes in which they run."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.problems import Problem

__all__ = ["ENGINES", "Engine", "TimeLimit", "Worker", "WorkerError"]

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Engine:
    """An engine that can be timed.

    Attributes
    ----------
    name : str
    limit : float
        Seconds that one answer may take before the engine counts as too slow for a problem.
    """

    name: str
    limit: float = 60.0

    def cannot(self, problem: Problem) -> str:
        """Return why the engine is not run; empty if it is."""
        if self.name == "statsmodels" and not problem.statsmodels:
            return "crossed factors only as one dense group of all rows"
        if self.name == "lme4" and shutil.which("Rscript") is None:
            return "R is not installed"
        return ""

    def command(self, problem: Problem, table: Path, python: str) -> list[str]:
        """Return the command line of a worker."""
        if self.name == "lme4":
            script = str(_HERE / "lme4_worker.R")
            return ["Rscript", "--vanilla", script, str(table), problem.formula]
        is_ours = self.name == "pymackay"
        script = str(_HERE / "python_worker.py")
        command = [sys.executable if is_ours else python, script, self.name, str(table)]
        return [*command, problem.formula, json.dumps(problem.statsmodels)]


ENGINES = (
    Engine("pymackay"),
    Engine("lme4", limit=150.0),
    Engine("glmm", limit=60.0),
    Engine("mixedlm", limit=60.0),
    Engine("lme-python", limit=30.0),
    Engine("statsmodels", limit=30.0),
)


class TimeLimit(Exception):
    """The worker did not answer in time."""


class WorkerError(Exception):
    """The worker ended; the message is the last line it wrote to standard error."""


class Worker:
    """A process that answers each line with a line of JSON, and is idle otherwise."""

    def __init__(self, command: list[str], *, start_limit: float = 120.0) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=_HERE.parent,
        )
        self._errors: list[str] = []
        self._answers: queue.Queue[str] = queue.Queue()
        for pipe, keep in (
            (self._process.stdout, self._answers.put),
            (self._process.stderr, self._errors.append),
        ):
            threading.Thread(target=_drain, args=(pipe, keep), daemon=True).start()
        self.hello = self._answer(start_limit)

    def ask(self, what: str, limit: float) -> dict[str, Any]:
        """Return the answer to one line.

        Raises
        ------
        TimeLimit
            When it takes longer than `limit` seconds; the process is ended.
        WorkerError
            When the process ends.
        """
        try:
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._last_words()) from None
        return self._answer(limit)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self, limit: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=limit)
        except queue.Empty:
            self.close()
            raise TimeLimit(f"more than {limit:.0f} s") from None
        if not line:
            raise WorkerError(self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self.close()
        time.sleep(0.1)  # the thread that drains standard error
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else f"ended with status {self._process.returncode}"


def _drain(pipe: Any, keep: Any) -> None:
    """Pass on every line; an empty one marks the end of the pipe."""
    for line in pipe:
        keep(line)
    keep("")
