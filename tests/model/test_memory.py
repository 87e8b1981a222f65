"""How much memory a process can still take, and what happens to TensorFlow in a fork."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.model import memory

MACHINE = "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n"


def told(root: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> float:
    """What is free where the kernel's files are these."""
    for name, text in {"proc/meminfo": MACHINE, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(memory, "_ROOT", root)
    return memory.free_memory()


def test_a_machine_without_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(tmp_path, {}, monkeypatch) == 8e6 * 1024


@pytest.mark.parametrize("folder", ["sys/fs/cgroup", "sys/fs/cgroup/unified"])
@pytest.mark.parametrize("group", ["", "user", "user/job"])
def test_version_two(
    folder: str, group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "proc/self/cgroup": "0::/user/job\n",
        f"{folder}/{group}/memory.max": "1500000000\n",
        f"{folder}/{group}/memory.current": "700000000\n",
        f"{folder}/{group}/memory.stat": "anon 600000000\ninactive_file 50000000\n",
    }
    assert told(tmp_path, files, monkeypatch) == 850_000_000


def test_version_two_without_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory.current": "700000000\n",
    }
    assert told(tmp_path, files, monkeypatch) == 8e6 * 1024


@pytest.mark.parametrize("group", ["", "docker/1a2b"])
def test_version_one(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/1a2b\n0::/\n",
        f"sys/fs/cgroup/memory/{group}/memory.limit_in_bytes": "1500000000\n",
        f"sys/fs/cgroup/memory/{group}/memory.usage_in_bytes": "700000000\n",
    }
    assert told(tmp_path, files, monkeypatch) == 800_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of the address space is Linux's")
def test_the_limit_of_the_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (2**44, 2**44))
    free = list(memory._under_address_limit())
    assert 0.9 * 2**44 < free[0] < 2**44


def many_levels() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=9000), "y": rng.normal(size=9000)}
    return pd.DataFrame({**columns, "g": rng.integers(0, 4000, 9000)})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_is_told_to_spawn() -> None:
    """TensorFlow's threads are not there: without the error it waits for ever."""
    data = many_levels()
    pm.lmer("y ~ x + (1 | g)", data)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def work() -> None:
        try:
            pm.lmer("y ~ x + (1 | g)", data)
            queue.put("fitted")
        except pm.PymackayError as error:
            queue.put(str(error))

    child = context.Process(target=work)
    child.start()
    try:
        assert "get_context('spawn')" in queue.get(timeout=60)
    finally:
        child.kill()
        child.join()
