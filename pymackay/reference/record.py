"""Records lme4's answers: ``python -m pymackay.reference.record``."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pymackay._files import refused, whole_file
from pymackay._resources import r_reference_path
from pymackay.datasets import load_data
from pymackay.errors import ArgumentError, PymackayError
from pymackay.reference.asker import file_name
from pymackay.reference.live import answer_of
from pymackay.reference.question import Question
from pymackay.reference.r.session import session
from pymackay.reference.recorded import FORMAT, content_sha256
from pymackay.reference.scripts import script_hashes

LONGEST_ROWS = 2000  # fitted values and residuals of more rows are left out
LONGEST_BLOCKS = 20_000  # and so are condvar and pev of more numbers than these together
_OPTIMA = ("default", "tight")


def record(question: Question, folder: str | Path, name: str) -> Path:
    """Ask lme4, plainly and tightened or at a theta, and write what it answers.

    The file holds every number with the shortest decimal that reads back to the same float64, at
    most 17 digits. What is too long to be recorded is named in it, with the reason.

    Parameters
    ----------
    question : Question
    folder : path-like
        Made if it is not there.
    name : str
        What the file's name begins with: the data set.

    Returns
    -------
    pathlib.Path
        The file; one that was there is replaced.

    Raises
    ------
    ArgumentError
        If the name is none, or the file cannot be written.
    RUnavailableError, RError
        If R is not there, or stops with an error.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise ArgumentError(f"name: letters, digits, '.', '-' and '_' are expected, not {name!r}.")
    return record_to(question, Path(folder) / file_name(question, name))


def record_to(question: Question, path: Path) -> Path:
    """Do what `record` does, under the name that is given.

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
    """Say which folder of recordings it is that cannot be written, if it cannot."""
    return refused(
        f"recordings: {folder}", "give a folder that you may write to, on a disk with room"
    )


def _content(question: Question) -> dict[str, Any]:
    """Ask lme4, and return what the file holds."""
    if question.theta is None:
        answers = {how: answer_of(question, how) for how in _OPTIMA}
    else:
        answers = {"evaluate": answer_of(question, question.theta)}
    models = [_plain(answer.pop("model")) for answer in answers.values()]
    if models[0] != models[-1]:
        raise PymackayError(f"lmer and lFormula see two models in {question.formula!r}.")
    left_out: dict[str, str] = {}
    content = {
        "format": FORMAT,
        "asked": question.asked,
        "data": _data(question),
        "made_by": {"versions": dict(session().versions), "scripts": script_hashes()},
        "model": models[0],
        "answers": {how: _plain(_shortened(a, left_out)) for how, a in answers.items()},
        "not_recorded": left_out,
    }
    content["content_sha256"] = content_sha256(content)
    return content


def listed_questions(models: Path) -> Iterator[tuple[str, Question]]:
    """Yield the name of the data set and the question, for each model of a list.

    The list is TOML: a ``[[model]]`` has ``data`` (a name that `pymackay.load_data` knows),
    ``formula``, and what else `pymackay.lme4.lmer` or, with ``theta``, `pymackay.lme4.evaluate`
    takes; both criteria are asked unless ``reml`` is given.
    """
    for entry in tomllib.loads(models.read_text(encoding="utf-8"))["model"]:
        arguments = {k: v for k, v in entry.items() if k not in ("data", "why")}
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
    """Leave out what is too long, and say so in `left_out`."""
    kept = dict(answer)
    for name in ("fitted", "residuals"):
        if len(answer[name]) > LONGEST_ROWS:
            kept[name] = None
            left_out[name] = f"{len(answer[name])} rows; up to {LONGEST_ROWS} are recorded"
    for name in ("condvar", "pev"):
        numbers = sum(block.size for block in answer[name].values())
        if numbers > LONGEST_BLOCKS:
            kept[name] = None
            left_out[name] = f"{numbers} numbers; up to {LONGEST_BLOCKS} are recorded"
    return kept


def _plain(value: Any) -> Any:
    """Return JSON's own types; a number that is not finite becomes null."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _layout(value: Any, indent: int = 0) -> str:
    """Write JSON for a diff: a key a line, a row of a matrix a line, long lists wrapped."""
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
