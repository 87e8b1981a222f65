"""Files that are there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pymackay.errors import ArgumentError

__all__ = ["sums_path", "write_arrays", "write_whole"]


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


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays beside `path` and move them there when all are on the disk."""
    passing = path.with_name(path.name + ".part")
    try:
        with open(passing, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(passing, path)
    except OSError:
        passing.unlink(missing_ok=True)
        raise


def sums_path(checkpoint: str | os.PathLike[str]) -> Path:
    """Return where the sums stand that belong to a checkpoint."""
    path = Path(checkpoint)
    return path.with_name(path.name + ".sums")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
