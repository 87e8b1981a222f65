"""`pymackay compare`: fits a model and compares the fit with lme4's."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import pymackay as pm
from pymackay.cli import group
from pymackay.cli.asked import Asked, model_options
from pymackay.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

_MODES = ("auto", "live", "recorded", "tight")
_ENGINES = Path(__file__).parents[1] / "adapters" / "engines"
_CURE = (
    "On a machine with R, run `pymackay record DATA FORMULA --into DIR`, and then use the option "
    "--recordings DIR"
)
_WITHOUT_FORMULAS = {"gpboost"}  # engines whose results are read, and that fit matrices


class EngineName(click.Choice):
    """The name of an engine: of a file in ``adapters/engines``, or of one that is registered.

    The files are not imported for it: they load pandas.
    """

    def __init__(self) -> None:
        names = sorted(file.name for file in pkgutil.iter_modules([str(_ENGINES)]))
        names = [name.replace("_", "-") for name in names if name not in _WITHOUT_FORMULAS]
        super().__init__(["pymackay", *names])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, if it is that of an engine."""
        if value not in self.choices:
            from pymackay.adapters.registry import engines

            if value in {engine.name for engine in engines() if engine.fits is not None}:
                return value
        return super().convert(value, param, ctx)


@group.main.command()
@model_options
@click.option("--lme4", "mode", type=click.Choice(_MODES), default="auto", show_default=True,
              help="Source of lme4's answer: R, or a recording of it.")  # fmt: skip
@click.option("--live", "mode", flag_value="live", help="Run lme4 in R; fail if R is missing.")
@click.option(
    "--recorded", "mode", flag_value="recorded", help="Use a recorded answer; never start R."
)
@click.option("--tight", is_flag=True, help="Run lme4 with tight tolerances, not its defaults.")
@click.option("--recordings", metavar="DIR", help="Folder with recorded answers of lme4.")
@click.option(
    "--engine",
    type=EngineName(),
    default="pymackay",
    show_default=True,
    help="Package that fits the model to be compared.",
)
@click.option("--report", metavar="FILE", help="Write the comparison to this HTML file.")
@click.option("--json", "json_path", metavar="FILE", help="Write the comparison to this JSON file.")
@click.pass_context
def compare(
    ctx: click.Context,
    asked: Asked,
    mode: str,
    tight: bool,
    recordings: str | None,
    engine: str,
    report: str | None,
    json_path: str | None,
) -> None:
    """Fit FORMULA to DATA and compare the fit with lme4's.

    If R is installed, lme4 is run in R. Otherwise a recorded answer of lme4 is used. With --family
    the generalised model is compared with the answer of lme4's glmer.
    """
    if engine != "pymackay" and asked.family is not None:
        raise click.UsageError(f"--family is for the engine pymackay, not for {engine}")
    from pymackay.reference.modes import Lme4

    source = Lme4(mode, Path(recordings) if recordings else None, _CURE, tight)
    with Progress() as progress:
        table = asked.table(progress)
        question = asked.question(table)
        if mode == "recorded":  # a missing recording is reported before TensorFlow is loaded
            source.check(question)
        progress.say("loading TensorFlow")
        group.load_engine()
        if mode != "recorded":
            source.check(question)
        progress.say(f"fitting by {engine}")
        ours = asked.fit(table) if engine == "pymackay" else _fit_with(engine, asked, table)
        progress.say("comparing with lme4 (this may take longer)")
        comparison = pm.testing.judge(ours, asked.formula, table, source, **asked.columns)
    click.echo(str(comparison))
    for message in comparison.reference.messages:
        click.echo(f"lme4: {message}", err=True)
    if report:
        comparison.to_html(report)
    if json_path:
        comparison.to_json(json_path)
    ctx.exit(group.HOLDS if comparison.ok else group.FAILS)


def _fit_with(engine: str, asked: Asked, table: pd.DataFrame) -> pm.Fit:
    """Fit the model with another package."""
    fit: pm.Fit = pm.adapters.fit_with(engine, asked.formula, table, **asked.how)
    return fit
