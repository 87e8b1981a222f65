"""`by_kind` and `any_kind`: what functions of fits do with those of other kinds of models.

These are generalised models, and linear ones with a covariance structure of the residuals.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pymackay.errors import PymackayError
from pymackay.late import KNOWS_GENERAL, KNOWS_RESIDUAL, residual_refusal

P = ParamSpec("P")
T = TypeVar("T")


SAME = "same"  # the function itself knows fits with residual structures


def by_kind(
    general: str = "", *, cure: str = "", residual: str = ""
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function of fits of linear models: what happens to those of other kinds.

    Parameters
    ----------
    general : str
        Home of the function that they go to, ``"module:function"``; empty if there is none, and
        they are refused.
    cure : str
        What to do instead, a sentence for the error message.
    residual : str
        Home of the function for fits with a residual structure, or ``"same"`` where the function
        itself knows them; empty if they are refused.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    PymackayError
        When the function is called with a fit of another kind and there is none for it.

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
            values = (*args, *kwargs.values())
            home = ""
            if any(_is_general(value) for value in values):
                home = general
                if not general:
                    raise PymackayError(
                        f"{function.__name__} is not available for generalised linear mixed "
                        f"models. {cure}"
                    )
            elif any(_has_residual_structure(value) for value in values):
                home = residual
                if not residual:
                    raise residual_refusal(function.__name__)
            if home in ("", SAME):
                return function(*args, **kwargs)
            module, name = home.split(":")
            answer: T = getattr(importlib.import_module(module), name)(*args, **kwargs)
            return answer

        return any_kind(chosen)

    return decorate


def any_kind(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that does the same with fits of all kinds of models."""
    setattr(function, KNOWS_GENERAL, True)
    setattr(function, KNOWS_RESIDUAL, True)
    return function


def _is_general(value: object) -> bool:
    return getattr(value, "general", None) is not None


def _has_residual_structure(value: object) -> bool:
    return getattr(value, "residual_covariance", None) is not None
