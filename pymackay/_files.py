"""The one writer of files: each is there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from pymackay.errors import ArgumentError

try:
    import fcntl
except ImportError:  # Windows, which removes no file that somebody holds open
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".pymackay-", ".tmp"
_CURE = "give a file in a folder that exists and that you may write to"


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write text as `whole_file` does.

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
    with refused(f"path: {path}"), whole_file(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def refused(what: str, cure: str = _CURE) -> Iterator[None]:
    """Turn an operating system's refusal to write into an `ArgumentError`.

    Parameters
    ----------
    what : str
        The argument and its value, which the message begins with.
    cure : str
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ArgumentError(f"{what} cannot be written ({reason}); {cure}.") from error


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place when the block has ended without an error.

    It is written beside the file under a temporary name, brought to the disk, and moved. Behind a
    symbolic link that is beside the link's target, and the link stays. A device, a pipe and what
    this process has open as its output are written in place. A writer that is killed leaves its
    temporary file, which the next one in that folder removes.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    in_place = _in_place(path)
    if in_place is not None:
        with open(in_place, "wb") as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    _remove_abandoned(target.parent)
    file = _temporary(target.parent)
    try:
        with file:
            yield file
            file.flush()
            _keep_mode(target, file)
            os.fsync(file.fileno())
            if fcntl is not None:  # else an open file cannot be moved
                os.replace(file.name, target)
        if fcntl is None:
            os.replace(file.name, target)
    finally:
        _remove(file.name)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes that want to be alone in the same folder waiting."""
    if fcntl is None:  # where a folder cannot be opened
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _lock(file: IO[bytes] | int, *, wait: bool) -> bool:
    """Lock an open file or folder until it is closed or the process ends, however it ends.

    Returns
    -------
    bool
        Whether it is locked by us. Without `wait` False where another process has it. True too
        where there are no locks: on Windows, and on some network drives.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return wait
    return True


def _in_place(path: str | os.PathLike[str]) -> str | os.PathLike[str] | int | None:
    """Return what to open where no other file may take the place of this one; None where it may."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(status, os.fstat(stream)):
                return os.dup(stream)  # which writes on where the stream has come to
    return None if stat.S_ISREG(status.st_mode) else path


def _temporary(folder: Path) -> BinaryIO:
    """Open a new file that is locked, so that it is seen to have a writer."""
    while True:
        file = open(folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}", "xb")  # noqa: SIM115
        if _lock(file, wait=True) and os.path.exists(file.name):
            return file
        file.close()  # somebody took it for abandoned before it was locked


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of writers that are no more: nobody has them locked."""
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if fcntl is not None and _lock(file, wait=False):
                _remove(path)
        if fcntl is None:
            _remove(path)


def _keep_mode(target: Path, file: BinaryIO) -> None:
    """Give the new file the permissions of the one that it replaces."""
    with contextlib.suppress(OSError):
        os.chmod(file.name, os.stat(target).st_mode & 0o777)


def _remove(path: str | os.PathLike[str]) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a checkpoint; a reader sees the old file or the new one.

    Raises
    ------
    ArgumentError
        If it cannot be written.
    """
    cure = "name a file in a folder that exists, on a disk with room"
    with refused(f"checkpoint: {path}", cure), whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def sums_path(checkpoint: str | os.PathLike[str]) -> Path:
    """Return where the sums stand that belong to a checkpoint."""
    path = Path(checkpoint)
    return path.with_name(path.name + ".sums")
