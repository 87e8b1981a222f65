"""`Engine`: how results of another package are told, read and made; `Context`: their model."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import PymackayError
from pymackay.model.design.build import build_model
from pymackay.model.model import Model
from pymackay.results import Fit


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


Kind = type | Callable[[Any], bool]
Converter = Callable[[Any, Context], "Fit | Mapping[str, Any]"]


@dataclass(frozen=True, eq=False)
class Engine:
    """Another package that fits mixed models.

    A file in ``pymackay/adapters/engines/`` that has one as `ENGINE` is all that an engine needs;
    the file's name is the engine's, ``_`` for ``-``.

    Attributes
    ----------
    name : str
    kind : type or callable
        The class of its results, or a function that tells whether an object is one.
    reads : callable
        Takes a result and a `Context`; returns a `Fit`, or a mapping with the keys of
        `pymackay.adapters.PARTS`.
    fits : callable or None
        Takes formula, data, reml, weights and offset (arrays or None); returns a result, made as
        the package's own users would make it.
    """

    name: str
    kind: Kind
    reads: Converter
    fits: Callable[[str, pd.DataFrame, bool, Any, Any], Any] | None = None

    def made(self, obj: Any) -> bool:
        """Say whether an object is a result of this engine."""
        return isinstance(obj, self.kind) if isinstance(self.kind, type) else self.kind(obj)


def defined_in(package: str, compiled: Container[str] = ()) -> Callable[[Any], bool]:
    """Return a function that tells whether an object's class, or a base of it, is a package's.

    Parameters
    ----------
    package : str
        Name of the package that is imported.
    compiled : container of str
        Names of its classes that are compiled and say that they are built in.
    """

    def tells(obj: Any) -> bool:
        return any(
            base.__module__.partition(".")[0] == package
            or (base.__module__ == "builtins" and base.__name__ in compiled)
            for base in type(obj).__mro__
        )

    return tells
