"""`store` and `load`: a disagreement as files, data as CSV and model and report as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from pymackay._files import write_whole
from pymackay.errors import ArgumentError
from pymackay.fuzz.generate import FuzzModel
from pymackay.fuzz.outcome import Outcome


def store(model: FuzzModel, outcome: Outcome, folder: Path) -> Path:
    """Write a model and its outcome; return the path of the JSON file.

    Parameters
    ----------
    model : FuzzModel
    outcome : Outcome
    folder : pathlib.Path
        Created if it does not exist; the files are named after the seed.

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
        "family": model.family,
        "link": model.link,
        "nagq": model.nagq,
        "shape": model.shape,
        "verdict": outcome.verdict,
        "report": outcome.report.splitlines(),
        "data": f"{model.seed}.csv",
        "columns": {str(name): _kind(column) for name, column in model.data.items()},
        "rerun": f"pymackay fuzz --again {path.name}",
    }
    make_folder(folder)
    write_whole(path.with_suffix(".csv"), model.data.to_csv(index=False))
    write_whole(path, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return path


def load(path: Path) -> FuzzModel:
    """Read a model that `store` wrote, with the types of its columns.

    Raises
    ------
    ArgumentError
        If the file was not written by `store`.
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
            **{name: about[name] for name in ("family", "link", "nagq", "shape") if name in about},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError(
            f"again: {path} is not a disagreement stored by `pymackay fuzz` "
            f"({type(error).__name__}: {error}). Give the path of one of its JSON files."
        ) from error


def make_folder(folder: Path) -> None:
    """Create a folder if it does not exist.

    Raises
    ------
    ArgumentError
        If it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"keep: {folder} cannot be created ({error.strerror}).") from error


def _kind(column: pd.Series) -> dict[str, Any]:
    """Return the type of a column, and a factor's levels, which a CSV file does not hold."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [str(level) for level in column.cat.categories]
        return {"kind": "ordered" if column.cat.ordered else "factor", "levels": levels}
    if pd.api.types.is_bool_dtype(column):
        return {"kind": "bool"}
    if pd.api.types.is_integer_dtype(column):
        return {"kind": "integer"}
    return {"kind": "number" if pd.api.types.is_numeric_dtype(column) else "text"}


def _column(text: pd.Series, kind: dict[str, Any]) -> pd.Series:
    """Return a column, shape (n,), converted from text to the type that `_kind` has stored."""
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
