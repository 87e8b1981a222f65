"""Runs the methods on the tasks and keeps the results in ``results/TASK.json``.

    python -m benchmarks.keras.run simulated --seeds 1 2 3 --methods "no penalty" "one l2, grid"

One thread. CPU seconds include the tracing of the network, as a user would pay them; those of a
search are its number of trainings times the CPU seconds of one ``model.fit`` of the same seed,
"no penalty", which therefore runs first. A result that is there is kept unless ``--again`` is
given. A method whose package is not installed is skipped.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.keras.answer import Answer
from benchmarks.keras.loops import LOOPS
from benchmarks.keras.searches import SEARCHES
from benchmarks.keras.tasks import SEEDS, TASKS, Task
from benchmarks.keras.torch_peer import LAPLACE

METHODS = {**SEARCHES, **LAPLACE, **LOOPS}
RESULTS = Path(__file__).with_name("results")
_PACKAGES = ("keras", "tensorflow", "keras-tuner", "torch", "laplace-torch", "scikit-learn")


def record(task: Task, method: str, seed: int) -> dict[str, Any]:
    """Run a method; return its test error, log score, costs and details."""
    keras.utils.set_random_seed(seed)
    began = time.process_time()
    answer: Answer = METHODS[method](task, seed)
    cpu = answer.cpu or time.process_time() - began
    square = (task.test.y - answer.mean) ** 2
    density = -0.5 * (np.log(2.0 * np.pi * answer.noise) + square / answer.noise)
    return {
        "rmse": float(np.sqrt(square.mean())),
        "log_score": float(density.mean()),
        "noise": float(answer.noise),
        "cpu": cpu,
        "trainings": answer.trainings,
        "load": os.getloadavg()[0],
        "details": answer.details,
    }


def kept(name: str) -> dict[str, dict[str, Any]]:
    """Return the results of a task: method to seed to record; empty if there are none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["methods"] if path.exists() else {}


def keep(name: str, method: str, seed: int, result: dict[str, Any]) -> None:
    """Add one record to a task's file."""
    methods = kept(name)
    methods.setdefault(method, {})[str(seed)] = result
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"versions": versions(), "methods": methods}, indent=1)
    path = RESULTS / f"{name}.json"
    path.with_suffix(".part").write_text(text + "\n", encoding="utf-8")
    path.with_suffix(".part").replace(path)


def versions() -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    installed = {}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for seed in asked.seeds:
        for name in asked.tasks:
            task = TASKS[name](seed)
            for method in asked.methods:
                if asked.again or str(seed) not in kept(name).get(method, {}):
                    _measure(name, task, method, seed)


def _measure(name: str, task: Task, method: str, seed: int) -> None:
    try:
        result = record(task, method, seed)
    except ModuleNotFoundError as missing:
        print(f"{name}, {method}: skipped, {missing.name} is not installed")
        return
    if result["trainings"] > 1:
        result["cpu"] = result["trainings"] * kept(name)["no penalty"][str(seed)]["cpu"]
    keep(name, method, seed, result)
    print(
        f"{name}, seed {seed}, {method}: RMSE {result['rmse']:.4f}, log score "
        f"{result['log_score']:.4f}, {result['cpu']:.1f} CPU s, {result['trainings']} trainings",
        flush=True,
    )


if __name__ == "__main__":
    main()
