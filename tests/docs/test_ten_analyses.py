"""The notebooks of ten analyses, without R, and of R in the same process: they run, and agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from notebook_page import NotebookPage, printed

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> NotebookPage:
    return NotebookPage("ten_analyses", tmp_path_factory.mktemp("page"))


def section(page: NotebookPage, number: int) -> str:
    """Return what the code of a section printed and returned."""
    text, inside = "", False
    for cell in page.cells:
        if cell.cell_type == "markdown":
            heading = re.match(r"## (\d+)\.", cell.source)
            inside = int(heading[1]) == number if heading else inside
        elif inside:
            text += printed(cell)
    return text


def test_every_cell_has_run(page):
    assert page.every_cell_has_run()


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


@pytest.mark.live
def test_r_goes_on_with_a_fit_of_ours(tmp_path):
    texts = [printed(cell) for cell in NotebookPage("r_in_one_process", tmp_path).code]
    emmeans, trends, ours = texts[3:6]
    for pair in ("A - B", "A - C", "B - C"):
        theirs = [float(x) for x in re.search(rf"{pair}\s+(.+)", emmeans)[1].split()]
        mine = [float(x) for x in re.search(rf"{pair}\s+(.+)", ours)[1].split()]
        assert mine == pytest.approx(theirs, abs=0.006)  # R prints the errors with two decimals
    slope = re.compile(r"^\d\s+[ABC]\s+(0\.\d+)", re.MULTILINE)
    slopes = [float(x) for x in slope.findall(trends)]
    assert len(slopes) == 3
    assert [float(x) for x in slope.findall(ours)] == pytest.approx(slopes, abs=1e-4)
    assert texts[-1].startswith("Same optimum")
