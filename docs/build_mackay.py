"""Run the page on MacKay's loop and write it as HTML and as a notebook with its results.

``python docs/build_mackay.py FOLDER``; needs ``pip install pymackay[docs]`` and no network.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jupytext
import nbformat
from latex2mathml.converter import convert
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
    _typeset(notebook)
    config = Config()
    config.HTMLExporter.mathjax_url = config.HTMLExporter.require_js_url = ""  # no network
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = ("hide-input",)
    config.TagRemovePreprocessor.remove_all_outputs_tags = ("hide-output",)  # TensorFlow's greeting
    page, _ = HTMLExporter(config=config, template_name="lab").from_notebook_node(notebook)
    path = folder / "mackay.html"
    path.write_text(page.replace('<script src=""></script>', ""), encoding="utf-8")
    return path


def _typeset(notebook: nbformat.NotebookNode) -> None:
    """Turn formulas into MathML, which a browser shows without a script from the network."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _with_mathml(cell.source)
        for output in cell.get("outputs", ()):
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = _with_mathml(output.data["text/markdown"])


def _with_mathml(text: str) -> str:
    def mathml(found: re.Match[str]) -> str:
        block = found["block"] is not None
        formula = " ".join((found["block"] or found["inline"]).split())
        formula = re.sub(r"(\\hat \w)'", r"{\1}^{\\prime}", formula)  # not a sign upon the hat
        made = convert(formula, display="block" if block else "inline")
        return made.replace("*", "&#42;").replace("_", "&#95;")  # Markdown's own signs

    return re.sub(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+)\$", mathml, text, flags=re.DOTALL)


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/_build")))
