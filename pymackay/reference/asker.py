"""`Asker`: the test or script that asks lme4, from which recordings get their file names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pymackay.reference.question import Question
from pymackay.reference.recorded import file_suffix

# in bytes; with checksums and suffix a file name stays below 255, the limit of file systems
_LONGEST_NAME, _LONGEST_LABEL, _LONGEST_FORMULA = 100, 40, 60


@dataclass(frozen=True)
class Asker:
    """The name of whoever asks lme4, in a form that can begin a file name.

    Different askers get different file names, also on file systems that ignore case. Where the
    stem is not the exact name (characters were replaced, it has capitals, or it was cut), the file
    name also contains a checksum of the whole name.

    Attributes
    ----------
    stem : str
        Readable beginning of the file name; it contains no ``-``.
    tag : str
        Checksums of the name and, if there is one, of the label, 8 hexadecimal digits each; empty
        if the stem is the exact name.
    test : str
        Checksum of the name without the label.
    """

    stem: str
    tag: str
    test: str

    @classmethod
    def of(cls, *parts: str, label: str = "") -> Asker:
        """Return the asker with a given name.

        Parameters
        ----------
        *parts : str
            Parts of the name, such as the test file and the test.
        label : str
            Distinguishes several questions of one asker.
        """
        test = _checksum("\0".join(parts))
        stem = _cut(".".join(map(_legible, parts)), _LONGEST_NAME) or "model"
        tag = test
        if label:
            stem += f".{_cut(_legible(label), _LONGEST_LABEL)}"
            tag += _checksum(label)
        plain = stem == ".".join([*parts, label] if label else parts)
        return cls(stem, "" if plain and re.fullmatch("[a-z0-9_.]+", stem) else tag, test)

    def file_name(self, question: Question) -> str:
        """Return the file name for the recording of a question."""
        return file_name(question, self.stem, self.tag)

    def recordings(self, folder: Path) -> list[Path]:
        """Return this asker's recordings in a folder, with any label.

        Earlier versions wrote no checksum; a file without one counts if its stem matches.
        """
        candidates = {*folder.glob(f"{self.stem}-*.json"), *folder.glob(f"{self.stem}.*-*.json")}
        return sorted(path for path in candidates if _tag(path)[:8] in ("", self.test))


def file_name(question: Question, stem: str, tag: str = "") -> str:
    """Return a recording's file name: asker, formula, criterion, and checksum of the question."""
    words = _cut(re.sub(r"[^\w.]+", "_", question.formula).strip("_"), _LONGEST_FORMULA)
    how = "reml" if question.reml else question.asked.get("family", "ml").replace(" ", "_")
    return "-".join(filter(None, (stem, words, how, tag))) + file_suffix(question)


def _tag(path: Path) -> str:
    """Return the asker's checksum in a file name; empty if it has none."""
    before = path.stem.split("-")[-2]
    return before if re.fullmatch("[0-9a-f]{8}|[0-9a-f]{16}", before) else ""


def _legible(part: str) -> str:
    return re.sub(r"\W+", "_", part).strip("_")


def _cut(text: str, longest: int) -> str:
    """Return the beginning of a text, at most `longest` bytes of it."""
    return text.encode()[:longest].decode(errors="ignore")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
