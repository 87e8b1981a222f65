"""Times the transfer of 1M rows and 6 columns to R and back: ``python -m benchmarks.transfer``.

Measured is all that a user waits for: pandas to R's data frame, and R's data frame to pandas, the
best of some rounds, and what it costs the processor, which says more on a busy machine. R is
started before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.reference.columns import table
from pymackay.reference.r.session import session

__all__ = ["main"]

_ROUNDS = 5


def numbers_and_factors(rows: int) -> pd.DataFrame:
    """Doubles, integers, truth values, a factor of 50,000 levels and an ordered one."""
    rng = np.random.default_rng(1)
    levels = [f"level {i}" for i in range(50_000)]
    return pd.DataFrame(
        {
            "y": rng.normal(size=rows),
            "x": rng.normal(size=rows),
            "i": rng.integers(0, 100, rows),
            "b": rng.random(rows) < 0.5,
            "g": pd.Categorical.from_codes(rng.integers(0, 50_000, rows), levels),
            "o": pd.Categorical.from_codes(rng.integers(0, 5, rows), list("edcba"), ordered=True),
        }
    )


def missing_values(rows: int) -> pd.DataFrame:
    """The same in nullable types, one value in ten missing."""
    data = numbers_and_factors(rows).astype({"y": "Float64", "i": "Int64", "b": "boolean"})
    return data.mask(np.random.default_rng(2).random(data.shape) < 0.1)


def strings(rows: int) -> pd.DataFrame:
    """Six columns of strings, 1,000 different ones in each."""
    rng = np.random.default_rng(3)
    words = np.array([f"wort {i} ü" for i in range(1000)], dtype=object)
    return pd.DataFrame({f"s{k}": words[rng.integers(0, 1000, rows)] for k in range(6)})


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the shortest time that `work` has taken, and its least processor time."""
    times, costs = [], []
    for _ in range(_ROUNDS):
        start, cost = time.perf_counter(), time.process_time()
        work()
        times.append(time.perf_counter() - start)
        costs.append(time.process_time() - cost)
    return min(times), min(costs)


def main(rows: int = 1_000_000) -> None:
    """Print a row for each kind of table."""
    r = session()
    print(f"{rows} rows, 6 columns: seconds, the best of {_ROUNDS}")
    print(f"{'':22}{'to R':>8}{'cpu':>8}{'from R':>8}{'cpu':>8}")
    for make in (numbers_and_factors, missing_values, strings):
        data = make(rows)
        r.call("name_globally", "transfer", table(data))
        there = seconds(lambda data=data: r.call("name_globally", "transfer", table(data)))
        back = seconds(lambda: pm.lme4.frame("transfer"))
        print(f"{make.__name__:22}" + "".join(f"{spent:8.2f}" for spent in (*there, *back)))


if __name__ == "__main__":
    main()
