"""`write_whole`: a file that is there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pymackay.errors import ArgumentError

__all__ = ["write_whole"]


def write_whole(path: str | Path, text: str) -> None:
    """Write text under a temporary name beside `path`, and move it there when it is complete.

    Parameters
    ----------
    path : path-like
        A folder that is missing is not made.
    text : str

    Raises
    ------
    ArgumentError
        If the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_text(text, encoding="utf-8")  # /dev/stdout must not be replaced
            return
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise ArgumentError(
            f"path: {path} cannot be written ({error.strerror}); give a file in a folder that "
            f"exists and that you may write to."
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
