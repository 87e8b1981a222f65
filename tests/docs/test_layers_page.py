"""The page "A penalty for each layer" runs as a notebook, and its benchmark's results add up."""

from __future__ import annotations

import re

import numpy as np
import pytest
from notebook_page import NotebookPage

from benchmarks.keras import report
from benchmarks.keras.tasks import simulated


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> NotebookPage:
    return NotebookPage("layer_penalties", tmp_path_factory.mktemp("page"))


def test_every_cell_has_run(page: NotebookPage) -> None:
    assert page.every_cell_has_run()
    assert len(page.pictures) == 2


def test_its_sentences_hold(page: NotebookPage) -> None:
    text = page.sentences
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
