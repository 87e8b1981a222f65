"""`Engine`: recognises, reads and makes results of another package; `Context`: their model."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import PymackayError, PymackayWarning
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import build_model
from pymackay.model.design.general import build_general
from pymackay.model.model import Model
from pymackay.results import Fit


@dataclass(frozen=True, eq=False)
class Context:
    """The user's description of the model that a result belongs to.

    An adapter uses it only for names: a column, a level or a row of the engine gets R's name if
    it has the same values. No other information is copied from it to the fit.

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
        """The arrays of the model, with R's names; None if they cannot be built.

        This package may not support a formula that R supports. Then the engine's names are kept. A
        response that only generalised models have, such as ``cbind``, is read as theirs.
        """
        if self.formula is None or self.data is None:
            return None
        given = (self.weights, self.offset, self.subset, self.contrasts)
        with contextlib.suppress(PymackayError):
            names = ("weights", "offset", "subset", "contrasts")
            return build_model(self.formula, self.data, **dict(zip(names, given, strict=True)))
        for support in ("binomial", "real"):
            with contextlib.suppress(PymackayError), warnings.catch_warnings():
                warnings.simplefilter("ignore", PymackayWarning)
                table = Table(self.data)
                return build_general(self.formula, table, Arguments(*given), support).model
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

    To add an engine, write a file in ``pymackay/adapters/engines/`` that defines one as `ENGINE`.
    The file is named after the engine, with ``_`` for ``-``.

    Attributes
    ----------
    name : str
    kind : type or callable
        The class of its results, or a function that returns whether an object is a result.
    reads : callable
        Takes a result and a `Context`; returns a `Fit`, or a mapping with the keys of
        `pymackay.adapters.PARTS`.
    fits : callable or None
        Takes formula, data, reml, weights and offset (arrays or None); returns a result, fitted
        as users of the package would do it.
    """

    name: str
    kind: Kind
    reads: Converter
    fits: Callable[[str, pd.DataFrame, bool, Any, Any], Any] | None = None

    def made(self, obj: Any) -> bool:
        """Return whether an object is a result of this engine."""
        return isinstance(obj, self.kind) if isinstance(self.kind, type) else self.kind(obj)


def defined_in(package: str, compiled: Container[str] = ()) -> Callable[[Any], bool]:
    """Return a function that checks whether a package defines an object's class or a base of it.

    Parameters
    ----------
    package : str
        Name under which the package is imported.
    compiled : container of str
        Names of its compiled classes whose module is ``builtins``.
    """

    def is_defined(obj: Any) -> bool:
        return any(
            base.__module__.partition(".")[0] == package
            or (base.__module__ == "builtins" and base.__name__ in compiled)
            for base in type(obj).__mro__
        )

    return is_defined
