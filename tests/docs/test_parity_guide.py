"""The validator's guide, docs/parity.md, followed to the letter in a project of its own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import pymackay

pytest_plugins = ["pytester"]

_CHECKOUT = Path(pymackay.__file__).resolve().parents[1]
_GUIDE = Path(__file__).resolve().parents[2] / "docs" / "parity.md"
_INSTALLED = any(e.value == "pymackay.pytest_plugin" for e in entry_points(group="pytest11"))
_STEP = re.compile(
    r"<!-- file: (?P<file>\S+) -->\n```\w*\n(?P<text>.*?)^```$"
    r"|<!-- replace: (?P<where>\S+): (?P<old>.+?) -> ?(?P<new>.*?) ?-->"
    r"|^```console\n\$ (?P<command>.*?)\n(?P<output>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def steps() -> Iterator[re.Match[str]]:
    return _STEP.finditer(_GUIDE.read_text(encoding="utf-8"))


def expected_lines(output: str) -> list[str]:
    """The guide's output as patterns: three dots stand for anything."""
    lines = [line for line in output.splitlines() if line.strip() != "..."]
    return [re.escape(line).replace(re.escape("..."), ".*").rstrip() + r"\s*" for line in lines]


def do(step: re.Match[str], pytester: pytest.Pytester) -> None:
    if step["file"]:
        path = pytester.path / step["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step["text"], encoding="utf-8")
    elif step["where"]:
        path = pytester.path / step["where"]
        text = path.read_text(encoding="utf-8")
        assert step["old"] in text
        path.write_text(text.replace(step["old"], step["new"]), encoding="utf-8")
    else:
        program, *arguments = shlex.split(step["command"])
        assert program == "pytest"
        load = [] if _INSTALLED else ["-p", "pymackay.pytest_plugin"]
        result = pytester.runpytest_subprocess(*load, *arguments)
        result.stdout.re_match_lines(expected_lines(step["output"]))


@pytest.mark.live
def test_the_guide_does_what_it_says(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(_CHECKOUT))
    monkeypatch.delenv("COLUMNS", raising=False)
    result = list(steps())
    assert sum(bool(step["command"]) for step in result) >= 6
    for step in result:
        do(step, pytester)


def test_the_guide_tells_the_tolerances_as_they_are():
    from pymackay.compare.tolerances import TOLERANCES

    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (1e-\d) \|", _GUIDE.read_text(), re.MULTILINE)
    message = {name: float(value) for names, value in rows for name in re.findall(r"\w+", names)}
    assert len(message) >= 11
    assert message == {name: TOLERANCES[name].value for name in message}


def test_the_guide_tells_what_engines_do_not_offer():
    from pymackay.adapters import PARTS
    from pymackay.reference.modes import MODES

    text = _GUIDE.read_text()
    assert "beta" in PARTS
    assert set(re.findall(r"^\| `(\w+)`(?: \(default\))? \|", text, re.MULTILINE)) >= set(MODES)
