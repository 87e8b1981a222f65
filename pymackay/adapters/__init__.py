"""Converts results of other packages to a `Fit`: `as_fit`, and `register` for new engines."""

from __future__ import annotations

import importlib
from typing import Any

from pymackay.adapters.engine import Context, Engine
from pymackay.adapters.parts import PARTS, fit_from_parts
from pymackay.adapters.registry import as_fit, fit_with, register
from pymackay.errors import PymackayError
from pymackay.results import Fit

__all__ = [
    "PARTS",
    "Context",
    "Engine",
    "as_fit",
    "fit_from_parts",
    "fit_with",
    "for_marginaleffects",
    "register",
]


def for_marginaleffects(fit: Fit, data: Any = None) -> Any:
    """Return a fit as a model of the Python package marginaleffects.

    Its ``predictions``, ``comparisons`` and ``slopes`` are of the population's mean (random effects
    zero) on the scale of the model's response, with normal tests.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    data : table, optional
        The data of the fit, where it does not hold them (it was loaded from a file).

    Returns
    -------
    marginaleffects.classes.ModelAbstract

    Raises
    ------
    PymackayError
        If marginaleffects 0.6 or later is not installed, or the fit does not hold its model.

    Notes
    -----
    marginaleffects 0.6.0 needs polars before version 2.
    """
    try:
        module = importlib.import_module("pymackay.adapters.marginal")
    except ImportError as error:
        raise PymackayError(
            f"for_marginaleffects needs the package marginaleffects, 0.6 or later ({error}): "
            f"pip install marginaleffects. pymackay.emmeans gives marginal means without it."
        ) from error
    return module.FitForEffects(fit, data)
