"""`by_kind` and `any_kind`: what functions of fits do with those of generalised models."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pymackay.errors import PymackayError
from pymackay.late import KNOWS_GENERAL

P = ParamSpec("P")
T = TypeVar("T")


def by_kind(general: str = "", *, cure: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function of fits of linear models: what happens to those of generalised ones.

    Parameters
    ----------
    general : str
        Home of the function that they go to, ``"module:function"``; empty if there is none, and
        they are refused.
    cure : str
        What to do instead, a sentence for the error message.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    PymackayError
        When the function is called with a fit of a generalised model and there is none for it.

    Examples
    --------
    >>> @by_kind(cure="Fit a linear model.")
    ... def slope(fit):
    ...     return 1.0
    >>> slope(None)
    1.0
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def chosen(*args: P.args, **kwargs: P.kwargs) -> T:
            if not any(_is_general(value) for value in (*args, *kwargs.values())):
                return function(*args, **kwargs)
            if not general:
                raise PymackayError(
                    f"{function.__name__} is not there for generalised linear mixed models. {cure}"
                )
            module, name = general.split(":")
            answer: T = getattr(importlib.import_module(module), name)(*args, **kwargs)
            return answer

        return any_kind(chosen)

    return decorate


def any_kind(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that does the same with fits of linear and of generalised models."""
    setattr(function, KNOWS_GENERAL, True)
    return function


def _is_general(value: object) -> bool:
    return getattr(value, "general", None) is not None
