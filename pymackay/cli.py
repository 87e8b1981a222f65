"""The command line: `pymackay fit`, `compare`, `record`, `fuzz`, `data`, `article`, `doctor`."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from pymackay import __version__
from pymackay.errors import PymackayError
from pymackay.progress import Progress

__all__ = ["main"]

_MODES = ("auto", "live", "recorded", "tight")
_ENGINES = ("pymackay", "statsmodels", "glmm", "mixedlm", "lme-python")
_CURE = "On a machine with R: pymackay record DATA FORMULA --into DIR; then give --recordings DIR"
_HOLDS, _FAILS, _BAD_INPUT, _DEFECT, _INTERRUPTED = 0, 1, 2, 3, 130
_CLICKS_OWN = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)


class _Group(click.Group):
    """A group whose commands end in a message and an exit status, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _CLICKS_OWN:
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            message, status = _ending(error)
            click.echo(message, err=True)
            ctx.exit(status)


def _ending(error: BaseException) -> tuple[str, int]:
    """Say how a command ended that did not return: the message and the exit status."""
    if isinstance(error, PymackayError):
        return f"error: {error}", _BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", _INTERRUPTED
    if isinstance(error, ModuleNotFoundError) and error.name not in (None, "pymackay"):
        return f"error: {error.name} is not installed. `pymackay doctor` tells the cure.", _DEFECT
    return (
        f"error: unexpected {type(error).__name__}: {error}\n"
        f"This is a defect of pymackay: `pymackay --debug ...` shows where it happened.",
        _DEFECT,
    )


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as a sentence, without the place in our code that raised it."""
    click.echo(f"warning: {message}", err=True)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep TensorFlow's C++ side quiet while it is loaded.

    It writes to file descriptor 2 before it reads ``TF_CPP_MIN_LOG_LEVEL``.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _load_engine(debug: bool) -> None:
    """Import TensorFlow and what stands on it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with contextlib.nullcontext() if debug else _silence():
        importlib.import_module("pymackay.api")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="pymackay")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Linear mixed models in TensorFlow, compared with R's lme4.

    DATA is the name of a data set that comes along (`pymackay data` lists them) or the path of a
    CSV, gzipped CSV, Parquet, Feather or RDS file. FORMULA is lme4's, for example
    "Reaction ~ Days + (Days | Subject)".

    Exit status: 0 it holds, 1 it does not hold, 2 bad input, 3 a defect.
    """
    if not debug:
        ctx.with_resource(warnings.catch_warnings())  # until the command has ended
        warnings.showwarning = _show_warning


def _model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command that fits a model takes."""
    for decorator in (
        click.option("--offset", metavar="COL", help="Column with a known part of the response."),
        click.option("--weights", metavar="COL", help="Column with prior weights."),
        click.option("--ml", is_flag=True, help="Maximum likelihood instead of REML."),
        click.argument("formula"),
        click.argument("data"),
    ):
        command = decorator(command)
    return command


@main.command()
@_model_options
@click.pass_context
def fit(
    ctx: click.Context, data: str, formula: str, ml: bool, weights: str | None, offset: str | None
) -> None:
    """Fit FORMULA to DATA in TensorFlow and print the fit."""
    import pymackay as pm
    from pymackay.tables import read_table

    with Progress() as progress:
        progress.say(f"reading {data}")
        table = read_table(data)  # before TensorFlow is loaded: a wrong name is told at once
        progress.say("loading TensorFlow")
        _load_engine(ctx.find_root().params["debug"])
        progress.say("fitting")
        found = pm.lmer(formula, table, reml=not ml, weights=weights, offset=offset)
    click.echo(str(found))


@main.command()
@_model_options
@click.option("--lme4", "mode", type=click.Choice(_MODES), default="auto", show_default=True,
              help="Where lme4's answer comes from.")  # fmt: skip
@click.option("--live", "mode", flag_value="live", help="Ask R; fail where it is missing.")
@click.option("--recorded", "mode", flag_value="recorded", help="Never start R.")
@click.option("--tight", is_flag=True, help="lme4 driven to a tight optimum, not its default.")
@click.option("--recordings", metavar="DIR", help="Folder of lme4's recorded answers.")
@click.option(
    "--engine",
    type=click.Choice(_ENGINES),
    default="pymackay",
    show_default=True,
    help="Who fits the model that is judged.",
)
@click.option("--report", metavar="FILE", help="Write the comparison as one HTML file.")
@click.option("--json", "json_path", metavar="FILE", help="Write the comparison as JSON.")
@click.pass_context
def compare(
    ctx: click.Context,
    data: str,
    formula: str,
    ml: bool,
    weights: str | None,
    offset: str | None,
    mode: str,
    tight: bool,
    recordings: str | None,
    engine: str,
    report: str | None,
    json_path: str | None,
) -> None:
    """Judge a fit of FORMULA to DATA against lme4's.

    R is asked where it is there, else lme4's recorded answer is read.
    """
    import pymackay as pm
    from pymackay.reference.modes import Lme4
    from pymackay.tables import read_table

    how: dict[str, Any] = {"reml": not ml, "weights": weights, "offset": offset}
    with Progress() as progress:
        progress.say(f"reading {data}")
        table = read_table(data)
        progress.say("loading TensorFlow")
        _load_engine(ctx.find_root().params["debug"])
        progress.say(f"fitting by {engine}")
        ours = _fitted(engine, formula, table, how)
        source = Lme4(mode, Path(recordings) if recordings else None, _CURE, tight)
        progress.say("comparing with lme4, which may take longer")
        comparison = pm.testing.judge(ours, formula, table, source, **how)
    click.echo(str(comparison))
    for message in comparison.reference.messages:
        click.echo(f"lme4: {message}", err=True)
    if report:
        comparison.to_html(report)
    if json_path:
        comparison.to_json(json_path)
    ctx.exit(_HOLDS if comparison.ok else _FAILS)


