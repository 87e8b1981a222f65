"""Starts R, after checks of its home, and restores what the start changes in the process."""

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

# prefixes of environment variables that R sets for itself or for its packages
_OF_R = ("R_", "_R_", "PYTHON_SESSION_INITIALIZED")
_LOCALES = ("LC_CTYPE", "LC_COLLATE", "LC_MONETARY", "LC_TIME", "LC_MESSAGES", "LC_NUMERIC")


def why_no_home(home: str | None) -> str:
    """Return why a folder cannot be R's home; empty if it can be, or if none is given.

    The check is needed because R ends the whole process if it does not find its base package.
    """
    if not home or (Path(home) / "library" / "base").is_dir():
        return ""
    return (
        f"R_HOME={home} is not R's home: it has no library/base. Unset R_HOME, or set it to what "
        "`R RHOME` prints."
    )


def start_r() -> Any:
    """Start R, unless it runs already, and return ``rpy2.rinterface``.

    Environment variables that only R uses keep their new values; the rest of the environment,
    locale, time zone and working directory are restored. ``LD_LIBRARY_PATH`` must be restored
    because with R's value a Python that we start may load the library of another Python. R does
    not need it any more: the system reads it only when a process begins.

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
            # rpy2 warns that R is not in the main thread; `RSession` handles Ctrl-C
            warnings.simplefilter("ignore")
            interface.initr()
        if ours:
            _read_profile(interface, profile)
    return interface


def _load_rpy2() -> Any:
    """Import ``rpy2.rinterface``, which finds R but does not start it."""
    # rpy2 logs an error if its compiled mode is missing, although it then uses the other one
    logger = logging.getLogger("rpy2.rinterface_lib.openrlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        interface = rinterface()
        home = importlib.import_module("rpy2.rinterface_lib.openrlib").R_HOME
    except ModuleNotFoundError as error:
        raise RUnavailableError(f"rpy2 is not installed ({error}). {GET_R}") from None
    except Exception as error:  # rpy2 raises errors of many types if R is missing
        raise RUnavailableError(f"rpy2 finds no R ({error}). {GET_R}") from None
    finally:
        logger.setLevel(level)
    if not home:  # compiled, rpy2 is linked with R's library and loads without it
        raise RUnavailableError(f"rpy2 finds no R: R_HOME is not set, and no R in PATH. {GET_R}")
    if why_no_home(home):
        raise RUnavailableError(f"`R RHOME` prints {home}, which has no library/base. {GET_R}")
    return interface


@contextlib.contextmanager
def _process_put_back() -> Iterator[None]:
    """Restore environment (except R's variables), locale, time zone and directory at the end."""
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
    """Prevent R from reading the user's start-up file, and yield the path of that file.

    R, and each R process that rpy2 starts to query it, would read the file. An error in it would
    end R's start, and its output would be printed several times.
    """
    variable = "R_PROFILE_USER"
    before = os.environ.get(variable)
    places = [before] if before is not None else [".Rprofile", os.path.expanduser("~/.Rprofile")]
    os.environ[variable] = ""
    try:
        yield next((Path(place).absolute() for place in places if os.path.isfile(place)), None)
    finally:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def _read_profile(interface: Any, profile: Path | None) -> None:
    """Let R read the user's start-up file, and copy R's environment variables to Python."""
    base, text = interface.baseenv, interface.StrSexpVector
    functions = base["new.env"](parent=base)
    base["sys.source"](text([str(r_reference_path("profile.R"))]), functions)
    if profile is not None:
        (stopped,) = functions["read_profile"](text([str(profile)]))
        if stopped:
            warnings.warn(
                f"{profile} stops: {' '.join(stopped.split())} The rest of it is skipped.",
                RWarning,
                stacklevel=2,
            )
    variables = base["Sys.getenv"]()
    os.environ.update(zip(base["names"](variables), variables, strict=True))
