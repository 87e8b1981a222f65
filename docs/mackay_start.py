"""What the pages on MacKay's loop begin with: the checkout on the path, `quick`, and `say`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout

from IPython.display import Markdown, display

import pymackay as pm

quick = bool(os.environ.get("PYMACKAY_QUICK_PAGE"))
"""Whether a page is made as a test runs it: from fewer data sets, real and simulated."""

pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))  # TensorFlow's greeting: here


def say(text: str) -> None:
    """Show prose that has computed numbers in it."""
    display(Markdown(text))
