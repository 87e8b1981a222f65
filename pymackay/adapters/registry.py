"""`as_fit`: any engine's result as a `Fit`, by an adapter known here or registered by the user."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from pymackay.adapters.context import Context
from pymackay.adapters.parts import fit_from_parts
from pymackay.errors import ArgumentError
from pymackay.results import Fit

__all__ = ["as_fit", "register"]

Converter = Callable[[Any, Context], "Fit | Mapping[str, Any]"]
Kind = type | Callable[[Any], bool]

# the package that a result's class is defined in -> the module here that reads it
_HOMES = {
    "statsmodels": "pymackay.adapters.statsmodels",
    "glmm": "pymackay.adapters.glmm",
    "mixedlm": "pymackay.adapters.mixedlm",
    "lme_python": "pymackay.adapters.lme_python",
    "rpy2": "pymackay.adapters.r",
}
_BUILTINS = {"PyLmeFit": "pymackay.adapters.lme_python"}  # a compiled class names no package
_registered: list[tuple[Kind, Converter]] = []


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
    result = _converter(obj)(obj, context)
    return result if isinstance(result, Fit) else fit_from_parts(result, context)


def register(kind: Kind, converter: Converter) -> None:
    """Teach `as_fit` another kind of result.

    Parameters
    ----------
    kind : type or callable
        The class of the results, or a function that tells whether an object is one. What was
        registered last is asked first, before the adapters that come along.
    converter : callable
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
    for name, value in (("kind", kind), ("converter", converter)):
        if not callable(value):
            raise ArgumentError(
                f"{name}: a {'class or a ' if name == 'kind' else ''}function is expected, "
                f"not {type(value).__name__}."
            )
    _registered.insert(0, (kind, converter))


def _converter(obj: Any) -> Converter:
    for kind, converter in _registered:
        if isinstance(obj, kind) if isinstance(kind, type) else kind(obj):
            return converter
    for base in type(obj).__mro__:
        home = _HOMES.get(base.__module__.partition(".")[0])
        if base.__module__ == "builtins":
            home = _BUILTINS.get(base.__name__)
        if home is not None:
            adapter: Converter = importlib.import_module(home).convert
            return adapter
    if isinstance(obj, Mapping):
        return lambda parts, _: parts
    raise ArgumentError(
        f"obj: no adapter for {type(obj).__module__}.{type(obj).__qualname__}. Give a Fit, a "
        f"result of {', '.join(_HOMES)}, a dict with the keys of pymackay.adapters.PARTS, or "
        f"register an adapter with pymackay.adapters.register."
    )
