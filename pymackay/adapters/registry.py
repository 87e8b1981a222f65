"""`as_fit` converts a result, `fit_with` fits with an engine, `register` adds an engine."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from pymackay.adapters import r
from pymackay.adapters.engine import Context, Converter, Engine, Kind
from pymackay.adapters.parts import fit_from_parts
from pymackay.errors import ArgumentError
from pymackay.results import Fit

_FOLDER = "pymackay.adapters.engines"
_registered: list[Engine] = []


def engines() -> list[Engine]:
    """Return all engines: registered ones, the latest first; the folder ``engines``; R."""
    files = pkgutil.iter_modules(importlib.import_module(_FOLDER).__path__)
    modules = [importlib.import_module(f"{_FOLDER}.{file.name}") for file in files]
    return [*_registered, *(module.ENGINE for module in modules), r.ENGINE]


def as_fit(
    obj: Any,
    formula: str | None = None,
    data: pd.DataFrame | None = None,
    *,
    reml: bool | None = None,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
) -> Fit:
    """Return any engine's result as a `Fit`.

    Parameters
    ----------
    obj : object
        A `Fit`; a result of statsmodels' ``MixedLM``, ``BinomialBayesMixedGLM`` or
        ``PoissonBayesMixedGLM``, of ``glmm``, ``mixedlm`` or ``lme-python``; a ``GPModel`` of
        ``gpboost`` with grouped random effects;
        an R merMod object in rpy2; a mapping with the keys of `pymackay.adapters.PARTS`; or a
        result of a registered engine.
    formula : str, optional
        The model's formula in lme4. With it and `data`, the engine's columns, levels and rows get
        R's names; they are matched by their values.
    data : pandas.DataFrame, optional
        The data that the model was fitted to.
    reml : bool, optional
        The criterion, for a result that does not contain it.
    weights, offset, subset, contrasts : optional
        As in `pymackay.lmer`; with formula and data they define the model for R's names.

    Returns
    -------
    Fit
        Quantities that the engine does not offer are listed in ``not_offered``.

    Raises
    ------
    ArgumentError
        If there is no adapter for `obj`, or a mapping has wrong keys or shapes.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.adapters.as_fit({"beta": {"(Intercept)": 1.0}, "sigma": 2.0}, "y ~ 1 + (1 | g)")
    >>> fit.sigma, sorted(fit.not_offered)[:3]
    (2.0, ['condvar', 'criterion', 'dropped'])
    """
    if isinstance(obj, Fit):
        return obj
    context = Context(formula, data, reml, weights, offset, subset, contrasts)
    result = _reader(obj)(obj, context)
    return result if isinstance(result, Fit) else fit_from_parts(result, context)


def fit_with(
    engine: str,
    formula: str,
    data: pd.DataFrame,
    *,
    reml: bool = True,
    weights: Any = None,
    offset: Any = None,
) -> Any:
    """Fit a formula with another package, and return its result, for `as_fit`.

    Parameters
    ----------
    engine : str
        Name of an engine that can fit.
    formula, data, reml, weights, offset
        As in `pymackay.lmer`.

    Raises
    ------
    ArgumentError
        If the engine is unknown or not installed, or cannot fit such a model.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit_with("nobody", "y ~ 1 + (1 | g)", pm.load_data("Rail"))
    Traceback (most recent call last):
        ...
    pymackay.errors.ArgumentError: engine: glmm, lme-python, mixedlm or statsmodels is ...
    """
    fitting = {one.name: one.fits for one in engines() if one.fits is not None}
    fits = fitting.get(engine)
    if fits is None:
        *first, last = fitting
        raise ArgumentError(f"engine: {', '.join(first)} or {last} is expected, not {engine!r}.")
    try:
        return fits(formula, data, reml, _numbers(weights, data), _numbers(offset, data))
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"engine: {engine} is not installed (no module {error.name}). Run: pip install {engine}"
        ) from None


def _numbers(value: Any, data: pd.DataFrame) -> np.ndarray | None:
    """Return weights or an offset, which may be a column's name, as an array, shape (n,)."""
    if value is None:
        return None
    return np.asarray(data[value] if isinstance(value, str) else value, dtype=np.float64)


def register(kind: Kind | Engine, converter: Converter | None = None) -> None:
    """Add an engine whose results `as_fit` can convert.

    Parameters
    ----------
    kind : type, callable or Engine
        The class of the results, or a function that returns whether an object is a result. The
        latest registered engine is tried first, and the package's own engines last. An `Engine`
        needs no converter; if it can fit, `fit_with` and the command line know it too.
    converter : callable, unless `kind` is an Engine
        Takes the object and a `Context`; returns a `Fit`, or a mapping with the keys of
        `pymackay.adapters.PARTS`, of which only ``"beta"`` is required.

    Raises
    ------
    ArgumentError
        If `kind` or `converter` is not callable.

    Examples
    --------
    >>> import pymackay as pm
    >>> class Answer:
    ...     means = {"(Intercept)": 1.0}
    >>> pm.adapters.register(Answer, lambda obj, context: {"beta": obj.means})
    >>> pm.adapters.as_fit(Answer(), "y ~ 1 + (1 | g)").beta.to_dict()
    {'(Intercept)': 1.0}
    """
    if isinstance(kind, Engine):
        _registered.insert(0, kind)
        return
    for name, value in (("kind", kind), ("converter", converter)):
        if not callable(value):
            raise ArgumentError(
                f"{name}: a {'class or a ' if name == 'kind' else ''}function is expected, "
                f"not {type(value).__name__}."
            )
    name = getattr(kind, "__name__", "registered")
    _registered.insert(0, Engine(name, kind, cast(Converter, converter)))


def _reader(obj: Any) -> Converter:
    for engine in engines():
        if engine.made(obj):
            return engine.reads
    if isinstance(obj, Mapping):
        return lambda parts, _: parts
    names = ", ".join(engine.name for engine in engines())
    raise ArgumentError(
        f"obj: no adapter for {type(obj).__module__}.{type(obj).__qualname__}. Give a Fit, a "
        f"result of {names}, a dict with the keys of pymackay.adapters.PARTS, or register an "
        f"adapter with pymackay.adapters.register."
    )
