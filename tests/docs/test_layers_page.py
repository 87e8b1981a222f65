"""The page "A penalty for each layer" runs as a notebook, and its benchmark's results add up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from benchmarks.keras import report
from benchmarks.keras.tasks import simulated

BUILDER = Path(__file__).parents[2] / "docs" / "build_notebooks.py"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("page")
    command = [sys.executable, str(BUILDER), str(folder), "layer_penalties"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return nbformat.read(folder / "layer_penalties.ipynb", as_version=4)


def test_every_cell_has_run(page: nbformat.NotebookNode) -> None:
    outputs = [o for cell in page.cells for o in cell.get("outputs", ())]
    assert not [o for o in outputs if o.output_type == "error"]
    assert len([o for o in outputs if "image/png" in o.get("data", {})]) == 2


def test_its_sentences_hold(page: nbformat.NotebookNode) -> None:
    outputs = [o for cell in page.cells for o in cell.get("outputs", ())]
    text = "\n".join(o.get("data", {}).get("text/markdown", "") for o in outputs)
    lost, gone = re.search(r"loses (.*); it has lost (.*?)\.", text).groups()
    assert lost == gone == "user and postcode"
    difference = re.search(r"the largest relative difference is (\S+)\.", text).group(1)
    assert float(difference) < 1e-6


def test_differences_are_paired_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(rmse: float) -> dict[str, float]:
        return {"rmse": rmse, "log_score": 0.0, "cpu": 2.0, "trainings": 1}

    records = {
        report.REFERENCE: {"1": record(1.0), "2": record(1.5)},
        "no penalty": {"1": record(1.1), "2": record(1.8), "3": record(9.0)},
    }
    monkeypatch.setattr(report, "results", lambda name: records)
    row = report.summary("any").loc["no penalty"]
    assert row[["seeds", "ratio"]].tolist() == [2, 1]
    np.testing.assert_allclose([row["difference"], row["se"]], [0.2, 0.1])


def test_a_task_is_drawn_by_its_seed() -> None:
    first, again, other = simulated(1, 50, 20), simulated(1, 50, 20), simulated(2, 50, 20)
    np.testing.assert_array_equal(first.train.y, again.train.y)
    assert not np.array_equal(first.train.y, other.train.y)
