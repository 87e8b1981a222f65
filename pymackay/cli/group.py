"""`main`: the group of commands, and how each of them ends."""

from __future__ import annotations

import importlib
import traceback
import warnings
from typing import Any, TextIO

import click

import pymackay as pm

HOLDS, FAILS, BAD_INPUT, DEFECT, INTERRUPTED = 0, 1, 2, 3, 130
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
        return f"error: {error}", BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, ModuleNotFoundError) and error.name not in (None, "pymackay"):
        how = "Run `pymackay doctor` to see how to install it."
        return f"error: {error.name} is not installed. {how}", DEFECT
    return (
        f"error: unexpected {type(error).__name__}: {error}\n"
        f"This is a defect in pymackay. `pymackay --debug ...` shows where it happened.",
        DEFECT,
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


def load_engine() -> None:
    """Import TensorFlow and what stands on it, before data are read: an error comes at once."""
    importlib.import_module("pymackay.api.lmer")
    importlib.import_module("pymackay.late").load_tensorflow()


_EXAMPLES = """\b
Examples:
  pymackay fit sleepstudy "Reaction ~ Days + (Days | Subject)" --anova
  pymackay fit counts.csv "y ~ x + (1 | g)" --family poisson --json -
  pymackay compare sleepstudy "Reaction ~ Days + (Days | Subject)"
"""


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXAMPLES)
@click.version_option(pm.__version__, "--version", prog_name="pymackay")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Fit mixed models in TensorFlow and compare them with R's lme4.

    DATA is the name of a bundled data set (`pymackay data` lists them) or the path of a CSV,
    gzipped CSV, Parquet, Feather or RDS file. FORMULA is a formula as in lme4, for example
    "Reaction ~ Days + (Days | Subject)".

    Exit status: 0 success or agreement, 1 the comparison found a disagreement, 2 invalid input,
    3 a defect in pymackay.
    """
    if not debug:
        ctx.with_resource(warnings.catch_warnings())  # until the command has ended
        warnings.showwarning = _show_warning
