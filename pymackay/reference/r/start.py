"""Starting R: what it needs is looked for, and what it changes in the process is put back."""

from __future__ import annotations

import contextlib
import importlib
import locale
import logging
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymackay._resources import r_reference_path
from pymackay.errors import RUnavailableError, RWarning
from pymackay.reference.r.bridge import GET_R, rinterface

# how the names of variables begin that are R's own, or tell packages of R who runs whom
_OF_R = ("R_", "_R_", "PYTHON_SESSION_INITIALIZED")
_LOCALES = ("LC_CTYPE", "LC_COLLATE", "LC_MONETARY", "LC_TIME", "LC_MESSAGES", "LC_NUMERIC")


def why_no_home(home: str | None) -> str:
    """Say why a folder cannot be R's home; empty if it can, or if none is given.

    R ends the whole process when it does not find its base package.
    """
    if not home or (Path(home) / "library" / "base").is_dir():
        return ""
    return (
        f"R_HOME={home} is not R's home: it has no library/base. Unset R_HOME, or set it to what "
        "`R RHOME` prints."
    )


def start_r() -> Any:
    """Start R, unless it runs already, and return ``rpy2.rinterface``.

    What starting it has put into the environment for R alone stays there. The rest becomes what it
    was: environment, locale, time zone, working directory. With R's ``LD_LIBRARY_PATH`` a Python
    that we start may load the library of another Python. What is loaded into this process later is
    found without it, because the system reads it once, when a process begins.

    Raises
    ------
    RUnavailableError
        If rpy2 or R is missing, or R_HOME is not R's home.
    """
    problem = why_no_home(os.environ.get("R_HOME"))
    if problem:
        raise RUnavailableError(problem)
    with _process_put_back(), profile_set_aside() as profile:
        interface = _load_rpy2()
        embedded = interface.embedded
        ours = not (embedded.isinitialized() or embedded.is_r_externally_initialized())
        with warnings.catch_warnings():
            # rpy2 warns that R is not in the main thread; Ctrl-C is taken care of by `RSession`
            warnings.simplefilter("ignore")
            interface.initr()
        if ours:
            _read_profile(interface, profile)
    return interface


def _load_rpy2() -> Any:
    """Import ``rpy2.rinterface``, which finds R and does not start it yet."""
    # rpy2 logs that its compiled mode is not there before it takes the other one
    logger = logging.getLogger("rpy2.rinterface_lib.openrlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        interface = rinterface()
        home = importlib.import_module("rpy2.rinterface_lib.openrlib").R_HOME
    except ModuleNotFoundError as error:
        raise RUnavailableError(f"rpy2 is not installed ({error}). {GET_R}") from None
    except Exception as error:  # rpy2 raises many kinds when R is not there
        raise RUnavailableError(f"rpy2 finds no R ({error}). {GET_R}") from None
    finally:
        logger.setLevel(level)
    if why_no_home(home):
        raise RUnavailableError(f"`R RHOME` prints {home}, which has no library/base. {GET_R}")
    return interface


@contextlib.contextmanager
def _process_put_back() -> Iterator[None]:
    """Put environment (but for R's own part), locale, time zone and directory back at the end."""
    environment = dict(os.environ)
    numbers = [getattr(locale, name) for name in _LOCALES if hasattr(locale, name)]
    places = {number: locale.setlocale(number) for number in numbers}
    directory = None
    with contextlib.suppress(FileNotFoundError):  # it may have been removed
        directory = os.getcwd()
    try:
        yield
    finally:
        for name in [name for name in os.environ if not name.startswith(_OF_R)]:
            if name in environment:
                os.environ[name] = environment[name]
            else:
                del os.environ[name]
        for number, place in places.items():
            locale.setlocale(number, place)
        if directory is not None:
            os.chdir(directory)
        if hasattr(time, "tzset"):  # not on Windows
            time.tzset()


@contextlib.contextmanager
def profile_set_aside() -> Iterator[Path | None]:
    """Keep R from reading the user's start-up file, and yield where it is.

    R, and each R that rpy2 starts to learn about it, would read the file. One that stops would end
    R's start halfway; what one prints would appear on our output several times.
    """
    variable = "R_PROFILE_USER"
    given = os.environ.get(variable)
    places = [given] if given is not None else [".Rprofile", os.path.expanduser("~/.Rprofile")]
    os.environ[variable] = ""
    try:
        yield next((Path(place).absolute() for place in places if os.path.isfile(place)), None)
    finally:
        del os.environ[variable]
        if given is not None:
            os.environ[variable] = given


def _read_profile(interface: Any, profile: Path | None) -> None:
    """Have R read the user's start-up file, and show Python the environment that R has then."""
    base, text = interface.baseenv, interface.StrSexpVector
    functions = base["new.env"](parent=base)
    base["sys.source"](text([str(r_reference_path("profile.R"))]), functions)
    if profile is not None:
        (stopped,) = functions["read_profile"](text([str(profile)]))
        if stopped:
            warnings.warn(
                f"{profile} stops: {' '.join(stopped.split())} R goes on without the rest of it.",
                RWarning,
                stacklevel=2,
            )
    variables = base["Sys.getenv"]()
    os.environ.update(zip(base["names"](variables), variables, strict=True))
