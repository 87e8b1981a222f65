"""Access to rpy2, which is imported when R is first needed."""

from __future__ import annotations

import importlib
import sys
from typing import Any

GET_R = (
    "In a checkout of pymackay's repository, r_reference/install_r.sh installs R and lme4, and "
    "pip install '.[r]' the bridge rpy2. Without R, answers come from recordings: on a machine "
    "that has R, make one with: python -m pymackay.reference.record"
)


def rinterface() -> Any:
    """Return the module ``rpy2.rinterface``."""
    return importlib.import_module("rpy2.rinterface")


def r_library() -> Any:
    """Return R's shared library, with its global variables."""
    return importlib.import_module("rpy2.rinterface_lib.openrlib").rlib


def r_lock() -> Any:
    """Return rpy2's lock, which all users of rpy2 in this process take."""
    return importlib.import_module("rpy2.rinterface_lib.openrlib").rlock


def robject(value: Any) -> Any:
    """Return an S4 object as an object of ``rpy2.robjects``.

    It must be called in the thread of the user: rpy2 has its conversion rules only in the context
    in which ``rpy2.robjects`` was first imported.
    """
    with r_lock():
        robjects = importlib.import_module("rpy2.robjects")
        conversion = robjects.conversion
        if conversion.get_conversion() is conversion.missingconverter:
            conversion.set_conversion(robjects.default_converter)
        return robjects.methods.RS4(value)


def r_calls_us() -> bool:
    """Whether this thread is inside a call from R; waiting for R would then be a deadlock."""
    openrlib = sys.modules.get("rpy2.rinterface_lib.openrlib")
    return openrlib is not None and bool(openrlib.rlock._is_owned())
