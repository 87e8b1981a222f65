"""The page on MacKay's loop with counts and yes/no answers runs, and says what its numbers say."""

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
    command = [sys.executable, str(BUILDER), str(folder), "mackay_general"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_its_sentences_hold(built: Path) -> None:
    notebook = nbformat.read(built / "mackay_general.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    assert len([o for o in outputs if "image/png" in o.get("data", {})]) == 1
    text = "\n".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
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


def test_formulas_are_mathml_with_words_as_names(built: Path) -> None:
    page = (built / "mackay_general.html").read_text(encoding="utf-8")
    assert "<mi>tr</mi>" in page
    assert not re.findall(r"<mo>[A-Za-z]{2,}</mo>", page)
    assert "<mi>&#x02032;</mi>" not in page
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=[\"']http", page)
