"""A page of the documentation that is a notebook, run from fewer data sets than are shown."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat

_SECONDS = 300  # the longest page takes 25 s of processor time
_BUILDER = Path(__file__).parents[2] / "docs" / "build_notebooks.py"


class NotebookPage:
    """The notebook and the HTML page of one file of `docs`, made in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        environment = {**os.environ, "PYMACKAY_QUICK_PAGE": "1"}
        command = [sys.executable, str(_BUILDER), str(folder), name]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_SECONDS
        )
        assert done.returncode == 0, done.stderr[-4000:]
        self.folder, self.name = folder, name

    @cached_property
    def cells(self) -> list[Any]:
        """All cells."""
        return nbformat.read(self.folder / f"{self.name}.ipynb", as_version=4).cells

    @property
    def code(self) -> list[Any]:
        """The cells of code."""
        return [cell for cell in self.cells if cell.cell_type == "code"]

    @property
    def outputs(self) -> list[Any]:
        """The outputs of all cells."""
        return [output for cell in self.code for output in cell.outputs]

    @property
    def pictures(self) -> list[Any]:
        """The outputs that are pictures."""
        return [output for output in self.outputs if "image/png" in output.get("data", {})]

    @property
    def sentences(self) -> str:
        """The sentences with computed numbers."""
        texts = (output.get("data", {}).get("text/markdown", "") for output in self.outputs)
        return "\n".join(texts)

    @property
    def html(self) -> str:
        """The page."""
        return (self.folder / f"{self.name}.html").read_text(encoding="utf-8")

    def every_cell_has_run(self) -> bool:
        """Whether the cells of code have run in order, without an error."""
        counts = [cell.execution_count for cell in self.code]
        errors = [output for output in self.outputs if output.output_type == "error"]
        return counts == list(range(1, len(counts) + 1)) and not errors


def printed(cell: Any) -> str:
    """Return what a cell printed and returned."""
    parts = (o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
    return "".join(parts)
