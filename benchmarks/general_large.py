"""Speed of `glmer` beside lme4, glmm and GPBoost: ``python -m benchmarks.general_large``.

All packages fit the same tables one after the other in processes of their own, with one thread, and
their CPU seconds are compared. ``--calibration 30`` compares the iterative solver's answers with
exact ones on 30 data sets, in units of the stated errors. The answers are stored in
`general_speed.json`, from which the page `GLMM_SPEED.md` is written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm
from benchmarks.general_page import store
from benchmarks.general_problems import CROSSED, PROBLEMS, SLOW, Problem, crossed, table_of
from pymackay.solve.pirls.fit import GeneralControl

_HERE = Path(__file__).resolve().parent

__all__ = ["main"]

_HOUR = 3600.0


def main() -> int:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", help="; ".join(PROBLEMS))
    peers = os.environ.get("PYMACKAY_PEERS", sys.executable)
    parser.add_argument("--peers", default=peers, help="the Python of the peers ($PYMACKAY_PEERS)")
    parser.add_argument("--calibration", type=int, default=0, metavar="SEEDS")
    chosen = parser.parse_args()
    if chosen.calibration:
        store("calibration", calibration(chosen.calibration))
        return 0
    for name in chosen.problems or PROBLEMS:
        data = table_of(PROBLEMS[name])
        if data is None:
            print(f"{name}: its data are not here")
            continue
        answers = measured(PROBLEMS[name], data, chosen.peers, slow=name in SLOW)
        store("large", {name: answers})
        print(name, {k: v and float(np.median(v["seconds"])) for k, v in answers.items()})
    return 0


def measured(
    problem: Problem, data: pd.DataFrame, peers: str, *, slow: bool
) -> dict[str, dict[str, Any] | None]:
    """Return the answers of each package's process; None where it failed or is not installed."""
    how = {
        "formula": problem.formula,
        "weights": problem.weights,
        "groups": ["u", "i"],
        "solver": problem.solver,
        "repeats": problem.repeats,
    }
    made: dict[str, dict[str, Any] | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        data.to_csv(table, index=False)
        for engine in ("pymackay", *problem.peers):
            if engine == "lme4":
                words = [str(table), problem.formula, problem.weights or "-"]
                command = ["Rscript", str(_HERE / "general_lme4.R"), *words]
                command.append("1" if slow else str(problem.repeats))
            else:
                python = sys.executable if engine == "pymackay" else peers
                worker = str(_HERE / "general_worker.py")
                command = [python, worker, engine, str(table), json.dumps(how)]
            made[engine] = answer_of(command)
    return made


def answer_of(command: list[str]) -> dict[str, Any] | None:
    """Return the JSON that a process prints in its last line; None where it fails."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")}
    environment = {**os.environ, **one, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_HOUR, env=environment, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1:])
        return None
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


_DESIGNS = {
    "sparse, 4,000 rows, 300 x 100": (4000, (300, 100)),
    "dense, 6,000 rows, 100 x 60": (6000, (100, 60)),
}
_PROBES = 16


def calibration(seeds: int) -> dict[str, Any]:
    """Return (iterative − exact) / stated error of each variance, by design, for many seeds.

    Every seed has its own data and its own probe vectors.
    """
    made: dict[str, Any] = {"probes": _PROBES}
    for name, (rows, levels) in _DESIGNS.items():
        scores = []
        for seed in range(seeds):
            data = crossed(rows, levels, 1000 + seed)
            control = GeneralControl(probes=_PROBES, max_probes=_PROBES, seed=seed)
            exact = pm.glmer(CROSSED, data, "binomial", solver="exact")
            fit = pm.glmer(CROSSED, data, "binomial", solver="iterative", control=control)
            for term, V in fit.varcorr.items():
                error = fit.convergence.monte_carlo_error[f"{term}.(Intercept)"]
                scores.append(float(V.iloc[0, 0] - exact.varcorr[term].iloc[0, 0]) / error)
        made[name] = scores
    return made


if __name__ == "__main__":
    raise SystemExit(main())
