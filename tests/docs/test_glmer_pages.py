"""The pages on generalised models print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest
from shown_output import difference, run_blocks

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("file", "outputs"), [("glmer.md", 4), ("glmer-and-lme4.md", 5)])
def test_code_prints_what_is_shown_after_it(file, outputs):
    _, shown = run_blocks((DOCS / file).read_text(encoding="utf-8"))
    assert len(shown) == outputs
    for text, printed in shown:
        assert difference(text, printed) == ""
