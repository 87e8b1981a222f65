"""What every test shares: quiet TensorFlow, one thread a process, steady examples, no browser."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# before anything imports TensorFlow: its C++ side reads the variable once
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if "PYTEST_XDIST_WORKER" in os.environ:
    # a process for every core: threads of their own would only get in each other's way
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(variable, "1")

# The same examples in every run, wherever it is; --hypothesis-profile=search looks for new ones.
settings.register_profile("steady", derandomize=True, database=None)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("steady")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that need a browser out, unless ``-m`` speaks of them (see CONTRIBUTING.md)."""
    if "browser" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    if left_out:
        items[:] = [item for item in items if not item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=left_out)
