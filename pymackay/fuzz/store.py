"""A disagreement on disk: data as CSV; JSON with the model, what disagreed, how to rerun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from pymackay._files import write_whole
from pymackay.errors import ArgumentError
from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.judge import Outcome


def store(model: FuzzModel, outcome: Outcome, folder: Path) -> Path:
    """Write a model and what came of it; return the path of the JSON file.

    Parameters
    ----------
    model : FuzzModel
    outcome : Outcome
    folder : pathlib.Path
        Made if it is not there; the files are named after the seed.

    Raises
    ------
    ArgumentError
        If a file cannot be written.
    """
    path = folder / f"{model.seed}.json"
    about = {
        "seed": model.seed,
        "response": model.response,
        "fixed": model.fixed,
        "random": list(model.random),
        "formula": model.formula,
        "reml": model.reml,
        "arguments": model.arguments,
        "verdict": outcome.verdict,
        "report": outcome.report.splitlines(),
        "data": f"{model.seed}.csv",
        "columns": {str(name): _kind(column) for name, column in model.data.items()},
        "rerun": f"pymackay fuzz --again {path.name}",
    }
    made(folder)
    write_whole(path.with_suffix(".csv"), model.data.to_csv(index=False))
    write_whole(path, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return path


def load(path: Path) -> FuzzModel:
    """Read a model that `store` wrote, its columns of the types they had.

    Raises
    ------
    ArgumentError
        If it is no such file.
    """
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        text = pd.read_csv(path.parent / about["data"], dtype=str, keep_default_na=False)
        columns = {name: _column(text[name], kind) for name, kind in about["columns"].items()}
        return FuzzModel(
            about["seed"],
            about["fixed"],
            tuple(about["random"]),
            pd.DataFrame(columns),
            about["reml"],
            about["arguments"],
            about["response"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError(
            f"again: {path} is no disagreement that `pymackay fuzz` has stored "
            f"({type(error).__name__}: {error}). Give the path of one of its JSON files."
        ) from error


def made(folder: Path) -> Path:
    """Return the folder, which is made if it is not there.

    Raises
    ------
    ArgumentError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"keep: {folder} cannot be made ({error.strerror}).") from error
    return folder


def _kind(column: pd.Series) -> dict[str, Any]:
    """Say what a column is, as far as a CSV file does not."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [str(level) for level in column.cat.categories]
        return {"kind": "ordered" if column.cat.ordered else "factor", "levels": levels}
    if pd.api.types.is_bool_dtype(column):
        return {"kind": "bool"}
    if pd.api.types.is_integer_dtype(column):
        return {"kind": "integer"}
    return {"kind": "number" if pd.api.types.is_numeric_dtype(column) else "text"}


def _column(text: pd.Series, kind: dict[str, Any]) -> pd.Series:
    missing = text == ""
    if kind["kind"] in ("factor", "ordered"):
        values = pd.Categorical(
            text.where(~missing), categories=kind["levels"], ordered=kind["kind"] == "ordered"
        )
        return pd.Series(values)
    if kind["kind"] == "bool":
        return text == "True"
    if kind["kind"] == "integer":
        return text.astype("int64")
    if kind["kind"] == "number":
        return pd.Series([float(word) if word else float("nan") for word in text])
    return text.astype(object).where(~missing, None)
