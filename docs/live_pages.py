"""Run the Python blocks of pages and put in what they print and draw.

``python docs/live_pages.py FOLDER PAGE ...`` rewrites ``FOLDER/PAGE.md``. A ``text`` block after a
Python block is replaced by what the code printed; one that leaves lines out (``...``) must agree
with what was printed, and stays. Pictures that a block drew are put after its output, in place of
one that the page shows there.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import matplotlib as mpl  # noqa: E402

mpl.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from shown_output import difference  # noqa: E402

_PYTHON = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?P<shown>\n```text\n(?P<text>.*?)^```\n)?"
    r"(?P<picture>\n!\[(?P<alt>[^\]]*)\]\([^)]+\)\n)?",
    re.DOTALL | re.MULTILINE,
)
_DPI = 110


def computed(text: str, figures: Path, page: str) -> str:
    """Return a page with the outputs and pictures of its Python blocks.

    Parameters
    ----------
    text : str
        Markdown.
    figures : pathlib.Path
        Folder of the pictures, which are named after `page`.

    Raises
    ------
    ValueError
        If an output that leaves lines out does not agree with what was printed.
    """
    scope: dict[str, Any] = {}
    drawn = 0

    def run(block: re.Match[str]) -> str:
        nonlocal drawn
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(block["code"], scope)
        parts = [f"```python\n{block['code']}```\n"]
        if block["shown"]:
            parts.append(f"\n```text\n{_output(block['text'], output.getvalue(), page)}```\n")
        names = []
        for number in plt.get_fignums():
            drawn += 1
            names.append(f"{page}-{drawn}.png")
            plt.figure(number).savefig(figures / names[-1], dpi=_DPI)
        plt.close("all")
        if not names and block["picture"]:
            parts.append(block["picture"])
        parts += [f"\n![{alt}](figures/{name})\n" for alt, name in _described(block, names)]
        return "".join(parts)

    return _PYTHON.sub(run, text)


def _output(shown: str, printed: str, page: str) -> str:
    """Return the output to show: the one printed, or the one shown if it leaves lines out."""
    wrong = difference(shown, printed)
    if wrong:
        raise ValueError(f"{page}: an output is not the one shown there: {wrong}")
    return shown if "..." in shown else printed.rstrip("\n") + "\n"


def _described(block: re.Match[str], names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the description and the file of each picture."""
    calls = [line.split("#")[0].strip() for line in block["code"].splitlines() if "plot" in line]
    for k, name in enumerate(names):
        call = calls[k] if k < len(calls) else "this code"
        yield block["alt"] or f"Drawn by {call.replace('[', '(').replace(']', ')')}", name


def main(folder: Path, pages: list[str]) -> None:
    """Rewrite pages, each in a folder of its own for the files that it writes."""
    for page in pages:
        path = folder / f"{page}.md"
        text = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as elsewhere:
            before = Path.cwd()
            os.chdir(elsewhere)
            try:
                text = computed(text, folder / "figures", page)
            finally:
                os.chdir(before)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
