"""`Asker`: who asks lme4, and what the files of its recordings are called."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pymackay.reference.question import Question
from pymackay.reference.recorded import file_suffix

# in bytes; together with checksums and suffix a name stays under 255, the limit of file systems
_LONGEST_NAME, _LONGEST_OWN, _LONGEST_FORMULA = 100, 40, 60


@dataclass(frozen=True)
class Asker:
    """A name for recordings, made of what a file may be called.

    Names that differ make file names that differ, also where files are told apart by small letters
    alone: what lost a character, a capital or its end on the way to the stem has a checksum of
    the whole name in the file's name.

    Attributes
    ----------
    stem : str
        What the file's name begins with, for readers: no ``-`` in it.
    tag : str
        Checksums of the name and of its last part, 8 hexadecimal digits each; empty where the stem
        is the name itself.
    test : str
        Checksum of the name without the check's own part.
    """

    stem: str
    tag: str
    test: str

    @classmethod
    def of(cls, *parts: str, own: str = "") -> Asker:
        """Return who asks.

        Parameters
        ----------
        *parts : str
            Of the name: a file, a test.
        own : str
            The name of one of several questions of this asker.
        """
        test = _checksum("\0".join(parts))
        stem = _cut(".".join(map(_legible, parts)), _LONGEST_NAME) or "model"
        tag = test
        if own:
            stem += f".{_cut(_legible(own), _LONGEST_OWN)}"
            tag += _checksum(own)
        plain = stem == ".".join([*parts, own] if own else parts)
        return cls(stem, "" if plain and re.fullmatch("[a-z0-9_.]+", stem) else tag, test)

    def file_name(self, question: Question) -> str:
        """Return what the recording of a question is called."""
        return file_name(question, self.stem, self.tag)

    def recordings(self, folder: Path) -> list[Path]:
        """Return the recordings in a folder that are this asker's, those of all its parts too.

        One without a checksum in its name counts where its stem fits: earlier versions gave none.
        """
        found = {*folder.glob(f"{self.stem}-*.json"), *folder.glob(f"{self.stem}.*-*.json")}
        return sorted(path for path in found if _tag(path)[:8] in ("", self.test))


def file_name(question: Question, stem: str, tag: str = "") -> str:
    """Return the name of a recording's file: who asks, what, and the checksum of what is asked."""
    words = _cut(re.sub(r"[^\w.]+", "_", question.formula).strip("_"), _LONGEST_FORMULA)
    how = "reml" if question.reml else "ml"
    return "-".join(filter(None, (stem, words, how, tag))) + file_suffix(question)


def _tag(path: Path) -> str:
    """Return the checksum of the asker in a file's name, empty where there is none."""
    before = path.stem.split("-")[-2]
    return before if re.fullmatch("[0-9a-f]{8}|[0-9a-f]{16}", before) else ""


def _legible(part: str) -> str:
    return re.sub(r"\W+", "_", part).strip("_")


def _cut(text: str, longest: int) -> str:
    """Return the beginning of a text, of so many bytes at most."""
    return text.encode()[:longest].decode(errors="ignore")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
