"""The command line: `pymackay fit`, `compare`, `record`, `fuzz`, `data`, `article`, `doctor`."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import secrets
import textwrap
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

import pymackay as pm
from pymackay.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

_MODES = ("auto", "live", "recorded", "tight")
_ENGINES = Path(__file__).parent / "adapters" / "engines"
_CURE = (
    "On a machine with R, run `pymackay record DATA FORMULA --into DIR`, and then use the option "
    "--recordings DIR"
)
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
    """Return the message and the exit status for an error that ended a command."""
    if isinstance(error, pm.PymackayError):
        return f"error: {error}", _BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", _INTERRUPTED
    if isinstance(error, ModuleNotFoundError) and error.name not in (None, "pymackay"):
        how = "Run `pymackay doctor` to see how to install it."
        return f"error: {error.name} is not installed. {how}", _DEFECT
    return (
        f"error: unexpected {type(error).__name__}: {error}\n"
        f"This is a defect in pymackay. `pymackay --debug ...` shows where it happened.",
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


def _load_engine() -> None:
    """Import TensorFlow and what stands on it, before data are read: an error comes at once."""
    importlib.import_module("pymackay.api.lmer")
    importlib.import_module("pymackay.late").load_tensorflow()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(pm.__version__, "--version", prog_name="pymackay")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Fit linear mixed models in TensorFlow and compare them with R's lme4.

    DATA is the name of a bundled data set (`pymackay data` lists them) or the path of a CSV,
    gzipped CSV, Parquet, Feather or RDS file. FORMULA is a formula as in lme4, for example
    "Reaction ~ Days + (Days | Subject)".

    Exit status: 0 success or agreement, 1 the comparison found a disagreement, 2 invalid input,
    3 a defect in pymackay.
    """
    if not debug:
        ctx.with_resource(warnings.catch_warnings())  # until the command has ended
        warnings.showwarning = _show_warning


class _EngineName(click.Choice):
    """The name of an engine: of a file in ``adapters/engines``, or of one that is registered.

    The files are not imported for it: they load pandas.
    """

    def __init__(self) -> None:
        names = sorted(file.name for file in pkgutil.iter_modules([str(_ENGINES)]))
        super().__init__(["pymackay", *(name.replace("_", "-") for name in names)])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.choices:
            from pymackay.adapters.registry import engines

            if value in {engine.name for engine in engines() if engine.fits is not None}:
                return value
        return super().convert(value, param, ctx)


@dataclass(frozen=True)
class _Asked:
    """The model that a command is asked for.

    Attributes
    ----------
    data, formula : str
    how : dict
        ``reml``, ``weights`` and ``offset``, as `pymackay.lmer` takes them.
    """

    data: str
    formula: str
    how: dict[str, Any]

    def table(self, progress: Progress) -> pd.DataFrame:
        """Read the data, before TensorFlow is loaded: a wrong name is reported at once."""
        from pymackay.tables import read_table

        progress.say(f"reading {self.data}")
        return read_table(self.data)


