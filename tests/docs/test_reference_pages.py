"""The pages on the command line and on `Fit`: complete, and true."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from shown_output import difference

import pymackay as pm
from pymackay.cli import main

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = (DOCS / "command-line.md").read_text(encoding="utf-8")
OF_FIT = (DOCS / "fit.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n\$ ([^\n]+)\n(.*?)^```$", COMMANDS, re.DOTALL | re.MULTILINE)


def public_names() -> set[str]:
    """Return fields, properties and methods of `Fit`."""
    fields = {field.name for field in dataclasses.fields(pm.Fit)}
    return fields | {name for name in dir(pm.Fit) if not name.startswith("_")}


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[line for line, _ in SHOWN])
def test_commands_print_what_is_shown(command: str, output: str) -> None:
    result = CliRunner().invoke(main, shlex.split(command)[1:], prog_name="pymackay")
    assert result.exit_code == (2 if output.startswith("error") else 0)
    assert difference(output, result.output) == ""


def test_every_option_of_fit_is_on_its_page() -> None:
    command = main.commands["fit"]
    options = {p.opts[0] for p in command.params if isinstance(p, click.Option)}
    missing = {name for name in options if f"`{name}" not in COMMANDS}
    assert missing == set()


def test_every_attribute_of_a_fit_has_its_line() -> None:
    listed = re.findall(
        r"`(\w+)(?:\(\w*\))?`", " ".join(re.findall(r"^\| (`.+?) \|", OF_FIT, re.M))
    )
    beside = re.findall(r"`(\w+_source)`", OF_FIT)
    assert len(listed) == len(set(listed))
    assert {*listed, *beside} == public_names()


def test_every_attribute_of_a_fit_has_a_docstring() -> None:
    text = inspect.getdoc(pm.Fit) or ""
    entries = re.findall(r"^(\w[\w, ]*) : ", text, re.MULTILINE)
    in_class = {name for entry in entries for name in entry.split(", ")}
    for name in public_names() - in_class:
        assert inspect.getdoc(inspect.getattr_static(pm.Fit, name)) or inspect.getdoc(
            getattr(pm.Fit, name)
        ), name
    for field in dataclasses.fields(pm.Fit):
        assert field.name in in_class, field.name
