"""One fit of crossed factors in a separate process: wall time, CPU time, and peak memory.

``python -m benchmarks.crossed_worker make <problem> <file>`` simulates and writes Parquet;
``... fit <file> <engine> <source>`` reads (source "frame": all rows first, outside the clock;
"parquet": within the fit) and prints one line of JSON. The engines are "iterative", "exact" and
"exact-ml". ``... table <file> <folder>`` writes the rows as peers read them.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

PROBLEMS: dict[str, dict[str, float]] = {
    "1k": {"n": 1_000, "users": 100, "items": 50},
    "3k": {"n": 3_000, "users": 300, "items": 150},
    "10k": {"n": 10_000, "users": 1_000, "items": 500},
    "30k": {"n": 30_000, "users": 1_500, "items": 800},
    "100k": {"n": 100_000, "users": 2_500, "items": 1_200},
    "300k": {"n": 300_000, "users": 4_000, "items": 2_200},
    "1M": {"n": 1_000_000, "users": 6_040, "items": 3_706},
    "5M": {"n": 5_000_000, "users": 157_000, "items": 59_000},
    "25M": {"n": 25_000_000, "users": 162_000, "items": 59_000},
    "32M": {"n": 32_000_000, "users": 200_948, "items": 84_432, "assortativity": 0.5},
}
FORMULA = "rating ~ 1 + (1 | user) + (1 | item)"
_ROW_GROUP = 1_000_000
_ROW = 4 + 4 + 8  # bytes of a coded row: two levels of 32 bits, and the response


def make(name: str, path: Path) -> None:
    """Simulate a problem and write it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import pymackay as pm

    data = pm.datasets.simulate_crossed(**PROBLEMS[name], seed=1)  # type: ignore[arg-type]
    realised = json.dumps(data.attrs["realised"])
    schema = pa.schema([("rating", pa.float64()), ("user", pa.int32()), ("item", pa.int32())])
    with pq.ParquetWriter(path, schema.with_metadata({"realised": realised})) as writer:
        for start in range(0, len(data), _ROW_GROUP):
            part = data.iloc[start : start + _ROW_GROUP]
            arrays = [pa.array(part[column].to_numpy()) for column in schema.names]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def table(path: Path, folder: Path) -> None:
    """Write a problem as a folder of columns."""
    import pandas as pd

    from benchmarks.tables import write_table

    write_table(pd.read_parquet(path), folder)


def memory(what: str) -> float:
    """Return the current ("VmRSS") or peak ("VmHWM") memory of this process, in GiB."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(what):
                return float(line.split()[1]) / 2**20
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def forget_peak() -> None:
    """Reset the peak memory, if the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def load(path: Path) -> object:
    """Read all rows, and release the memory that only reading needed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pq.read_table(path).to_pandas(split_blocks=True, self_destruct=True)
    pa.default_memory_pool().release_unused()
    return data


def fit(path: Path, engine: str, source: str) -> dict[str, object]:
    """Fit one problem; return its result, time and memory."""
    import pymackay as pm
    import pymackay.api.lmer
    from pymackay.model.stream import sources

    data = path if source == "parquet" else load(path)
    before = memory("VmRSS")
    forget_peak()
    read: dict[str, float] = {}
    sum_source = sources.sum_source

    def watched(*args: object, **more: object) -> object:
        start, held = (time.perf_counter(), time.process_time()), memory("VmRSS")
        sums = sum_source(*args, **more)  # type: ignore[arg-type]
        read["read_seconds"] = time.perf_counter() - start[0]
        read["read_cpu"] = time.process_time() - start[1]
        read["read_peak"] = memory("VmHWM")
        coded = sums.n * _ROW / 2**30  # type: ignore[attr-defined]
        read["read_share"] = (read["read_peak"] - held) / coded
        return sums

    pymackay.api.lmer.sum_source = watched  # type: ignore[assignment]
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = pm.lmer(FORMULA, data, solver=engine.removesuffix("-ml"), reml=engine != "exact-ml")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ended = fitted.convergence
    return {
        "seconds": wall,
        "cpu": cpu,
        "before": before,
        "peak": memory("VmHWM"),
        **read,
        "rows": fitted.n_obs,
        "variances": {
            **{name: float(V.iloc[0, 0]) for name, V in fitted.varcorr.items()},
            "Residual": fitted.sigma**2,
        },
        "errors": dict(ended.monte_carlo_error),
        "evaluations": ended.evaluations,
        "probes": ended.probes,
        "iterations": ended.solver_iterations,
        "converged": ended.converged,
        "criterion": fitted.criterion,
    }


def main() -> None:
    if sys.argv[1] == "make":
        make(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1] == "table":
        table(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(json.dumps(fit(Path(sys.argv[2]), sys.argv[3], sys.argv[4])))


if __name__ == "__main__":
    main()