def _model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command that fits a model takes; it is given as one `_Asked`."""

    @click.argument("data")
    @click.argument("formula")
    @click.option("--ml", is_flag=True, help="Use maximum likelihood instead of REML.")
    @click.option("--weights", metavar="COL", help="Column with prior weights.")
    @click.option(
        "--offset", metavar="COL", help="Column with the offset, a known term of the predictor."
    )
    @wraps(command)
    def with_model(
        data: str, formula: str, ml: bool, weights: str | None, offset: str | None, **options: Any
    ) -> None:
        how = {"reml": not ml, "weights": weights, "offset": offset}
        command(_Asked(data, formula, how), **options)

    return with_model


@main.command()
@_model_options
def fit(asked: _Asked) -> None:
    """Fit FORMULA to DATA in TensorFlow and print the fit."""
    with Progress() as progress:
        table = asked.table(progress)
        progress.say("loading TensorFlow")
        _load_engine()
        progress.say("fitting")
        fitted = pm.lmer(asked.formula, table, **asked.how)
    click.echo(str(fitted))


@main.command()
@_model_options
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
    type=_EngineName(),
    default="pymackay",
    show_default=True,
    help="Package that fits the model to be compared.",
)
@click.option("--report", metavar="FILE", help="Write the comparison to this HTML file.")
@click.option("--json", "json_path", metavar="FILE", help="Write the comparison to this JSON file.")
@click.pass_context
def compare(
    ctx: click.Context,
    asked: _Asked,
    mode: str,
    tight: bool,
    recordings: str | None,
    engine: str,
    report: str | None,
    json_path: str | None,
) -> None:
    """Fit FORMULA to DATA and compare the fit with lme4's.

    If R is installed, lme4 is run in R. Otherwise a recorded answer of lme4 is used.
    """
    from pymackay.reference.modes import Lme4

    with Progress() as progress:
        table = asked.table(progress)
        progress.say("loading TensorFlow")
        _load_engine()
        progress.say(f"fitting by {engine}")
        fits = pm.lmer if engine == "pymackay" else partial(pm.adapters.fit_with, engine)
        ours = fits(asked.formula, table, **asked.how)
        source = Lme4(mode, Path(recordings) if recordings else None, _CURE, tight)
        progress.say("comparing with lme4 (this may take longer)")
        comparison = pm.testing.judge(ours, asked.formula, table, source, **asked.how)
    click.echo(str(comparison))
    for message in comparison.reference.messages:
        click.echo(f"lme4: {message}", err=True)
    if report:
        comparison.to_html(report)
    if json_path:
        comparison.to_json(json_path)
    ctx.exit(_HOLDS if comparison.ok else _FAILS)


@main.command()
@_model_options
@click.option("--into", metavar="DIR", required=True, help="Folder for the recordings.")
@click.option("--name", metavar="NAME", help="Prefix of the file name; default: the name of DATA.")
def record(asked: _Asked, into: str, name: str | None) -> None:
    """Fit FORMULA to DATA with lme4 and store its answer in a file. Needs R.

    An existing recording is updated, and the changes are printed.
    """
    from pymackay.reference.modes import Lme4
    from pymackay.reference.question import Question

    source = Lme4("record", Path(into))
    with Progress() as progress:
        question = Question(asked.formula, asked.table(progress), **asked.how)
        progress.say("running lme4 with default and with tight settings")
        source.ask(question, name or Path(asked.data.removesuffix(".gz")).stem)
    for change in source.changes:
        click.echo("\n  ".join([f"{change.kind}: {change.path}", *change.lines]))


@main.command()
@click.option("--seconds", type=click.FloatRange(min=0.0), default=60.0, show_default=True,
              help="Duration; the last model is finished.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="First seed; random by default.")
@click.option("--keep", metavar="DIR", help="Folder for disagreements, reduced to small data sets.")
@click.option("--without-r", is_flag=True, help="Compare with the dense formulas only.")
@click.option("--glmm", is_flag=True, help="Generalised models; with glmmTMB if R has it.")
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
    glmm: bool,
    again: str | None,
) -> None:
    """Fit random models with several engines and search for disagreements.

    Each model is fitted by pymackay, by lme4 with default and with tight settings, and by dense
    formulas. Ctrl-C stops the run and prints a summary. The exit status is 1 if there is a
    disagreement.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait
    _load_engine()
    if not without_r:
        _need_r()
    if again is not None:
        ctx.exit(_judge_again(Path(again), not without_r))
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
            generalised=glmm,
            progress=lambda tally: progress.milestone(str(tally).replace("\n", ": ")),
            on_disagreement=show,
        )  # fmt: skip
    click.echo(str(tally))
    if tally.disagreements:
        ctx.exit(_FAILS)
    ctx.exit(_INTERRUPTED if tally.interrupted else _HOLDS)


def _need_r() -> None:
    """Start R before the first model, so that a missing R is reported at once."""
    from pymackay.reference.r.session import session

    try:
        session()
    except pm.RUnavailableError as error:
        raise pm.RUnavailableError(f"{error} Or use --without-r to run without R.") from None


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
    """List the bundled data sets."""
    infos = [pm.datasets.data_info(name) for name in pm.list_data()]
    width = max(len(info.name) for info in infos)
    for info in infos:
        columns = ", ".join(column.name for column in info.columns)
        click.echo(f"{info.name:<{width}}  {info.rows:>6} rows  {columns}")


@main.command()
@click.pass_context
def article(ctx: click.Context) -> None:
    """Reproduce the numbers of the original article."""
    _load_engine()
    from pymackay.article import article_table

    table = article_table()
    click.echo(str(table))
    ctx.exit(_HOLDS if table.ok else _FAILS)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """List what is installed and what is missing, and how to install it.

    The exit status is 0 if models can be fitted. R is optional.
    """
    from pymackay.doctor import diagnose

    diagnosis = diagnose()
    click.echo(json.dumps(diagnosis.to_dict(), indent=1) if as_json else str(diagnosis))
    ctx.exit(_HOLDS if diagnosis.main_job else _FAILS)
