"""Run the pages that are notebooks and write them as HTML and as notebooks with their results.

``python docs/build_notebooks.py FOLDER [NAME ...]`` builds all pages or those that are named. It
needs ``pip install '.[docs]'`` in the repository, and no network.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import jupytext
import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets.config import Config

PAGES = ("mackay", "mackay_general", "layer_penalties", "ten_analyses")
WITH_R = ("r_in_one_process",)  # built where R and rpy2 are installed
_LONGEST = 1800  # seconds that a cell may take

_THIN = '<mspace width="0.167em"/>'


def build(folder: Path, name: str) -> Path:
    """Execute a page in its own folder; return the path of the HTML file."""
    source = Path(__file__).with_name(f"{name}.py")
    notebook = jupytext.read(source)
    runner = ExecutePreprocessor(timeout=_LONGEST, kernel_name="python3")
    runner.preprocess(notebook, {"metadata": {"path": str(source.parent)}})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    _typeset(notebook)
    config = Config()
    config.HTMLExporter.mathjax_url = config.HTMLExporter.require_js_url = ""  # no network
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = ("hide-input",)
    config.TagRemovePreprocessor.remove_all_outputs_tags = ("hide-output",)  # TensorFlow's greeting
    page, _ = HTMLExporter(config=config, template_name="lab").from_notebook_node(notebook)
    path = folder / f"{name}.html"
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
    def mathml(match: re.Match[str]) -> str:
        block = match["block"] is not None
        formula = " ".join((match["block"] or match["inline"]).split())
        formula = re.sub(r"(\\hat \w)'", r"{\1}^{\\prime}", formula)  # not a sign upon the hat
        made = _names(convert(formula, display="block" if block else "inline"))
        return made.replace("*", "&#42;").replace("_", "&#95;")  # Markdown's own signs

    return re.sub(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+)\$", mathml, text, flags=re.DOTALL)


def _names(made: str) -> str:
    """Let words be identifiers, and primes operators: the converter has it the other way round.

    A browser sets wide space around an operator, and slants an identifier of one letter.
    """
    roman = r'(?:<mi mathvariant="normal">\w</mi>)+'
    made = re.sub(roman, lambda run: f"<mi>{re.sub('<[^>]+>', '', run[0])}</mi>", made)
    made = re.sub(r"<mo>([A-Za-z]{2,})</mo>(?=<m(?!o>|space))", rf"<mi>\1</mi>{_THIN}", made)
    made = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", made)
    return made.replace("<mi>&#x02032;</mi>", "<mo>&#x02032;</mo>")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/_build")
    has_r = shutil.which("R") is not None and find_spec("rpy2") is not None
    for page in sys.argv[2:] or (*PAGES, *(WITH_R if has_r else ())):
        print(build(target, page))
