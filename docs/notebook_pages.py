"""Write notebooks that have run as Markdown pages of the site; stderr is left out."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)


def write_page(notebook: Path, source: Path) -> Path:
    """Write ``source/NAME.md``, and its pictures into ``source/figures``.

    Parameters
    ----------
    notebook : pathlib.Path
        ``NAME.ipynb``, with outputs.
    source : pathlib.Path
        Folder of Sphinx's sources.

    Returns
    -------
    pathlib.Path
    """
    cells = nbformat.read(notebook, as_version=4).cells
    parts = [
        part
        for k, cell in enumerate(cells)
        for part in _parts(cell, source / "figures", f"{notebook.stem}-{k}")
    ]
    path = source / f"{notebook.stem}.md"
    path.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    return path


def _parts(cell: Any, figures: Path, name: str) -> Iterator[str]:
    """Yield the text of a cell, or its code and outputs; pictures are files called `name`-k."""
    if cell.cell_type == "markdown":
        yield cell.source
        return
    tags = cell.get("metadata", {}).get("tags", [])
    if cell.source.strip() and "hide-input" not in tags:
        language = "ipython3" if cell.source.startswith("%") else "python"
        yield f"```{language}\n{cell.source}\n```"
    if "hide-output" in tags:
        return
    printed = ""  # R writes word by word
    for k, output in enumerate(cell.get("outputs", ())):
        if output.output_type == "stream":
            printed += output.text if output.name == "stdout" else ""
            continue
        yield _block(printed)
        printed = ""
        yield _shown(output, figures / f"{name}-{k}.png")
    yield _block(printed)


def _shown(output: Any, picture: Path) -> str:
    """Return an output that a cell returned or displayed as Markdown."""
    data = output.get("data", {})
    if "image/png" in data:
        picture.write_bytes(base64.b64decode(data["image/png"]))
        return f"![Drawn by the code above](figures/{picture.name})"
    if "text/markdown" in data:
        return str(data["text/markdown"])
    if "text/html" in data:
        lines = _STYLE.sub("", data["text/html"]).splitlines()
        inside = "\n".join(line for line in lines if line.strip())  # a blank line would end it
        return f'<div class="notebook-table">\n{inside}\n</div>'
    return _block(str(data.get("text/plain", "")))


def _block(text: str) -> str:
    content = text.strip("\n").rstrip()
    return f"```text\n{content}\n```" if content else ""
