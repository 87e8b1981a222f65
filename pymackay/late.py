"""What is imported late: `LateMethod`, whose code lives in a module above its class; and `tf`.

`by_kind` gives fits of generalised models a function of their own, or refuses them.

`tf` is TensorFlow, imported when one of its names is first used, without lines on stderr: reading
a saved fit, predicting and making tables do not need it, and importing it takes seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from pymackay.errors import PymackayError

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


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

        return chosen

    return decorate


def _is_general(value: object) -> bool:
    return getattr(value, "general", None) is not None


class _LateTensorFlow:
    """Stands for the module; a name that was used is kept, so that it is looked up once."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by tools that inspect objects
            raise AttributeError(name)
        value = getattr(load_tensorflow(), name)
        setattr(self, name, value)
        return value


tf: Any = _LateTensorFlow()


def load_tensorflow() -> Any:
    """Import TensorFlow; it writes nothing unless the user's own setting asks for messages."""
    if "tensorflow" in sys.modules or os.environ.setdefault(_LEVEL, "3") == "0":
        return importlib.import_module("tensorflow")
    with _silence():
        return importlib.import_module("tensorflow")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Send file descriptor 2 nowhere: TensorFlow writes to it before it reads its log level."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
