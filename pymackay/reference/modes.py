"""`Lme4`: gets lme4's fits in one of five modes: from R, or from recordings."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from pymackay._files import alone_in
from pymackay._resources import r_reference_path
from pymackay.arguments import one_of
from pymackay.errors import ArgumentError, RecordingError, RUnavailableError, RWarning
from pymackay.reference.asker import Asker
from pymackay.reference.changes import Change, changes
from pymackay.reference.question import Question
from pymackay.reference.recorded import RecordedStore, Recording, file_suffix
from pymackay.results import Fit

MODES = {
    "auto": "R if it is installed, else recordings",
    "live": "R; an error if it is not installed",
    "recorded": "recordings; R is never started",
    "record": "R, and its answers are written to recordings",
    "tight": "as auto, with lme4's optimiser run to tight tolerances",
}


@dataclass
class Lme4:
    """Asks lme4 in one mode, with the recordings of one folder.

    Attributes
    ----------
    mode : str
        One of `MODES`.
    folder : pathlib.Path or None
        Folder of the recordings; None for those that are part of the package.
    cure : str
        Advice in the error for a recording that is missing or does not match.
    tight : bool
        Whether lme4's optimiser is run to tight tolerances. Mode ``"tight"`` is ``"auto"`` with
        this set.
    changes : list of Change
        The recordings that mode ``"record"`` has written so far.
    """

    mode: str
    folder: Path | None = None
    cure: str = "On a machine with R, record it: lme4='record'"
    tight: bool = False

    def __post_init__(self) -> None:
        one_of("lme4", self.mode, MODES)
        if self.mode == "record" and self.folder is None:
            raise ArgumentError("recordings: give the folder that is to be recorded into.")
        self.tight = self.tight or self.mode == "tight"
        self.changes: list[Change] = []
        self._recordings = self.folder or r_reference_path("recorded")
        self._taken: dict[Path, str] = {}

    def ask(self, question: Question, name: str | Asker = "") -> Fit:
        """Return lme4's fit.

        Parameters
        ----------
        question : Question
        name : str or Asker
            The beginning of the file name of a new recording. By default it contains a checksum of
            the data, so that two tables never share a recording.

        Raises
        ------
        RUnavailableError
            If R is needed and not available.
        RecordingError
            If a recording is needed and none matches; the message says what differs.
        RError
            If R stops with an error.
        ArgumentError
            If a recording cannot be written, or would overwrite one that was made in this session
            from other data.
        """
        if isinstance(name, str):
            parts = name.split(".") if name else ["model", question.table.sha256()[:12]]
            name = Asker.of(*parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RWarning)  # the fit's messages contain them
            if self.mode == "record":
                return self._record(question, name)
            if self.mode == "recorded":
                return self._recorded(question, name)
            return self._live(question, name)

    def check(self, question: Question) -> None:
        """Raise now what `ask` would raise because R or a recording is missing.

        Raises
        ------
        RUnavailableError, RecordingError
            As in `ask`.
        """
        from pymackay.reference.r.session import session
        from pymackay.reference.source import available

        if self.mode in ("live", "record"):
            session()
        elif self.mode == "recorded":
            self._recorded(question, Asker.of("model"))
        elif not available():
            self._live(question, Asker.of("model"))

    def _live(self, question: Question, name: Asker) -> Fit:
        """Return lme4's fit from R; without R, in modes auto and tight, from a recording."""
        from pymackay.reference.r.session import why_unavailable
        from pymackay.reference.source import answered, available

        if self.mode == "live" or available():
            return answered(question, self._how, "live")
        try:
            return self._recorded(question, name)
        except RecordingError as error:
            raise RUnavailableError(f"{why_unavailable()} {error}") from None

    def _recorded(self, question: Question, name: Asker) -> Fit:
        return self._find(question, name).fit(question, self._how)

    def _find(self, question: Question, name: Asker) -> Recording:
        try:
            return self._store.find(question)
        except RecordingError as error:
            raise RecordingError(f"{error}{self._others(question, name)}") from None

    @property
    def _how(self) -> str:
        return "tight" if self.tight else "default"

    @property
    def _store(self) -> RecordedStore:
        folders = [] if self.folder is None else [self.folder]
        return RecordedStore(*folders, cure=self.cure)

    def _others(self, question: Question, name: Asker) -> str:
        """List the other recordings of this asker, because its formula may have changed."""
        others = [
            f"{path.name} is of {_asked(Recording.read(path))}"
            for path in name.recordings(self._recordings)
            if not path.name.endswith(file_suffix(question))
        ]
        return f" Recorded under this name: {'; '.join(others)}." if others else ""

    def _record(self, question: Question, name: Asker) -> Fit:
        """Run lme4, write the recording, and return the fit that is read back from it."""
        from pymackay.reference.record import record_to, recordings_written

        with contextlib.ExitStack() as until_written:
            with recordings_written(self._recordings):
                self._recordings.mkdir(parents=True, exist_ok=True)
                until_written.enter_context(alone_in(self._recordings))
            path, old = self._place(question, name)
            self._claim(path, question)
            record_to(question, path)
        new = Recording.read(path)
        self.changes.append(changes(path, old, new))
        return new.fit(question, self._how)

    def _place(self, question: Question, name: Asker) -> tuple[Path, Recording | None]:
        """Return the file to write, and the recording that it holds now.

        A model that is already recorded, under any name, stays in its file.
        """
        try:
            old = self._store.find(question)
        except RecordingError:
            path = self._recordings / name.file_name(question)
            return path, _readable(path) if path.exists() else None
        return old.path, old

    def _claim(self, path: Path, question: Question) -> None:
        """Raise an `ArgumentError` if this file was already written for different data."""
        data = question.table.sha256()
        if self._taken.setdefault(path, data) != data:
            raise ArgumentError(
                f"name: two models with one formula and different data would share the recording "
                f"{path.name}. Give each of them a different name."
            )


def _asked(recording: Recording) -> str:
    asked = recording.content["asked"]
    how = "REML" if asked["reml"] else asked.get("family", "ML")
    return f"{asked['formula']!r} by {how}"


def _readable(path: Path) -> Recording | None:
    try:
        return Recording.read(path)
    except RecordingError:  # a damaged file is overwritten
        return None
