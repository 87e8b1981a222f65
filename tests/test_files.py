"""Files are there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pymackay as pm
from pymackay._files import whole_file, write_whole
from pymackay.progress import Progress


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for text in ("one", "two é"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "no room")])
@pytest.mark.parametrize("through", ["file", "link", "chain"])
def test_an_interruption_leaves_the_old_file_whole(
    tmp_path: Path, error: BaseException | type[BaseException], through: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = path = tmp_path / "elsewhere" / "r.json"
    write_whole(target, "old")
    for link in {"file": [], "link": ["one"], "chain": ["one", "two"]}[through]:
        (tmp_path / link).symlink_to(path)
        path = tmp_path / link
    with pytest.raises((KeyboardInterrupt, MemoryError, OSError)), whole_file(path) as file:
        file.write(b"ne")
        raise error
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


_KILLED = """
import os, signal, sys
from pymackay._files import whole_file
with whole_file(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody is killed by a signal")
def test_a_killed_writer_leaves_the_old_file_and_the_next_one_clears_up(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, link = folder / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    root = str(Path(pm.__file__).parents[1])
    for path in (target, link):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(path)], env={**os.environ, "PYTHONPATH": root}
        )
        assert done.returncode == -9
        assert target.read_text() == "old"
        assert len(list(folder.iterdir())) == 2  # what the killed one had written so far
    write_whole(folder / "another", "text")
    assert sorted(p.name for p in folder.iterdir()) == ["another", "target"]
    assert list(tmp_path.iterdir()).count(link) == 1 and link.is_symlink()


def test_a_writer_at_work_is_not_cleared_up(tmp_path: Path) -> None:
    with whole_file(tmp_path / "slow") as file:
        file.write(b"slo")
        write_whole(tmp_path / "quick", "text")
        file.write(b"w")
    assert (tmp_path / "slow").read_text() == "slow"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["quick", "slow"]


def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_text("old")
    path.chmod(0o600)
    write_whole(path, "new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "folder.json", tmp_path):
        with pytest.raises(pm.PymackayError, match="cannot be written"):
            write_whole(path, "text")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_written_through(tmp_path: Path) -> None:
    target, link, dangling = tmp_path / "target", tmp_path / "link", tmp_path / "dangling"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    dangling.symlink_to(tmp_path / "later")
    write_whole(dangling, "text")
    assert dangling.is_symlink() and (tmp_path / "later").read_text() == "text"
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(pm.ArgumentError, match="cannot be written"):
        write_whole(link, "text")
    assert link.is_symlink()


def test_what_is_no_file_of_its_own_is_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = "import pymackay._files, sys; pymackay._files.write_whole(sys.argv[1], 'text')"
    env = {**os.environ, "PYTHONPATH": str(Path(pm.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", code, str(pipe)], env=env):
        assert pipe.read_text() == "text"
    assert pipe.is_fifo()
    out = tmp_path / "out"
    with out.open("w") as stream:
        code = "print('before', flush=True)\n" + code + "; print('after')"
        subprocess.run([sys.executable, "-c", code, "/dev/stdout"], env=env, stdout=stream)
    assert out.read_text() == "before\ntextafter\n"


def test_there_is_one_writer() -> None:
    root = Path(pm.__file__).parent
    words = re.compile(r"os\.(replace|rename)\(|NamedTemporaryFile|mkstemp|\.replace\(path\)")
    result = {p.relative_to(root) for p in root.rglob("*.py") if words.search(p.read_text("utf-8"))}
    assert result == {Path("_files.py")}


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
