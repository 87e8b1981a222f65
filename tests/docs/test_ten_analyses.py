"""The notebook of ten analyses: ten sections with code, which run from top to bottom without R."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

DOCS = Path(__file__).parents[2] / "docs"
_SECONDS = 300  # it takes 25 s of processor time


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("page")
    command = [sys.executable, str(DOCS / "build_notebooks.py"), str(folder), "ten_analyses"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    return nbformat.read(folder / "ten_analyses.ipynb", as_version=4)


def section(page: nbformat.NotebookNode, number: int) -> str:
    """Return what the code of a section printed and returned."""
    text, inside = "", False
    for cell in page.cells:
        if cell.cell_type == "markdown":
            heading = re.match(r"## (\d+)\.", cell.source)
            inside = int(heading[1]) == number if heading else inside
        elif inside:
            for output in cell.outputs:
                text += output.get("text", "") or output.get("data", {}).get("text/plain", "")
    return text


def test_every_cell_has_run(page):
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]


def test_all_ten_sections_have_output(page):
    assert all(section(page, number).strip() for number in range(1, 11))


def test_what_was_simulated_is_found(page):
    """Interval estimates hold the values that the notebook draws from."""
    table = section(page, 6)
    estimate, error = re.search(r"hour\s+([\d.]+)\s+([\d.]+)", table).groups()
    assert abs(float(estimate) - 0.01) < 4 * float(error)
    sd = float(re.search(r"user\s+sd__\(Intercept\)\s+([\d.]+)", table)[1])
    assert abs(sd - 0.6) < 0.6 * 4 / (2 * 20_000) ** 0.5


def test_other_packages_agree(page):
    assert "1 passed" in section(page, 7)
    assert "same optimum" in section(page, 7)
    assert "same optimum" in section(page, 9)


def test_a_level_that_is_new_is_an_error(page):
    assert "newdata have levels of 'Subject'" in section(page, 10)


def test_no_step_is_in_r():
    source = (DOCS / "ten_analyses.py").read_text(encoding="utf-8")
    assert "rpy2" not in source and "Rscript" not in source
