"""`theta_values`: the covariance parameters that a user gives, in the model's order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import layouts_of, par_names, theta_names, theta_of_par
from pymackay.errors import ArgumentError
from pymackay.model.model import Model

ArrayLike = Any


def start_values(start: ArrayLike, model: Model) -> np.ndarray:
    """Return theta in the model's order, (m,), from theta or, with structures, from `Fit.par`."""
    names = par_names(model.terms)
    layouts = layouts_of(model.terms)
    if all(layout.structure is None for layout in layouts):
        return theta_values(start, model)
    named = isinstance(start, pd.Series) and list(start.index) == names
    if not named and (isinstance(start, pd.Series) or len(start) != len(names)):
        return theta_values(start, model)
    return theta_of_par(layouts, np.asarray(start, dtype=np.float64))


def theta_values(theta: ArrayLike, model: Model) -> np.ndarray:
    """Return theta in the model's order, shape (m,); a Series must have the model's names."""
    names = theta_names(model.terms)
    if isinstance(theta, pd.Series) and not isinstance(theta.index, pd.RangeIndex):
        if list(theta.index) == names:
            return theta.to_numpy(np.float64)
        if len(set(names)) == len(names) and set(theta.index) == set(names):
            return theta[names].to_numpy(np.float64)
        raise ArgumentError(
            f"theta is named {list(theta.index)}, but the model's parameters are {names}."
        )
    try:
        return np.asarray(theta, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"theta must be {len(names)} numbers ({', '.join(names)}), but it is {theta!r}."
        ) from error
