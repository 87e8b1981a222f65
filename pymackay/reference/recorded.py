"""`RecordedStore`: reads lme4's recorded answers, and checks that they match the question."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pymackay._resources import r_reference_path
from pymackay.errors import RecordingError
from pymackay.incoming.parts import check_shapes, check_type, content_sha256
from pymackay.reference.answer import fit_from_answer
from pymackay.reference.question import Question
from pymackay.reference.recording_format import FORMAT, LARGEST, Content
from pymackay.results import Engine, Fit

HOW_TO_RECORD = "On a machine with R, make one with: python -m pymackay.reference.record"


@dataclass(frozen=True)
class Recording:
    """A recording file: a question to lme4 and its answers.

    Attributes
    ----------
    path : pathlib.Path
    content : dict
        The file's JSON. ``asked``: formula and arguments; ``data``: rows, and each column's kind
        and checksum; ``made_by``: versions and the checksums of the R scripts; ``model``: names
        and levels; ``answers``: ``"default"`` (lmer's default optimiser) and ``"tight"``, or
        ``"evaluate"`` if the question has a theta.
    """

    path: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a file and check that it is complete and unchanged.

        Raises
        ------
        RecordingError
            If it is not JSON, has another format, or was changed after it was written.
        """
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"more than {LARGEST >> 20} MiB")
            content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            raise RecordingError(f"{path}: cannot be read ({error}). Record it again.") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise RecordingError(
                f"{path}: is not a recording of format {FORMAT}. Record it again with this version."
            )
        if content.get("content_sha256") != content_sha256(content):
            raise RecordingError(
                f"{path}: does not match its own checksum, so a number or a name in it was changed "
                "after lme4 gave it. Take the file from version control, or record it again."
            )
        try:
            check_type(content, Content, "the recording")
        except RecordingError as error:
            raise _damaged(path, error) from None
        return cls(path, content)

    def difference(self, question: Question) -> str:
        """Return how the question's data differ from the recorded data; empty if they do not."""
        recorded = self.content["data"]
        if recorded["rows"] != question.table.rows:
            return f"{question.table.rows} rows here, {recorded['rows']} in the recording"
        here = {column.name: column for column in question.table.columns}
        for name, was in recorded["columns"].items():
            if name not in here:
                return f"column {name!r} is missing here"
            kind = here[name].meaning
            if kind != was["kind"]:
                return f"column {name!r} is {kind} here and {was['kind']} in the recording"
            if here[name].sha256() != was["sha256"]:
                return f"column {name!r} has other values or levels"
        added = sorted(set(here) - set(recorded["columns"]))
        return f"column {added[0]!r} is not in the recording" if added else ""

    def fit(self, question: Question, how: str) -> Fit:
        """Return the recorded answer to `question`, which must have the recorded data.

        Raises
        ------
        RecordingError
            If there is no such answer, or its parts are inconsistent.
        """
        answer = self.content["answers"].get(how)
        if answer is None:
            raise RecordingError(f"{self.path}: holds no {how} answer. {HOW_TO_RECORD}.")
        try:
            self._check_presence(answer)
            fit = self._build(question, answer)
            check_type(fit, Fit, "the fit")
            check_shapes(fit)
            self._check_blocks(answer, fit)
        except (RecordingError, ValueError, TypeError, LookupError, OverflowError) as error:
            raise _damaged(self.path, error) from None
        return fit

    def _build(self, question: Question, answer: Mapping[str, Any]) -> Fit:
        """Return the `Fit` of an answer, before its checks."""
        left_out = dict(self.content["not_recorded"])
        left_out["evaluate"] = "a recording holds one theta only"
        return fit_from_answer(
            {**answer, "model": self.content["model"]},
            formula=question.formula,
            reml=bool(question.reml),
            index=question.data.index,
            engine=Engine("lme4", self.content["made_by"]["versions"], source="recorded"),
            not_offered=left_out,
            condvar=_source(answer.get("condvar")),
            pev=_source(answer.get("pev")),
        )

    def _check_presence(self, answer: Mapping[str, Any]) -> None:
        """Check that exactly the quantities with a reason in the file are null."""
        model, asked = self.content["model"], self.content["asked"]
        for name in ("fitted", "residuals", "condvar", "pev"):
            if (answer.get(name) is None) != (name in self.content["not_recorded"]):
                raise RecordingError(f"{name} is null without a reason, or is not null with one")
        if "family" in asked:
            if model["weights"] is None or "general" not in answer:
                raise RecordingError("the answer is not that of a generalised model")
        elif (model["weights"] is None) == ("weights" in asked):
            raise RecordingError("the model's weights are not those that were asked for")
        offset = "offset" in asked or (model["offset"] is not None and "offset" in asked["formula"])
        if (model["offset"] is not None) != offset:
            raise RecordingError("the model's offset is not the one that was asked for")
        rows = model["rows"]
        if rows is not None and not all(a < b for a, b in itertools.pairwise([-1, *rows])):
            raise RecordingError("the rows of the model are not in their order")

    def _check_blocks(self, answer: Mapping[str, Any], fit: Fit) -> None:
        """Check the shapes of condvar and pev, (levels, q, q) for each group."""
        for name in ("condvar", "pev"):
            blocks = answer.get(name)
            if blocks is None:
                continue
            shapes = {group: np.array(b, dtype=np.float64).shape for group, b in blocks.items()}
            expected = {g: (*table.shape, table.shape[1]) for g, table in fit.ranef.items()}
            if shapes != expected:
                raise RecordingError(f"{name} should have the shapes {expected}, not {shapes}")


