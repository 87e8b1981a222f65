"""Results of other packages as a `Fit`: `as_fit`, and `register` for engines not known here."""

from pymackay.adapters.context import Context
from pymackay.adapters.parts import PARTS, fit_from_parts
from pymackay.adapters.registry import as_fit, register

__all__ = ["PARTS", "Context", "as_fit", "fit_from_parts", "register"]
