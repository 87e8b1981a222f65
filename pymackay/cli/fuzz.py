"""`pymackay fuzz`: fits random models with several engines and searches for disagreements."""

from __future__ import annotations

import os
import secrets
import textwrap
from pathlib import Path

import click

import pymackay as pm
from pymackay.cli import group
from pymackay.progress import Progress


@group.main.command()
@click.option("--seconds", type=click.FloatRange(min=0.0), default=60.0, show_default=True,
              help="Duration; the last model is finished.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="First seed; random by default.")
@click.option("--keep", metavar="DIR", help="Folder for disagreements, reduced to small data sets.")
@click.option("--without-r", is_flag=True, help="Compare with the dense formulas only.")
@click.option("--glmm", is_flag=True, help="Generalised models; with glmmTMB if R has it.")
@click.option(
    "--after",
    is_flag=True,
    help="Check what methods of a fit answer (predictions, tests, intervals, saved fits, rows in "
    "partitions) instead of the fit itself; R is not needed.",
)
@click.option(
    "--again", metavar="FILE", help="Repeat one stored disagreement (a JSON file from --keep)."
)
@click.pass_context
def fuzz(
    ctx: click.Context,
    seconds: float,
    seed: int | None,
    keep: str | None,
    without_r: bool,
    after: bool,
    glmm: bool,
    again: str | None,
) -> None:
    """Fit random models with several engines and search for disagreements.

    Each model is fitted by pymackay, by lme4 with default and with tight settings, and by dense
    formulas. With --after, predictions, tests, intervals, saved fits and fits to rows in partitions
    are compared with dense formulas. Ctrl-C stops the run and prints a summary. The exit status is
    1 if there is a disagreement.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait
    group.load_engine()
    if not (without_r or after):
        _need_r()
    if again is not None:
        ctx.exit(_judge_again(Path(again), with_r=not without_r, after=after))
    from pymackay import fuzz as fuzzer

    first = secrets.randbelow(10**9) if seed is None else seed
    with Progress() as progress:

        def show(case: fuzzer.Disagreement) -> None:
            progress.wipe()
            click.echo(f"seed {case.model.seed}: {case.outcome.verdict}: {case.model}")
            click.echo(textwrap.indent(case.outcome.report, "    "))
            if case.kept is not None:
                click.echo(f"    kept: {case.kept}")

        progress.say(f"seed {first}")
        tally = fuzzer.run(
            seconds, first, keep=None if keep is None else Path(keep), with_r=not without_r,
            after=after,
            generalised=glmm,
            progress=lambda tally: progress.milestone(str(tally).replace("\n", ": ")),
            on_disagreement=show,
        )  # fmt: skip
    click.echo(str(tally))
    if tally.disagreements:
        ctx.exit(group.FAILS)
    ctx.exit(group.INTERRUPTED if tally.interrupted else group.HOLDS)


def _need_r() -> None:
    """Start R before the first model, so that a missing R is reported at once."""
    from pymackay.reference.r.session import session

    try:
        session()
    except pm.RUnavailableError as error:
        raise pm.RUnavailableError(f"{error} Or use --without-r to run without R.") from None


def _judge_again(path: Path, *, with_r: bool, after: bool) -> int:
    """Judge a stored model, and return the exit status."""
    from pymackay import fuzz as fuzzer

    model = fuzzer.load(path)
    outcome = fuzzer.judge_after(model) if after else fuzzer.judge_model(model, with_r=with_r)
    click.echo(f"{outcome.verdict}: {model}")
    if outcome.report:
        click.echo(outcome.report)
    return group.HOLDS if outcome.agrees else group.FAILS
