"""The page on crossed factors: it says what the stored results say."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import crossed, crossed_page

HERE = Path(crossed_page.__file__).parent


def test_the_page_is_that_of_the_stored_results(tmp_path, monkeypatch):
    (tmp_path / "crossed_cluster.log").write_bytes((HERE / "crossed_cluster.log").read_bytes())
    monkeypatch.setattr(crossed_page, "_HERE", tmp_path)
    monkeypatch.setattr(crossed_page, "_plot", lambda results: True)
    crossed_page.write_page(json.loads((HERE / "crossed.json").read_text(encoding="utf-8")))
    written = (tmp_path / "CROSSED.md").read_text(encoding="utf-8")
    assert written == (HERE / "CROSSED.md").read_text(encoding="utf-8"), (
        "`python -m benchmarks.crossed --page` writes the page anew"
    )


def test_every_variance_stored_is_near_the_exact_one():
    results = json.loads((HERE / "crossed.json").read_text(encoding="utf-8"))
    compared = 0
    for key, record in results.items():
        name, _, run = key.partition("/")
        exact = results.get(f"{name}/exact/frame")
        if exact and run.startswith("iterative"):
            for term, variance in record["variances"].items():
                assert variance == pytest.approx(exact["variances"][term], rel=1e-3)
                compared += 1
    assert compared >= 18


def test_a_problem_is_named_by_its_rows_too():
    for word, name in (("25M", "25M"), ("25000000", "25M"), ("10_000", "10k")):
        assert crossed.problem(word) == name
    with pytest.raises(argparse.ArgumentTypeError, match="none of 1k"):
        crossed.problem("26M")
    assert ("gpboost", "frame") in crossed.runs_of("1M")
    assert crossed.runs_of("32M") == [("iterative", "parquet")]
