"""Writes lme4's answers to files: ``python -m pymackay.reference.record``."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pymackay._files import refused, whole_file
from pymackay._resources import r_reference_path
from pymackay.datasets import load_data
from pymackay.errors import ArgumentError, PymackayError
from pymackay.incoming.parts import content_sha256, json_types
from pymackay.reference.asker import file_name
from pymackay.reference.general.question import general_question
from pymackay.reference.live import NO_PEV, answer_of
from pymackay.reference.question import Question
from pymackay.reference.r.scripts import script_hashes
from pymackay.reference.r.session import session
from pymackay.reference.recording_format import FORMAT

LONGEST_ROWS = 2000  # with more rows, fitted values and residuals are not recorded
LONGEST_BLOCKS = 20_000  # with more numbers, condvar or pev is not recorded
_OPTIMA = ("default", "tight")


def record(question: Question, folder: str | Path, name: str) -> Path:
    """Run lme4 and write its answers: default and tight, or at the question's theta.

    Every number is written as the shortest decimal that reads back to the same float64, at most
    17 digits. Quantities that are too long to be recorded are listed in the file with the reason.

    Parameters
    ----------
    question : Question
    folder : path-like
        Created if it does not exist.
    name : str
        Beginning of the file name, such as the name of the data set.

    Returns
    -------
    pathlib.Path
        The file; an existing one is replaced.

    Raises
    ------
    ArgumentError
        If the name has other characters, or the file cannot be written.
    RUnavailableError, RError
        If R is not installed, or stops with an error.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise ArgumentError(f"name: letters, digits, '.', '-' and '_' are expected, not {name!r}.")
    return record_to(question, Path(folder) / file_name(question, name))


def record_to(question: Question, path: Path) -> Path:
    """Do the same as `record`, with a given path.

    Raises
    ------
    ArgumentError
        If the file cannot be written.
    RUnavailableError, RError
        As `record`.
    """
    with recordings_written(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    text = _layout(_content(question)) + "\n"
    with recordings_written(path.parent), whole_file(path) as file:
        file.write(text.encode())
    return path


def recordings_written(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Turn a failure to write into an `ArgumentError` that names the folder of recordings."""
    return refused(
        f"recordings: {folder}", "give a folder that you may write to, on a disk with room"
    )


def _content(question: Question) -> dict[str, Any]:
    """Run lme4, and return the content of the file."""
    if question.theta is None:
        answers = {how: answer_of(question, how) for how in _OPTIMA}
    else:
        answers = {"evaluate": answer_of(question, question.theta)}
    models = [json_types(answer.pop("model")) for answer in answers.values()]
    if models[0] != models[-1]:
        raise PymackayError(
            f"lmer and lFormula build two different models from {question.formula!r}."
        )
    left_out: dict[str, str] = {}
    content = {
        "format": FORMAT,
        "asked": question.asked,
        "data": _data(question),
        "made_by": {
            "versions": dict(session().versions),
            "scripts": script_hashes(question.is_general),
        },
        "model": models[0],
        "answers": {how: json_types(_shortened(a, left_out)) for how, a in answers.items()},
        "not_recorded": left_out,
    }
    content["content_sha256"] = content_sha256(content)
    return content


def listed_questions(models: Path) -> Iterator[tuple[str, Question]]:
    """Yield the name of the data set and the question for each model of a list.

    The list is TOML: a ``[[model]]`` has ``data`` (a name that `pymackay.load_data` knows),
    ``formula``, and any other arguments of `pymackay.lme4.lmer` or, with ``theta``, of
    `pymackay.lme4.evaluate`; without ``reml`` it stands for two questions, REML and ML. With
    ``family`` the arguments are those of `pymackay.lme4.glmer`.
    """
    for entry in tomllib.loads(models.read_text(encoding="utf-8"))["model"]:
        arguments = {k: v for k, v in entry.items() if k not in ("data", "why")}
        if "family" in entry:
            yield entry["data"], general_question(data=load_data(entry["data"]), **arguments)
            continue
        for reml in (True, False) if "reml" not in entry else (entry["reml"],):
            yield (
                entry["data"],
                Question(data=load_data(entry["data"]), **{**arguments, "reml": reml}),
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the models of a list; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        for name, question in listed_questions(options.list):
            if options.only in f"{name}: {question.formula}":
                path = record(question, options.into, name)
                print(f"{path.stat().st_size:8d}  {path.name}", flush=True)
    except PymackayError as error:
        print(f"record: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pymackay.reference.record", description="Record lme4's answers. Needs R."
    )
    parser.add_argument(
        "--list", type=Path, default=r_reference_path("models.toml"), help="TOML list of models"
    )
    parser.add_argument(
        "--into", type=Path, default=r_reference_path("recorded"), help="folder of the recordings"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="models whose 'data: formula' holds this text"
    )
    return parser


def _data(question: Question) -> dict[str, Any]:
    columns = {
        column.name: {"kind": column.meaning, "sha256": column.sha256()}
        for column in question.table.columns
    }
    return {"rows": question.table.rows, "columns": columns, "sha256": question.table.sha256()}


def _shortened(answer: dict[str, Any], left_out: dict[str, str]) -> dict[str, Any]:
    """Return an answer without quantities that are too long; `left_out` gets the reasons."""
    kept = dict(answer)
    for name in ("fitted", "residuals"):
        if len(answer[name]) > LONGEST_ROWS:
            kept[name] = None
            left_out[name] = f"{len(answer[name])} rows; up to {LONGEST_ROWS} are recorded"
    general = answer.get("general")
    if general is not None and kept["fitted"] is None:
        kept["general"] = {**general, "linear_predictor": None, "y": None, "totals": None}
    for name in ("condvar", "pev"):
        if answer[name] is None:
            left_out[name] = NO_PEV[name]
            continue
        numbers = sum(block.size for block in answer[name].values())
        if numbers > LONGEST_BLOCKS:
            kept[name] = None
            left_out[name] = f"{numbers} numbers; up to {LONGEST_BLOCKS} are recorded"
    return kept


def _layout(value: Any, indent: int = 0) -> str:
    """Write JSON with one key or matrix row per line and long lists wrapped, which diffs well."""
    inner = " " * (indent + 1)
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(k)}: {_layout(v, indent + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        lines = [inner + json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value]
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, list) and len(text) > 100 and not isinstance(value[0], str):
        wrapped = textwrap.wrap(text[1:-1], 100 - indent, break_on_hyphens=False)
        return "[\n" + "\n".join(inner + line for line in wrapped) + "\n" + " " * indent + "]"
    return text


if __name__ == "__main__":
    sys.exit(main())
