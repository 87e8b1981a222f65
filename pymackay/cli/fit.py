"""`pymackay fit`: fits a model, and prints or writes what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pymackay.cli import group
from pymackay.cli.asked import Asked, model_options
from pymackay.progress import Progress

_DDF = ("auto", "Satterthwaite", "Kenward-Roger", "none")
_INTERVALS = ("default", "profile", "wald", "boot")


@group.main.command()
@model_options
@click.option("--ddf", type=click.Choice(_DDF, case_sensitive=False), default="auto",
              metavar=f"[{'|'.join(_DDF)}]",
              show_default=True, help="Degrees of freedom of the tests of a linear model; auto: "
              "Satterthwaite's where they take less than about a second.")  # fmt: skip
@click.option("--anova", "has_anova", is_flag=True, help="Add a test of each term.")
@click.option("--confint", "intervals", type=click.Choice(_INTERVALS), is_flag=False,
              flag_value="default", help="Add 95 % confidence intervals; without a method, "
              "the default of Fit.confint.")  # fmt: skip
@click.option("--emmeans", "specs", metavar="FACTOR", multiple=True,
              help="Add the marginal means of FACTOR and their pairwise comparisons; repeat it "
              "for more factors.")  # fmt: skip
@click.option("--seed", type=int, help="Seed of --confint=boot.")
@click.option("--json", "json_path", metavar="FILE", help="Write all results as JSON.")
@click.option("--csv", "csv_path", metavar="FILE", help="Write the estimates as CSV, and each "
              "added table to a file beside it: out.csv, out.anova.csv.")  # fmt: skip
@click.option("--html", "html_path", metavar="FILE", help="Write all tables as an HTML page.")
def fit(
    asked: Asked,
    ddf: str,
    has_anova: bool,
    intervals: str | None,
    specs: tuple[str, ...],
    seed: int | None,
    json_path: str | None,
    csv_path: str | None,
    html_path: str | None,
) -> None:
    """Fit FORMULA to DATA in TensorFlow and print its summary, with p-values.

    A FILE that is - is standard output; the summary is not printed then.
    """
    paths = {"json": json_path, "csv": csv_path, "html": html_path}
    if list(paths.values()).count("-") > 1:
        raise click.UsageError("only one of --json, --csv and --html can go to standard output (-)")
    from pymackay.cli.fit_tables import Wanted, fit_tables

    with Progress() as progress:
        table = asked.table(progress)
        progress.say("loading TensorFlow")
        group.load_engine()
        progress.say("fitting")
        fitted = asked.fit(table)
        progress.say("computing the tables")
        tables = fit_tables(fitted, Wanted(ddf, has_anova, intervals, specs, seed))
    if "-" not in paths.values():
        click.echo(tables.to_text())
    for name, path in paths.items():
        if path is not None:
            _write(tables, name, path)


def _write(tables: Any, name: str, path: str) -> None:
    """Write the tables in one format; `path` may be - for standard output."""
    from pymackay._files import write_whole

    if name != "csv":
        text = tables.to_json() if name == "json" else tables.to_html()
        if path == "-":
            click.echo(text)
        else:
            write_whole(path, f"{text}\n")
        return
    parts = tables.to_csv()
    if path == "-":
        click.echo("\n".join(parts.values()), nl=False)
        return
    place = Path(path)
    for part, text in parts.items():
        beside = place.with_name(f"{place.stem}.{part}{place.suffix}") if part else place
        write_whole(beside, text)
