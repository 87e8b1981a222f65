"""`LateMethod`: a method that is defined in a module of a higher layer than its class."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any


class LateMethod:
    """A method that is a function of another module, imported when the method is first used.

    With it, a class of a low layer has methods of higher layers without importing them.

    Parameters
    ----------
    module, name : str
        Module and name of a function whose first argument is the instance.

    Examples
    --------
    >>> class Angle(float):
    ...     sine = LateMethod("math", "sin")
    >>> Angle(0.0).sine()
    0.0
    """

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __get__(self, instance: object | None, owner: type) -> Callable[..., Any]:
        """Return the function, bound to the instance if there is one."""
        function = getattr(importlib.import_module(self.module), self.name)
        if instance is None:
            return function
        bound = partial(function, instance)
        bound.__doc__ = function.__doc__
        return bound
