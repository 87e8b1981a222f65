"""`pymackay record`: stores lme4's answer in a file, for later comparisons without R."""

from __future__ import annotations

from pathlib import Path

import click

from pymackay.cli import group
from pymackay.cli.asked import Asked, model_options
from pymackay.progress import Progress


@group.main.command()
@model_options
@click.option("--into", metavar="DIR", required=True, help="Folder for the recordings.")
@click.option("--name", metavar="NAME", help="Prefix of the file name; default: the name of DATA.")
def record(asked: Asked, into: str, name: str | None) -> None:
    """Fit FORMULA to DATA with lme4 and store its answer in a file. Needs R.

    An existing recording is updated, and the changes are printed.
    """
    from pymackay.reference.modes import Lme4

    source = Lme4("record", Path(into))
    with Progress() as progress:
        question = asked.question(asked.table(progress))
        progress.say("running lme4 with default and with tight settings")
        source.ask(question, name or Path(asked.data.removesuffix(".gz")).stem)
    for change in source.changes:
        click.echo("\n  ".join([f"{change.kind}: {change.path}", *change.lines]))
