"""The page on MacKay's loop runs as a notebook, and says what its numbers say."""

from __future__ import annotations

import re

import pytest
from notebook_page import NotebookPage


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> NotebookPage:
    return NotebookPage("mackay", tmp_path_factory.mktemp("page"))


def test_every_cell_has_run(page: NotebookPage) -> None:
    assert page.every_cell_has_run()
    assert len(page.pictures) == 4


def test_its_sentences_hold(page: NotebookPage) -> None:
    text = page.sentences
    assert "49% and 89% of the REML estimates" in text
    assert "has s = 25.230 and 2.697" in text
    assert "the rule s ≥ 4 predicts correctly in 100.00% of the directions" in text
    inside, rows = re.search(r"In (\d+) of the (\d+) rows", text).groups()
    assert inside == rows
    assert "converge to the REML estimates in all 6 models" in text
    factor = re.search(r"gives the REML estimates \(largest relative difference (\S+)\)", text)
    assert float(factor.group(1)) < 1e-7
    assert float(re.search(r"The largest difference is (\S+)\. The median", text).group(1)) < 1e-8


def test_it_needs_no_network(page: NotebookPage) -> None:
    assert "<math" in page.html
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=[\"']http", page.html)
