"""`as_fit` reads any result, `fit_with` asks an engine for one, `register` adds an engine."""

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
    """Return those registered, last first; then those of the folder ``engines``, and R."""
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
        A `Fit`; a result of statsmodels' ``MixedLM``, of ``glmm``, ``mixedlm`` or ``lme-python``;
        an R merMod object held by rpy2; a mapping with the keys of `pymackay.adapters.PARTS`; or
        anything that has been registered.
    formula : str, optional
        The model as lme4 would have it. With it and `data`, columns, levels and rows of the engine
        get R's names by what they hold, however the engine spells them.
    data : pandas.DataFrame, optional
        What the model was fitted to.
    reml : bool, optional
        For a result that does not say itself by what criterion it was fitted.
    weights, offset, subset, contrasts : optional
        As in `pymackay.lmer`: part of the model that names are taken from.

    Returns
    -------
    Fit
        What the engine does not offer is listed in ``not_offered``; a comparison shows it so.

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
    """Return what another package makes of a formula: its own result, for `as_fit`.

    Parameters
    ----------
    engine : str
        Name of one of `engines` that fits.
    formula, data, reml, weights, offset
        As in `pymackay.lmer`.

    Raises
    ------
    ArgumentError
        If the engine is unknown or not installed, or has no way to fit such a model.

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
    """Return weights or an offset, a column's name or numbers, as an array."""
    if value is None:
        return None
    return np.asarray(data[value] if isinstance(value, str) else value, dtype=np.float64)


def register(kind: Kind | Engine, converter: Converter | None = None) -> None:
    """Teach `as_fit` another kind of result.

    Parameters
    ----------
    kind : type, callable or Engine
        The class of the results, or a function that tells whether an object is one. What was
        registered last is asked first, before the adapters that come along. An `Engine` says all
        by itself; one that fits is known to `fit_with` and to the command line, too.
    converter : callable, unless `kind` is an Engine
        Takes the object and a `Context`; returns a `Fit`, or a mapping with the keys of
        `pymackay.adapters.PARTS`, of which ``"beta"`` alone is needed.

    Raises
    ------
    ArgumentError
        If either cannot be called.

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