def _fitted(engine: str, formula: str, table: Any, how: dict[str, Any]) -> Any:
    """Fit by this package or another one."""
    import pymackay as pm

    if engine == "pymackay":
        return pm.lmer(formula, table, **how)
    from pymackay.adapters.engines import fit_with

    return fit_with(engine, formula, table, **how)


@main.command()
@_model_options
@click.option("--into", metavar="DIR", required=True, help="Folder of the recordings.")
@click.option("--name", metavar="NAME", help="What the file's name begins with; DATA's name.")
def record(
    data: str,
    formula: str,
    ml: bool,
    weights: str | None,
    offset: str | None,
    into: str,
    name: str | None,
) -> None:
    """Ask lme4 for FORMULA on DATA, and write down what it answers. Needs R.

    A recording that is there is refreshed; what that changed is printed.
    """
    from pymackay.reference.modes import Lme4
    from pymackay.reference.question import Question
    from pymackay.tables import read_table

    source = Lme4("record", Path(into))
    with Progress() as progress:
        progress.say(f"reading {data}")
        question = Question(formula, read_table(data), not ml, weights, offset)
        progress.say("asking lme4, plainly and tightened")
        source.ask(question, name or Path(data.removesuffix(".gz")).stem)
    for change in source.changes:
        click.echo("\n  ".join([f"{change.kind}: {change.path}", *change.lines]))


@main.command()
@click.option("--seconds", type=click.FloatRange(min=0.0), default=60.0, show_default=True,
              help="How long; a model that has been begun is finished.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="The first seed; drawn unless given.")
@click.option("--keep", metavar="DIR", help="Folder for disagreements, shrunk to small data sets.")
@click.option("--without-r", is_flag=True, help="Judge by the dense formulas alone.")
@click.option("--again", metavar="FILE", help="Judge one disagreement again: a JSON file of DIR.")
@click.pass_context
def fuzz(
    ctx: click.Context,
    seconds: float,
    seed: int | None,
    keep: str | None,
    without_r: bool,
    again: str | None,
) -> None:
    """Fit random models by several engines, and look for disagreements.

    Ours against R's lme4, as it comes and driven to a tight optimum, and against dense formulas.
    Ctrl-C ends the run with its tally. Exit status 1 where something disagrees.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait
    _load_engine(ctx.find_root().params["debug"])
    if not without_r:
        _need_r()
    if again is not None:
        ctx.exit(_judge_again(Path(again), not without_r))
    from pymackay import fuzz as fuzzer

    first = secrets.randbelow(10**9) if seed is None else seed
    with Progress() as progress:

        def show(found: fuzzer.Disagreement) -> None:
            progress.wipe()
            click.echo(f"seed {found.model.seed}: {found.outcome.verdict}: {found.model}")
            click.echo(textwrap.indent(found.outcome.report, "    "))
            if found.kept is not None:
                click.echo(f"    kept: {found.kept}")

        progress.say(f"seed {first}")
        tally = fuzzer.run(
            seconds, first, keep=None if keep is None else Path(keep), with_r=not without_r,
            progress=lambda tally: progress.milestone(str(tally).replace("\n", ": ")), found=show,
        )  # fmt: skip
    click.echo(str(tally))
    if tally.disagreements:
        ctx.exit(_FAILS)
    ctx.exit(_INTERRUPTED if tally.interrupted else _HOLDS)


def _need_r() -> None:
    """Start R before the first model, so that a missing one is told at once."""
    from pymackay.errors import RUnavailableError
    from pymackay.reference.r_session import session

    try:
        session()
    except RUnavailableError as error:
        raise RUnavailableError(f"{error} Or judge without it: --without-r.") from None


def _judge_again(path: Path, with_r: bool) -> int:
    """Judge a stored model, and return the exit status."""
    from pymackay import fuzz as fuzzer

    model = fuzzer.load(path)
    outcome = fuzzer.judge_model(model, with_r=with_r)
    click.echo(f"{outcome.verdict}: {model}")
    if outcome.report:
        click.echo(outcome.report)
    return _HOLDS if outcome.agrees else _FAILS


@main.command()
def data() -> None:
    """List the data sets that come along."""
    from pymackay.datasets import data_info, list_data

    infos = [data_info(name) for name in list_data()]
    width = max(len(info.name) for info in infos)
    for info in infos:
        columns = ", ".join(column.name for column in info.columns)
        click.echo(f"{info.name:<{width}}  {info.rows:>6} rows  {columns}")


@main.command()
@click.pass_context
def article(ctx: click.Context) -> None:
    """Print the article's numbers: as printed there, ours, and lme4's."""
    _load_engine(ctx.find_root().params["debug"])
    from pymackay.sleepstudy import article_table

    table = article_table()
    click.echo(str(table))
    ctx.exit(_HOLDS if table.ok else _FAILS)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what is installed, what is missing, and the cure.

    Exit status 0 when models can be fitted; R is optional.
    """
    from pymackay.doctor import diagnose

    diagnosis = diagnose()
    click.echo(json.dumps(diagnosis.to_dict(), indent=1) if as_json else str(diagnosis))
    ctx.exit(_HOLDS if diagnosis.main_job else _FAILS)
