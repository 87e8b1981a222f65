"""Sphinx's settings: no fonts, scripts or formulas from elsewhere; formulas are MathML."""

from __future__ import annotations

import re
import sys

import latex2mathml.converter

import pymackay

# autodoc imports by name, and pymackay.lme4 is the name of a module that lives elsewhere
sys.modules["pymackay.lme4"] = pymackay.lme4

project = "pymackay"
author = "The pymackay authors"
version = release = pymackay.__version__
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
templates_path = ["_templates"]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # the docstrings say types and shapes
autodoc_member_order = "groupwise"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"pymackay {version}"
html_show_copyright = False
html_copy_source = False
html_math_renderer = "mathml"


def _formula(latex: str, display: str) -> str:
    latex = re.sub(r"(\\hat \w)'", r"{\1}^{\\prime}", latex)  # not a sign upon the hat
    return latex2mathml.converter.convert(latex, display=display)


def _inline(translator, node) -> None:
    from docutils.nodes import SkipNode

    translator.body.append(_formula(node.astext(), "inline"))
    raise SkipNode


def _block(translator, node) -> None:
    from docutils.nodes import SkipNode

    translator.body.append(f"<div class='math'>{_formula(node.astext(), 'block')}</div>")
    raise SkipNode


def setup(app) -> None:
    """Set formulas as MathML, which browsers show without a script."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