class RecordedStore:
    """Recordings in one or more folders.

    Parameters
    ----------
    *folders : path-like
        Searched in this order; by default ``recorded`` and ``recorded_glmer`` of ``r_reference``.
    cure : str, optional
        Advice to the user in the error for a missing recording.

    Examples
    --------
    >>> len(list(RecordedStore().recordings())) > 0
    True
    """

    def __init__(self, *folders: str | Path, cure: str = HOW_TO_RECORD) -> None:
        self.cure = cure
        self.folders = tuple(Path(f) for f in folders) or tuple(
            r_reference_path(name) for name in ("recorded", "recorded_glmer")
        )

    def find(self, question: Question) -> Recording:
        """Return the recording with the question's formula, arguments and data.

        Raises
        ------
        RecordingError
            If there is none (the message says whether formula, arguments or data differ), or a
            matching file was changed after it was written.
        """
        differences = []
        for path in self._paths(f"*{file_suffix(question)}"):
            recording = Recording.read(path)
            if recording.content["asked"] != question.asked:
                continue
            difference = recording.difference(question)
            if not difference:
                return recording
            differences.append(f"{path.name}: {difference}")
        if differences:
            raise RecordingError(
                f"lme4's answer to {question.formula!r} is recorded, but for other data "
                f"({'; '.join(differences)}). {self.cure}."
            )
        raise RecordingError(
            f"lme4's answer to {_described(question.asked)} is not recorded in "
            f"{', '.join(map(str, self.folders))}{self._near(question)}. {self.cure}."
        )

    def fit(self, question: Question, how: str = "default") -> Fit:
        """Return a recorded answer: ``"default"``, ``"tight"`` or ``"evaluate"``.

        Raises
        ------
        RecordingError
            As `find`.
        """
        return self.find(question).fit(question, how)

    def recordings(self) -> Iterator[Recording]:
        """Read all recordings, in the order of their names."""
        return (Recording.read(path) for path in self._paths("*.json"))

    def _paths(self, pattern: str) -> list[Path]:
        return [path for folder in self.folders for path in sorted(folder.glob(pattern))]

    def _near(self, question: Question) -> str:
        """List the arguments with which the same formula is recorded."""
        formula = question.asked["formula"]
        near = [
            _described(recording.content["asked"])
            for recording in self.recordings()
            if recording.content["asked"]["formula"] == formula
        ]
        return f" (there is: {'; '.join(sorted(set(near)))})" if near else ""


def file_suffix(question: Question) -> str:
    """Return the suffix of the names of files that may hold the answer to `question`."""
    return f"-{question.key[:12]}.json"


def _damaged(path: Path, error: Exception) -> RecordingError:
    return RecordingError(
        f"{path}: is damaged, or is not a recording of lme4: {error}. Take the file from version "
        f"control, or record it again."
    )


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


def _source(blocks: Mapping[str, Any] | None) -> Any:
    if blocks is None:
        return None
    return lambda: {group: np.asarray(b, dtype=np.float64) for group, b in blocks.items()}


def _described(asked: Mapping[str, Any]) -> str:
    arguments = [f"{k}={v!r}" for k, v in asked.items() if k != "formula"]
    return f"{asked['formula']!r} with {', '.join(arguments)}"
