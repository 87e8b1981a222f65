"""Run the page on MacKay's loop and write it as HTML and as a notebook with its results.

``python docs/build_mackay.py FOLDER``; needs ``pip install pymackay[docs]`` and no network.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets.config import Config

_SOURCE = Path(__file__).with_name("mackay.py")


def build(folder: Path) -> Path:
    """Execute the page in its own folder; return the path of the HTML file."""
    notebook = jupytext.read(_SOURCE)
    runner = ExecutePreprocessor(timeout=1800, kernel_name="python3")
    runner.preprocess(notebook, {"metadata": {"path": str(_SOURCE.parent)}})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / "mackay.ipynb")
    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = ("hide-input",)
    config.TagRemovePreprocessor.remove_all_outputs_tags = ("hide-output",)  # TensorFlow's greeting
    page, _ = HTMLExporter(config=config, template_name="lab").from_notebook_node(notebook)
    path = folder / "mackay.html"
    path.write_text(page, encoding="utf-8")
    return path


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/_build")))
