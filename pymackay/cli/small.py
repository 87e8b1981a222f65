"""`pymackay data`, `article` and `doctor`: commands that list or reproduce something."""

from __future__ import annotations

import json

import click

import pymackay as pm
from pymackay.cli import group


@group.main.command()
def data() -> None:
    """List the bundled data sets."""
    infos = [pm.datasets.data_info(name) for name in pm.list_data()]
    width = max(len(info.name) for info in infos)
    for info in infos:
        columns = ", ".join(column.name for column in info.columns)
        click.echo(f"{info.name:<{width}}  {info.rows:>6} rows  {columns}")


@group.main.command()
@click.pass_context
def article(ctx: click.Context) -> None:
    """Reproduce the numbers of the original article."""
    group.load_engine()
    from pymackay.article import article_table

    table = article_table()
    click.echo(str(table))
    ctx.exit(group.HOLDS if table.ok else group.FAILS)


@group.main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """List what is installed and what is missing, and how to install it.

    The exit status is 0 if models can be fitted. R is optional.
    """
    from pymackay.doctor import diagnose

    diagnosis = diagnose()
    click.echo(json.dumps(diagnosis.to_dict(), indent=1) if as_json else str(diagnosis))
    ctx.exit(group.HOLDS if diagnosis.main_job else group.FAILS)
