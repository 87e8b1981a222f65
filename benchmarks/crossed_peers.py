"""A fit of crossed factors by another package in a separate process; prints a line of JSON.

``python crossed_peers.py gpboost <folder of the table>``, in the Python that has the peer; it
imports nothing of this project but the reader of tables. GPBoost's iterative solver runs with its
defaults: ML, its optimiser (limited-memory BFGS), its preconditioner and number of probe vectors.
"""

from __future__ import annotations

import importlib.metadata
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def peak() -> float:
    """Return this process's peak memory in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def gpboost(data: Any) -> dict[str, Any]:
    """Fit by GPBoost's iterative methods."""
    import gpboost as gpb
    import numpy as np

    y = data["rating"].to_numpy()
    groups = data[["user", "item"]].to_numpy().astype(np.int64)
    before, wall, cpu = peak(), time.perf_counter(), time.process_time()
    model = gpb.GPModel(
        group_data=groups, likelihood="gaussian", matrix_inversion_method="iterative"
    )
    model.fit(y=y, X=np.ones((len(y), 1)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    noise, user, item = np.asarray(model.get_cov_pars(std_err=False), dtype=float).ravel()[:3]
    return {
        "seconds": wall,
        "cpu": cpu,
        "before": before,
        "peak": peak(),
        "variances": {"user": user, "item": item, "Residual": noise},
        "versions": f"gpboost {importlib.metadata.version('gpboost')}",
    }


def main() -> None:
    from benchmarks.tables import read_table

    engines = {"gpboost": gpboost}
    print(json.dumps(engines[sys.argv[1]](read_table(Path(sys.argv[2])))))


if __name__ == "__main__":
    main()
