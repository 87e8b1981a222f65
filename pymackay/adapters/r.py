"""R's own merMod objects, held by rpy2: `pymackay.lme4.from_r` reads them."""

from __future__ import annotations

from typing import Any

from pymackay.adapters.context import Context
from pymackay.reference import lme4
from pymackay.results import Fit

__all__ = ["convert"]


def convert(obj: Any, context: Context) -> Fit:
    """Return the fit that R holds."""
    return lme4.from_r(obj)
