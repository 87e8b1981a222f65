"""`theta_values`: the covariance parameters that a user gives, in the model's order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import theta_names
from pymackay.errors import ArgumentError
from pymackay.model.model import Model

ArrayLike = Any


def theta_values(theta: ArrayLike, model: Model) -> np.ndarray:
    """Return theta in the model's order, shape (m,); a Series must have the model's names."""
    names = theta_names([(term.group, term.effects) for term in model.terms])
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
