"""`Context`: what is known of a result besides itself: formula, data and arguments of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import PymackayError
from pymackay.model.design.build import build_model
from pymackay.model.model import Model

__all__ = ["Context"]


@dataclass(frozen=True, eq=False)
class Context:
    """The model that a result is meant to be, as the user describes it.

    An adapter uses it for names alone: a column, a level or a row of the engine gets R's name when
    it holds the same values. Nothing is copied from it that the engine has not shown to have.

    Attributes
    ----------
    formula : str or None
    data : pandas.DataFrame or None
    reml : bool or None
    weights, offset, subset, contrasts
        As in `pymackay.lmer`.
    """

    formula: str | None = None
    data: pd.DataFrame | None = None
    reml: bool | None = None
    weights: Any = None
    offset: Any = None
    subset: Any = None
    contrasts: Mapping[str, Any] | None = None

    @cached_property
    def model(self) -> Model | None:
        """The arrays of the model, with R's names; None where they cannot be had.

        A formula that this package does not understand may still be one that R does; the names
        are then taken as the engine spells them.
        """
        if self.formula is None or self.data is None:
            return None
        try:
            return build_model(
                self.formula,
                self.data,
                weights=self.weights,
                offset=self.offset,
                subset=self.subset,
                contrasts=self.contrasts,
            )
        except PymackayError:
            return None

    def has_response(self, y: np.ndarray) -> bool:
        """Whether `y` is the response of this model, row by row."""
        if self.model is None or self.model.y.shape != y.shape:
            return False
        scale = float(np.max(np.abs(self.model.y), initial=0.0))
        return bool(np.all(np.abs(self.model.y - y) <= 1e-9 * scale))
