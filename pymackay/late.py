"""What is imported late: `LateMethod`, whose code lives in a module above its class; and `tf`.

`tf` is TensorFlow, imported when one of its names is first used, without lines on stderr: reading
a saved fit, predicting and making tables do not need it, and importing it takes seconds. `special`
is ``scipy.special``, which reading a recording does without.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
KNOWS_GENERAL = "knows_generalised_models"  # attribute of functions that take such fits
KNOWS_RESIDUAL = "knows_residual_structures"  # likewise


class LateMethod:
    """A method that is a function of another module, imported when the method is first used.

    With it, a class of a low layer has methods of higher layers without importing them. A fit of a
    generalised model has those only whose function says that it knows such fits
    (`pymackay.infer.kinds`); the others are refused, so that none returns a linear model's number.

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
        if getattr(instance, "general", None) is not None and not hasattr(function, KNOWS_GENERAL):
            return partial(_refuse, self.name)
        structured = getattr(instance, "residual_covariance", None) is not None
        if structured and not hasattr(function, KNOWS_RESIDUAL):
            return partial(_refuse_residual, self.name)
        bound = partial(function, instance)
        bound.__doc__ = function.__doc__
        return bound


def _refuse(name: str, *args: Any, **kwargs: Any) -> None:
    errors = importlib.import_module("pymackay.errors")
    raise errors.PymackayError(
        f"{name} is not available for generalised linear mixed models. Fit a linear model with "
        f"pymackay.lmer, or use what is there: predict, simulate, coefficients, confint, anova, "
        f"residuals_of, tidy, glance, augment."
    )


def _refuse_residual(name: str, *args: Any, **kwargs: Any) -> None:
    raise residual_refusal(name)


def residual_refusal(name: str, cure: str = "") -> Exception:
    """Return the error of what does not know covariance structures of residuals."""
    errors = importlib.import_module("pymackay.errors")
    cure = cure or (
        "Use what is there: predict, simulate, refit, coefficients, confint, profile, bootstrap, "
        "influence, power, anova, contrast, emmeans, residuals_of, tidy, glance, summary, etable; "
        "or fit without residual="
    )
    error: Exception = errors.PymackayError(
        f"{name} is not available for models with a residual structure. {cure.rstrip('.')}."
    )
    return error


class _LateModule:
    """Stands for a module; a name that was used is kept, so that it is looked up once."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by tools that inspect objects
            raise AttributeError(name)
        value = getattr(self._load(), name)
        setattr(self, name, value)
        return value


def load_tensorflow() -> Any:
    """Import TensorFlow; it writes nothing unless the user's own setting asks for messages."""
    if "tensorflow" in sys.modules or os.environ.setdefault(_LEVEL, "3") == "0":
        return importlib.import_module("tensorflow")
    with _silence():
        return importlib.import_module("tensorflow")


tf: Any = _LateModule(load_tensorflow)
special: Any = _LateModule(partial(importlib.import_module, "scipy.special"))


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
