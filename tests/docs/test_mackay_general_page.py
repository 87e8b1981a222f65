"""The page on MacKay's loop with counts and yes/no answers runs, and says what its numbers say."""

from __future__ import annotations

import re

import pytest
from notebook_page import NotebookPage


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> NotebookPage:
    return NotebookPage("mackay_general", tmp_path_factory.mktemp("page"))


def test_its_sentences_hold(page: NotebookPage) -> None:
    assert page.every_cell_has_run()
    assert len(page.pictures) == 1
    text = page.sentences
    ends = re.search(r"deviation of (\S+), where the likelihood has its maximum at (\S+) and", text)
    assert float(ends.group(1)) < 0.7 * float(ends.group(2))
    loop = re.search(
        r"loop with means ends at (\S+), the Laplace estimate of\s*`pm.glmer` \((\S+)\)", text
    )
    assert loop.group(1) == loop.group(2)
    assert int(re.search(r"add up to only (\d+)% of the variance", text).group(1)) < 95
    assert float(re.search(r"differs from `pm.glmer` by (\S+) at most", text).group(1)) < 1e-7
    lost = re.search(r"PQL loses (\d+)% of the standard deviation; with \d+ it loses (\d+)%", text)
    assert int(lost.group(1)) > 30 > int(lost.group(2))


def test_formulas_are_mathml_with_words_as_names(page: NotebookPage) -> None:
    html = page.html
    assert "<mi>tr</mi>" in html
    assert not re.findall(r"<mo>[A-Za-z]{2,}</mo>", html)
    assert "<mi>&#x02032;</mi>" not in html
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=[\"']http", html)
