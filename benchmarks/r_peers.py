"""nlme and glmmTMB: one R process fits all models; returns `Fit`s or error messages."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters import as_fit
from pymackay.reference.question import Question
from pymackay.results import Fit

__all__ = ["ENGINES", "Answer", "answers"]

ENGINES = ("nlme", "glmmTMB")
_SCRIPT = Path(__file__).resolve().parent / "other_r_engines.R"


@dataclass(frozen=True)
class Answer:
    """The answer of an engine.

    Attributes
    ----------
    version : str
    fit : Fit or None
    said : str
        The sentence with which it declined.
    """

    version: str
    fit: Fit | None = None
    said: str = ""


def answers(engine: str, questions: Mapping[int, Question]) -> Iterator[tuple[int, Answer]]:
    """Fit all models by one engine; yield the number and answer of each."""
    with tempfile.TemporaryDirectory() as folder:
        models, lines = Path(folder) / "models.json", Path(folder) / "answers.jsonl"
        models.write_text(json.dumps([_plain(i, q) for i, q in questions.items()]))
        command = ["Rscript", "--vanilla", str(_SCRIPT), engine, str(models), str(lines)]
        subprocess.run(command, check=True)
        for line in lines.read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            yield answer["id"], _answer(engine, answer, questions[answer["id"]])


def _plain(number: int, question: Question) -> dict[str, Any]:
    """Return a model in JSON's types."""
    return {
        "id": number,
        "formula": question.formula,
        "reml": question.reml,
        "weights": question.weights,
        "offset": question.offset,
        "subset": question.subset,
        "contrasts": question.contrasts,
        "columns": {str(name): _column(column) for name, column in question.data.items()},
    }


def _column(column: pd.Series) -> dict[str, Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return {
            "kind": "ordered" if column.cat.ordered else "factor",
            "values": [None if code < 0 else int(code) for code in column.cat.codes],
            "levels": [str(level) for level in column.cat.categories],
        }
    values = [None if np.isnan(x) else float(x) for x in column.to_numpy(np.float64)]
    return {"kind": "number", "values": values}


def _answer(engine: str, answer: dict[str, Any], question: Question) -> Answer:
    if "error" in answer:
        return Answer(answer["version"], said=str(answer["error"]).strip())
    return Answer(answer["version"], _fit(engine, answer, question))


def _fit(engine: str, answer: dict[str, Any], question: Question) -> Fit:
    beta = pd.Series(answer["beta"], dtype=np.float64)
    varcorr, terms, seen = {}, [], {}
    for part in answer["varcorr"]:
        group = part["group"]
        seen[group] = seen.get(group, -1) + 1
        name = group if seen[group] == 0 else f"{group}.{seen[group]}"
        varcorr[name] = _matrix(part)
        terms.append((name, group, tuple(varcorr[name].columns)))
    parts = {
        "engine": engine,
        "versions": {engine: answer["version"]},
        "reml": question.reml,
        "beta": beta,
        "vcov": _matrix(answer["vcov"]).loc[list(beta.index), list(beta.index)],
        "sigma": answer["sigma"],
        "varcorr": varcorr,
        "terms": terms,
        "criterion": answer["criterion"],
        "fitted": np.array(answer["fitted"], dtype=np.float64),
        "ranef": {group: _effects(table) for group, table in answer.get("ranef", {}).items()},
        "converged": answer.get("converged", True),
        "messages": answer["warnings"],
    }
    parts = {name: value for name, value in parts.items() if not isinstance(value, dict) or value}
    asked = {k: getattr(question, k) for k in ("weights", "offset", "subset", "contrasts")}
    return as_fit(parts, question.formula, question.data, reml=question.reml, **asked)


def _matrix(part: dict[str, Any]) -> pd.DataFrame:
    names = part["names"] if isinstance(part["names"], list) else [part["names"]]
    values = np.array(part["values"], dtype=np.float64).reshape(len(names), len(names))
    return pd.DataFrame(values, index=names, columns=names)


def _effects(table: dict[str, Any]) -> pd.DataFrame:
    names = table["names"] if isinstance(table["names"], list) else [table["names"]]
    values = np.array(table["values"], dtype=np.float64).reshape(len(table["levels"]), len(names))
    return pd.DataFrame(values, index=table["levels"], columns=names)
