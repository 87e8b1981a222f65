"""The page on MacKay's loop runs as a notebook, and says what its numbers say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

BUILDER = Path(__file__).parents[2] / "docs" / "build_notebooks.py"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page, built from fewer data sets than are shown."""
    folder = tmp_path_factory.mktemp("page")
    environment = {**os.environ, "PYMACKAY_QUICK_PAGE": "1"}
    command = [sys.executable, str(BUILDER), str(folder), "mackay"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def spoken(folder: Path) -> str:
    """The sentences with computed numbers."""
    notebook = nbformat.read(folder / "mackay.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("data", {}).get("text/markdown", "") for output in outputs)


def test_every_cell_has_run(built: Path) -> None:
    notebook = nbformat.read(built / "mackay.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    figures = [o for cell in code for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(figures) == 4


def test_its_sentences_hold(built: Path) -> None:
    text = spoken(built)
    assert "49% and 89% of the REML estimates" in text
    assert "has s = 25.230 and 2.697" in text
    assert "the rule s ≥ 4 predicts correctly in 100.00% of the directions" in text
    inside, rows = re.search(r"In (\d+) of the (\d+) rows", text).groups()
    assert inside == rows
    assert "converge to the REML estimates in all 6 models" in text
    factor = re.search(r"gives the REML estimates \(largest relative difference (\S+)\)", text)
    assert float(factor.group(1)) < 1e-7
    assert float(re.search(r"The largest difference is (\S+)\. The median", text).group(1)) < 1e-8


def test_it_needs_no_network(built: Path) -> None:
    page = (built / "mackay.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=[\"']http", page)
