"""rpy2, imported when R is first asked for, and what it has to say of the R that it runs."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from typing import Any

from pymackay.errors import RUnavailableError

GET_R = (
    "To get R and lme4 run r_reference/install_r.sh from pymackay's repository; to get the bridge "
    "run: pip install 'pymackay[r]'. Without R, answers come from recordings: on a machine that "
    "has R, make one with: python -m pymackay.reference.record"
)

# how the names of variables begin that are R's own, or tell packages of R who runs whom
_OF_R = ("R_", "_R_", "PYTHON_SESSION_INITIALIZED")


def load_rpy2() -> Any:
    """Import ``rpy2.rinterface``, which finds R and does not start it yet.

    Raises
    ------
    RUnavailableError
        If rpy2 or R is missing; the message says which, and the cure.
    """
    # rpy2 logs that its compiled mode is not there before it takes the other one
    logger = logging.getLogger("rpy2.rinterface_lib.openrlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return rinterface()
    except ModuleNotFoundError as error:
        raise RUnavailableError(f"rpy2 is not installed ({error}). {GET_R}") from None
    except Exception as error:  # rpy2 raises many kinds when R is not there
        raise RUnavailableError(f"rpy2 finds no R ({error}). {GET_R}") from None
    finally:
        logger.setLevel(level)


def start_r() -> Any:
    """Start R, unless it runs already, and return ``rpy2.rinterface``.

    What starting it has put into the environment for R alone stays there. The rest becomes what it
    was: with R's ``LD_LIBRARY_PATH`` a Python that we start may load the library of another Python.
    What is loaded into this process later is found without it, because the system reads it once,
    when a process begins.

    Raises
    ------
    RUnavailableError
        If rpy2 or R is missing.
    """
    interface = load_rpy2()
    before = dict(os.environ)
    with warnings.catch_warnings():
        # rpy2 warns that R is not in the main thread; Ctrl-C is taken care of by `RSession`
        warnings.simplefilter("ignore")
        interface.initr()
    for name in [name for name in os.environ if not name.startswith(_OF_R)]:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    return interface


def rinterface() -> Any:
    """Return the module ``rpy2.rinterface``."""
    return importlib.import_module("rpy2.rinterface")


def r_library() -> Any:
    """Return R's shared library, with its global variables."""
    return importlib.import_module("rpy2.rinterface_lib.openrlib").rlib


def r_lock() -> Any:
    """Return the lock which whoever else uses rpy2 in this process also takes."""
    return importlib.import_module("rpy2.rinterface_lib.openrlib").rlock


def robject(value: Any) -> Any:
    """Return an S4 object in the form in which rpy2 hands such objects to its users."""
    return importlib.import_module("rpy2.robjects.methods").RS4(value)


def started_by_r() -> bool:
    """Whether R runs this Python, as reticulate has it, and says so in the environment."""
    said = os.environ.get("R_SESSION_INITIALIZED", "").split(":")
    return f"PID={os.getpid()}" in said


def r_calls_us() -> bool:
    """Whether this thread is inside a call from R, where waiting for R would wait for ever."""
    openrlib = sys.modules.get("rpy2.rinterface_lib.openrlib")
    return openrlib is not None and bool(openrlib.rlock._is_owned())
