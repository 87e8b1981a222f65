"""`Progress`: one line on a terminal that says what takes so long; nothing if nobody watches."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

__all__ = ["Progress"]


class Progress:
    """A line on standard error that is overwritten, and wiped in the end.

    Used as a context manager. Where standard error is no terminal, nothing is written, but for
    `milestone`.

    Parameters
    ----------
    stream : text stream, optional
        Standard error unless given.
    every : float
        Seconds between two milestones at least.

    Examples
    --------
    >>> with Progress() as progress:
    ...     progress.say("asking lme4")
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 30.0) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream is not None and self._stream.isatty()
        self._every = every
        self._last = time.monotonic()
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wipe()

    def say(self, text: str) -> None:
        """Show `text` in place of what was there."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\033[K{text[:width]}")
            self._shown = True

    def milestone(self, text: str) -> None:
        """Show `text`; where nobody watches, write it as a line of its own now and then."""
        self.say(text)
        if not self._terminal and time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._write(f"{text}\n")

    def wipe(self) -> None:
        """Remove what is shown."""
        if self._shown:
            self._write("\r\033[K")
            self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
