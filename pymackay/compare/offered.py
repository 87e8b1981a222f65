"""Which quantities a fit offers, and how a comparison replaces missing ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from pymackay.results import Fit

# parts of a model that an engine may not offer, in words
UNNAMED = {
    "terms": "its random-effects terms",
    "levels": "its levels",
    "rows": "which rows it used",
    "response": "its response",
    "weights": "its weights",
    "offset": "its offset",
}

# what follows from second derivatives
_OF_CURVATURE = ("std_error", "vcov", "pev")

# quantity of a row -> its key in `Fit.not_offered`
_PARTS = {"variance": "varcorr", "covariance": "varcorr", "b": "ranef"}


def offers(fit: Fit, quantity: str) -> bool:
    """Whether a fit has a quantity of a row, or a part of its model."""
    if quantity in _OF_CURVATURE and fit.general is not None:
        known = bool(np.isfinite(fit.vcov.to_numpy()).all())  # not where it was only evaluated
        if not known:
            return False
    if quantity in ("condvar", "pev"):
        return getattr(fit, f"{quantity}_source") is not None
    if quantity == "response" and fit.general is not None:
        return fit.general.observed is not None
    if quantity == "response":
        return offers(fit, "fitted") and offers(fit, "residuals")
    return _PARTS.get(quantity, quantity) not in fit.not_offered


def both_offer(quantity: str, *fits: Fit) -> bool:
    """Whether all of the fits have a quantity."""
    return all(offers(fit, quantity) for fit in fits)


def first_offering(quantity: str, *fits: Fit) -> Fit | None:
    """Return the first of the fits that has a quantity."""
    return next((fit for fit in fits if offers(fit, quantity)), None)


def unsaid(fits: Iterable[Fit]) -> str:
    """Return which parts of the models the fits do not offer, so that they were not compared."""
    sentences = []
    for fit in fits:
        parts = [words for part, words in UNNAMED.items() if not offers(fit, part)]
        if parts:
            sentences.append(f"{fit.engine.name} does not say {', '.join(parts)}")
    return "; ".join(sentences)


def completed(fit: Fit, other: Fit) -> Fit:
    """Return a fit with the missing parts of its model taken from the other fit.

    The parts that both offer must be the same.
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
        model=model, fitted=_on(fit.fitted, model.rows), residuals=_on(fit.residuals, model.rows)
    )


def _on(column: pd.Series, rows: pd.Index) -> pd.Series:
    """Return a column, shape (n,), with these rows as its index; NaN if its length differs."""
    values = column.to_numpy() if len(column) == len(rows) else np.full(len(rows), np.nan)
    return pd.Series(values, index=rows, name=column.name)
