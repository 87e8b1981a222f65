"""Files are there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import pymackay as pm
from pymackay._files import write_whole
from pymackay.progress import Progress


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for text in ("one", "two é"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    path = tmp_path / "r.json"
    write_whole(path, "old")

    def stops_half_way(self: Path, text: str, encoding: str) -> None:
        self.write_bytes(b"ne")
        raise error

    monkeypatch.setattr(Path, "write_text", stops_half_way)
    with pytest.raises(error):
        write_whole(path, "new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "folder.json", tmp_path):
        with pytest.raises(pm.PymackayError, match="cannot be written"):
            write_whole(path, "text")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_is_wiped() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress.say("fitting")
        progress.say("comparing" + 500 * "!")
    assert "fitting" in stream.getvalue()
    assert stream.getvalue().endswith("\r\033[K")
    assert "\n" not in stream.getvalue()


def test_progress_is_silent_where_nobody_watches_but_for_milestones() -> None:
    stream = io.StringIO()
    with Progress(stream, every=0.0) as progress:
        progress.say("fitting")
        assert stream.getvalue() == ""
        progress.milestone("10 models")
    assert stream.getvalue() == "10 models\n"
