"""Sizes that follow from the formula and the levels are told before the long work."""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pymackay.errors import DataError, PymackayWarning
from pymackay.model import memory
from pymackay.model.design.build import build_model
from pymackay.model.design.size import check_contrasts, check_covariance, check_design

LETTERS = "abcdefhijklm"


def crossed_table(levels: str = "uvw", n: int = 1000) -> pd.DataFrame:
    """Return twelve random factors, three hundred numbers and a grouping factor of 5 levels."""
    random = np.random.default_rng(0)
    columns = {name: random.choice(list(levels), n) for name in LETTERS}
    numbers = {f"x{k}": random.normal(size=n) for k in range(300)}
    group = random.choice(list("stuvw"), n)
    return pd.DataFrame({**columns, **numbers, "y": random.normal(size=n), "g": group})


CROSSED = "*".join(LETTERS)
REFUSED = [
    (f"y ~ {CROSSED} + (1 | g)", "uvw", "531441 columns for 1000 rows.*11.9 GiB of memory"),
    (f"y ~ 1 + ({CROSSED} | g)", "uvw", "531441 columns for 1000 rows"),
    (f"y ~ 1 + ({CROSSED} | g)", "uv", "4096 effects for each of 5 levels.*8390656 variances"),
    (
        f"y ~ 1 + ({' + '.join(f'x{k}' for k in range(300))} | g)",
        "uv",
        "301 effects for each of 5 levels, and so 45451 variances.*15.4 GiB",
    ),
]


@pytest.mark.parametrize(("formula", "levels", "message"), REFUSED)
def test_a_model_that_is_too_large_is_refused_at_once(formula, levels, message) -> None:
    data = crossed_table(levels)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PymackayWarning)
        with pytest.raises(DataError, match=message):
            build_model(formula, data)
    assert time.process_time() - begin < 5.0


def test_many_intervals_of_many_rows_are_refused_at_once() -> None:
    n = 200_000
    data = pd.DataFrame({"y": np.zeros(n), "x": np.linspace(0, 1, n), "g": np.arange(n) % 5})
    with pytest.raises(DataError, match=r"10000 columns for 200000 rows, which take 16.4 GiB"):
        build_model("y ~ cut(x, 10000) + (1 | g)", data)


def test_long_work_is_told_before_it_begins() -> None:
    size = re.escape("4096 columns for 1000 rows, which take 93.8 MiB of memory and about 59 sec")
    with pytest.warns(PymackayWarning, match=size):
        check_design(1000, 4096, is_fit=True)
    with pytest.warns(PymackayWarning, match="2485 variances and covariances.*much time"):
        check_covariance("x | g", 70, 1000)


def test_what_fits_is_not_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_design(1000, 4096, is_fit=False)
        check_design(100_000, 500, is_fit=True)
        check_covariance("x | g", 40, 1000)
        check_contrasts("f", 10_000, 2_000)


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine with 64 GiB, a control group may leave 400 MB."""
    for folder in ("proc/self", "sys/fs/cgroup"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 67108864 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("600000000\n")
    limit = tmp_path / "sys/fs/cgroup/memory.max"
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    too_large = {
        "50 columns for 500000 rows, which take 572 MiB": (check_design, (500_000, 50, True)),
        "'f' has 6000 levels": (check_contrasts, ("f", 10_000, 6_000)),
        "40 effects for each of 40000 levels": (check_covariance, ("x | g", 40, 40_000)),
    }
    for message, (check, sizes) in too_large.items():
        limit.write_text("max\n")
        check(*sizes)
        limit.write_text("1000000000\n")
        with pytest.raises(DataError, match=message):
            check(*sizes)
    check_design(100_000, 50, True)  # 120 MB
