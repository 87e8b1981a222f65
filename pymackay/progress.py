"""`Progress`: shows the progress of a computation in one line of the terminal."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

_WIDTH = 30  # characters of a bar
_DELAY = 2.0  # seconds before progress is shown by default
_PAUSE = 0.1  # seconds between two updates by `tell`


class Progress:
    """A line on standard error that is overwritten, and removed in the end.

    Used as a context manager. If standard error is not a terminal, only `milestone` writes, and
    `tell` if the user has asked for progress.

    Parameters
    ----------
    stream : text stream, optional
        By default standard error.
    asked : bool or None
        The user's argument ``progress``, for `tell`. None: show progress on a terminal, after two
        seconds. True: always show it, and keep the last text. False: never.
    every : float
        Least number of seconds between two milestones.

    Examples
    --------
    >>> with Progress() as progress:
    ...     progress.say("asking lme4")
    """

    def __init__(
        self, stream: TextIO | None = None, *, asked: bool | None = None, every: float = 30.0
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream is not None and self._stream.isatty()
        self._asked = asked
        self._every = every
        self._last = time.monotonic()
        self._due = self._last + (0.0 if asked else _DELAY)
        self._text = ""
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
        if self._asked and self._text and kind is None and self._stream is not None:
            self._write(f"{self._text}\n")

    def say(self, text: str) -> None:
        """Show `text` in place of the last one."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r\033[K{text[:width]}")
            self._shown = True

    def milestone(self, text: str) -> None:
        """Show `text`; without a terminal, write it as a line, at most every `every` seconds."""
        self.say(text)
        if not self._terminal and time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._write(f"{text}\n")

    def tell(self, text: str) -> None:
        """Show the state of a computation, according to `asked`."""
        self._text = text
        if self._asked is False or time.monotonic() < self._due:
            return
        if self._asked:
            self.milestone(text)
        else:
            self.say(text)
        self._due = time.monotonic() + _PAUSE

    def wipe(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write("\r\033[K")
            self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def bar(done: int, total: int) -> str:
    """Return a progress bar as text, filled to the share of `done` in `total`.

    Examples
    --------
    >>> bar(15, 30)
    '[###############               ] 15/30'
    """
    filled = "#" * round(_WIDTH * done / total)
    return f"[{filled:<{_WIDTH}}] {done}/{total}"
