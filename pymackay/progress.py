"""`Progress`: one line on a terminal that says what takes so long; nothing if nobody watches."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

_WIDTH = 30  # of a bar
_PATIENCE = 2.0  # seconds before progress is shown unasked
_PAUSE = 0.1  # seconds between two drawings of `tell`


class Progress:
    """A line on standard error that is overwritten, and wiped in the end.

    Used as a context manager. Where standard error is no terminal, nothing is written, but for
    `milestone`, and for `tell` where progress was asked for.

    Parameters
    ----------
    stream : text stream, optional
        Standard error unless given.
    asked : bool or None
        What a user gave as ``progress``, which `tell` goes by. None: on a terminal, once the
        computation has taken two seconds. True: always, and the last text stays.
    every : float
        Seconds between two milestones at least.

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
        self._due = self._last + (0.0 if asked else _PATIENCE)
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

    def tell(self, text: str) -> None:
        """Say how far a computation is, as its user has asked for."""
        self._text = text
        if self._asked is False or time.monotonic() < self._due:
            return
        if self._asked:
            self.milestone(text)
        else:
            self.say(text)
        self._due = time.monotonic() + _PAUSE

    def wipe(self) -> None:
        """Remove what is shown."""
        if self._shown:
            self._write("\r\033[K")
            self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def bar(done: int, total: int) -> str:
    """Return a bar of text, as far filled as `done` is of `total`.

    Examples
    --------
    >>> bar(15, 30)
    '[###############               ] 15/30'
    """
    filled = "#" * round(_WIDTH * done / total)
    return f"[{filled:<{_WIDTH}}] {done}/{total}"
