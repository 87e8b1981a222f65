"""Converts results of other packages to a `Fit`: `as_fit`, and `register` for new engines."""

from pymackay.adapters.engine import Context, Engine
from pymackay.adapters.parts import PARTS, fit_from_parts
from pymackay.adapters.registry import as_fit, fit_with, register

__all__ = ["PARTS", "Context", "Engine", "as_fit", "fit_from_parts", "fit_with", "register"]
