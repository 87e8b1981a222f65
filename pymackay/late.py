"""`LateMethod`: a method whose code lives in a module above its class."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any


class LateMethod:
    """A method that is a function of another module, imported when the method is first used.

    So a class of a low layer has the methods that users expect of it, and imports nothing above.

    Parameters
    ----------
    module, name : str
        The home of a function whose first argument is the instance.

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
        """Return the function, bound to an instance where there is one."""
        function = getattr(importlib.import_module(self.module), self.name)
        if instance is None:
            return function
        bound = partial(function, instance)
        bound.__doc__ = function.__doc__
        return bound
