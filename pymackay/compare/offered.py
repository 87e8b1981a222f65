"""What a fit does not offer, and how a comparison goes on without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from pymackay.results import Fit

# parts of a model that an engine may keep to itself, in words
UNNAMED = {
    "terms": "its random-effects terms",
    "levels": "its levels",
    "rows": "which rows it used",
    "response": "its response",
    "weights": "its weights",
    "offset": "its offset",
}

# quantity of a row -> what a fit lists in `not_offered`
_PARTS = {"variance": "varcorr", "covariance": "varcorr", "b": "ranef"}


def offers(fit: Fit, quantity: str) -> bool:
    """Whether a fit has a quantity: a row's, or a part of its model."""
    if quantity in ("condvar", "pev"):
        return getattr(fit, f"{quantity}_source") is not None
    if quantity == "response":
        return offers(fit, "fitted") and offers(fit, "residuals")
    return _PARTS.get(quantity, quantity) not in fit.not_offered


def first_offering(quantity: str, *fits: Fit) -> Fit | None:
    """Return the first of the fits that has a quantity."""
    return next((fit for fit in fits if offers(fit, quantity)), None)


def unsaid(fits: Iterable[Fit]) -> str:
    """Say what the fits do not tell of their models, which was therefore not compared."""
    said = []
    for fit in fits:
        parts = [words for part, words in UNNAMED.items() if not offers(fit, part)]
        if parts:
            said.append(f"{fit.engine.name} does not say {', '.join(parts)}")
    return "; ".join(said)


def completed(fit: Fit, other: Fit) -> Fit:
    """Return a fit with what it does not say of its model taken from the other.

    No difference may have been found in what both say.
    """
    changes: dict[str, Any] = {}
    if not offers(fit, "terms"):
        changes["terms"] = other.model.terms
    if set(other.model.levels) - set(fit.model.levels):
        changes["levels"] = {**other.model.levels, **fit.model.levels}
    if not offers(fit, "rows"):
        changes["rows"] = other.model.rows
    if not changes:
        return fit
    model = dataclasses.replace(fit.model, **changes)
    return fit.replace(
        model=model,
        fitted=_on(fit.fitted, model.rows),
        residuals=_on(fit.residuals, model.rows),
    )


def _on(column: pd.Series, rows: pd.Index) -> pd.Series:
    """Put a column on these rows, in their order; NaN where there is no column."""
    values = column.to_numpy() if len(column) == len(rows) else np.full(len(rows), np.nan)
    return pd.Series(values, index=rows, name=column.name)
